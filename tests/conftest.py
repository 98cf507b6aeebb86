"""Which event loop a test runs on."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import hypothesis  # noqa: F401 - else its plugin does it last, too deep for 3.11's parser
import pytest
from loguru import logger

from telemetry.known_secrets import KNOWN
from tests.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give tests that are marked `virtual_time` a loop on which no time is waited for."""
    del config
    virtual = item.get_closest_marker("virtual_time") and not item.get_closest_marker("real_time")
    return {"virtual": VirtualLoop} if virtual else {"real": asyncio.new_event_loop}


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """Have Pipecat write no log: of an hour it would be long."""
    logger.disable("pipecat")
    yield
    logger.enable("pipecat")


@pytest.fixture(autouse=True)
def nobodys_secrets() -> Iterator[None]:
    """Forget the keys that a test's configuration read: the next test may have them as words."""
    yield
    KNOWN.forget()
