"""One server per transport, shared by the tests of a module."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from tests.transports.conformance.server import WorkerPool, open_pool
from tests.transports.conformance.transport import Transport, find_transports

T = TypeVar("T")


@asynccontextmanager
async def kept_open(make: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """Run a context in a task of its own, because a fixture is torn down in another task."""
    opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def run() -> None:
        try:
            async with make() as made:
                opened.set_result(made)
                await over.wait()
        except BaseException as failed:
            if not opened.done():
                opened.set_exception(failed)
                return
            raise

    task = asyncio.create_task(run())
    try:
        yield await opened
    finally:
        over.set()
        await task


@pytest.fixture(scope="module", params=find_transports(), ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(transport.name)

    @asynccontextmanager
    async def make() -> AsyncIterator[WorkerPool]:
        async with transport.prepare(folder) as more, open_pool(folder, more) as pool:
            yield pool

    async with kept_open(make) as pool:
        yield pool
