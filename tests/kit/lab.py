"""A lab in a process of its own, shared by the tests of one pytest worker."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Any]:
    """Run one lab for the session; tests get it from the fixture `lab`."""
    from lab.process import lab_process  # noqa: PLC0415 - few tests use it

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        stack = AsyncExitStack()
        yield runner.run(stack.enter_async_context(lab_process()))
        runner.run(stack.aclose())


@pytest.fixture
async def lab(shared_lab: Any) -> AsyncIterator[Any]:
    """Yield the shared lab, and mend it after the test; its record includes earlier tests."""
    from lab.control import LabControl  # noqa: PLC0415 - as above

    yield shared_lab
    async with LabControl(shared_lab) as control:
        await control.mend_all()
