"""Event loops of tests, the effort for properties, and the files that are read."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis  # else its plugin does it last, too deep for 3.11's parser
import pytest
from loguru import logger

from bot.config.known_secrets import KNOWN
from tests.choosing import may_hold
from tests.thoroughness import CHOSEN
from tests.virtual_time import VirtualLoop

ALARM = "processors.ladder.stage"

hypothesis.settings.load_profile(CHOSEN)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the files in which no test can have the requested marks."""
    wanted = config.option.markexpr
    if not wanted or not collection_path.match("test_*.py"):
        return None
    return None if may_hold(collection_path, wanted) else True


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give tests that are marked `virtual_time` a loop on which waiting takes no time."""
    del config
    virtual = item.get_closest_marker("virtual_time") and not item.get_closest_marker("real_time")
    return {"virtual": VirtualLoop} if virtual else {"real": asyncio.new_event_loop}


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """Disable Pipecat's log: of an hour it would be long."""
    logger.disable("pipecat")
    yield
    logger.enable("pipecat")


class Mistakes:
    """The log of the stages' alarm; a sink, and whether it is still registered."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.listens = False

    def listen(self) -> None:
        """Receive lines from now on."""
        self.found.clear()
        if not self.listens:  # to add one takes loguru 4 ms
            logger.add(self, level="ERROR", filter=lambda said: said["name"] == ALARM)
            self.listens = True

    def write(self, message: str) -> None:
        self.found.append(message)

    def stop(self) -> None:
        self.listens = False  # a test about logging has removed all sinks


MISTAKES = Mistakes()


@pytest.fixture(autouse=True)
def no_hidden_mistake(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail if our own exception was only logged: a call continues after it, and so would a test.

    Tests that are about such an exception are marked `passes_over_mistakes`.
    """
    MISTAKES.listen()
    yield
    passes_over = request.node.get_closest_marker("passes_over_mistakes")
    assert not MISTAKES.found or passes_over, MISTAKES.found


@pytest.fixture(autouse=True)
def nobodys_secrets() -> Iterator[None]:
    """Forget the keys that a test's configuration read: the next test may have them as words."""
    yield
    KNOWN.forget()


TOGETHER = 4  # tests whose servers are freed in one round, of 0.2 s and more
gone: list[str] = []


@pytest.fixture(autouse=True)
def nobodys_servers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Free the servers that tests have run in this process: 53 MB each (measured).

    Most of it is models that Python hardly sees, so it would not free them in time by itself.
    """
    yield
    if forget_servers() and request.node.get_closest_marker("slow"):
        gone.append(request.node.nodeid)
    if len(gone) >= TOGETHER:
        gone.clear()
        gc.collect()


def forget_servers() -> bool:
    """Release all references to earlier servers; return whether there were any.

    FastAPI keeps the functions behind routes as long as the interpreter runs, and one of ours holds
    a process with its models. And objects that a process had frozen are never searched again.
    """
    models = sys.modules.get("fastapi.dependencies.models")
    known = vars(models).values() if models else ()
    caches = [var for var in known if hasattr(var, "cache_clear")]
    were = any(cach.cache_info().currsize for cach in caches) or gc.get_freeze_count() > 0
    for cach in caches:
        cach.cache_clear()
    gc.unfreeze()
    return were
