"""Real far ends on loopback: LiveKit with its SIP service, and SIP phones."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest
import pytest_asyncio

from tests.peers.children import UnprovenError
from tests.peers.media_server import MediaServer, running_media_server
from tests.peers.sip_phone import SipPhone, sip_phone

HERE = Path(__file__).parent
NewPhone: TypeAlias = Callable[..., Awaitable[SipPhone]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder `peers`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("peers")


T = TypeVar("T")


@contextmanager
def proven(far_end: AbstractContextManager[T]) -> Iterator[T]:
    """Run a far end during the block; skip the test if it is not installed."""
    with ExitStack() as stack:
        try:
            there = stack.enter_context(far_end)
        except UnprovenError as error:
            pytest.skip(f"unproven: {error}")
        yield there


@pytest.fixture(scope="module")
def media_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaServer]:
    """Run LiveKit without telephone numbers, shared by the tests of a module, which clean up."""
    with proven(running_media_server(tmp_path_factory.mktemp("media"))) as server:
        yield server


@pytest_asyncio.fixture
async def new_phone(tmp_path: Path) -> Any:
    """Return a factory of phones: `await new_phone("anna", answer="busy")`."""
    async with AsyncExitStack() as stack:

        async def make(name: str = "phone", **options: Any) -> SipPhone:
            try:
                return await stack.enter_async_context(sip_phone(tmp_path / name, **options))
            except UnprovenError as error:
                pytest.skip(f"unproven: {error}")

        yield make
