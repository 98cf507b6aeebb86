"""A lab in its own process, which the tests of one pytest worker share."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Any]:
    """Run the lab that `lab` lends to one test after the other."""
    from lab.process import lab_process  # noqa: PLC0415 - few tests use it

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        stack = AsyncExitStack()
        yield runner.run(stack.enter_async_context(lab_process()))
        runner.run(stack.aclose())


@pytest.fixture
async def lab(shared_lab: Any) -> AsyncIterator[Any]:
    """Lend the shared lab, without faults; its records are also those of earlier tests."""
    from lab.control import LabControl  # noqa: PLC0415 - as above

    yield shared_lab
    async with LabControl(shared_lab) as control:
        await control.mend_all()
