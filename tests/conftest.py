"""Event loops, hypothesis profiles, file selection and clean-up for all tests."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis  # its plugin would import it later, at a depth that 3.11's parser cannot handle
import pytest
from loguru import logger
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from configuration.known_secrets import KNOWN
from tests.choosing import may_hold
from tests.thoroughness import CHOSEN
from tests.virtual_time import VirtualLoop

ALARM = "processors.ladder.stage"

hypothesis.settings.load_profile(CHOSEN)


@event.listens_for(Engine, "connect")
def without_flushing(connection: DBAPIConnection, _: object) -> None:
    """Let SQLite leave it to the kernel when to write: a commit would wait 6 ms for the disk."""
    if "sqlite" in type(connection).__module__:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=OFF")
        cursor.close()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip files in which no test can match the expression of `-m`."""
    wanted = config.option.markexpr
    if not wanted or not collection_path.match("test_*.py"):
        return None
    return None if may_hold(collection_path, wanted) else True


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests marked `virtual_time` on a loop on which waiting takes no time."""
    del config
    virtual = item.get_closest_marker("virtual_time") and not item.get_closest_marker("real_time")
    return {"virtual": VirtualLoop} if virtual else {"real": asyncio.new_event_loop}


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """Disable Pipecat's log, which would be very long for an hour of calls."""
    logger.disable("pipecat")
    yield
    logger.enable("pipecat")


class Mistakes:
    """A log sink for our own exceptions, which the stages' alarm logs as errors."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.listens = False

    def listen(self) -> None:
        """Forget earlier lines and register the sink if it is not registered."""
        self.found.clear()
        if not self.listens:  # adding a sink takes loguru 4 ms
            logger.add(self, level="ERROR", filter=lambda said: said["name"] == ALARM)
            self.listens = True

    def write(self, message: str) -> None:
        self.found.append(message)

    def stop(self) -> None:
        self.listens = False  # a test about logging has removed all sinks


MISTAKES = Mistakes()


@pytest.fixture(autouse=True)
def no_hidden_mistake(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if one of our own exceptions was only logged: the call goes on after it.

    Tests that cause such an exception on purpose are marked `passes_over_mistakes`.
    """
    MISTAKES.listen()
    yield
    passes_over = request.node.get_closest_marker("passes_over_mistakes")
    assert not MISTAKES.found or passes_over, MISTAKES.found


@pytest.fixture(autouse=True)
def forgotten_secrets() -> Iterator[None]:
    """Forget the keys in a test's configuration: another test may use them as ordinary words."""
    yield
    KNOWN.forget()


TOGETHER = 4  # tests whose servers one garbage collection (0.2 s or more) frees
gone: list[str] = []


@pytest.fixture(autouse=True)
def freed_servers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Free the servers that tests have run in this process: 53 MB each (measured).

    Most of that is native memory of models, which does not trigger Python's garbage collector.
    """
    yield
    if forget_servers() and request.node.get_closest_marker("slow"):
        gone.append(request.node.nodeid)
    if len(gone) >= TOGETHER:
        gone.clear()
        gc.collect()


def forget_servers() -> bool:
    """Release all references to earlier servers; return whether there were any.

    FastAPI caches the functions behind routes for the life of the interpreter, and one of ours
    holds a process with its models. Objects that a process has frozen are not collected, either.
    """
    models = sys.modules.get("fastapi.dependencies.models")
    known = vars(models).values() if models else ()
    caches = [var for var in known if hasattr(var, "cache_clear")]
    were = any(cach.cache_info().currsize for cach in caches) or gc.get_freeze_count() > 0
    for cach in caches:
        cach.cache_clear()
    gc.unfreeze()
    return were
