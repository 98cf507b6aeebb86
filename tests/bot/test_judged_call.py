"""The judge of a call with strangers: what it accepts, and which harm it notices."""

import asyncio
from pathlib import Path

import pytest

from lab.simulators.faults import Stall
from lab.simulators.schedule import Window
from tests.bot.judged_call import judged_call

pytestmark = pytest.mark.virtual_time


async def test_a_call_without_other_clients_is_whole(tmp_path: Path) -> None:
    async with judged_call(tmp_path) as beside:
        pass

    assert len(beside.verdicts) == 2
    assert all(verdict.whole for verdict in beside.verdicts)


@pytest.mark.slow
async def test_a_blamed_provider_is_noticed(tmp_path: Path) -> None:
    dies = [Window(fault=Stall(after_words=3))]

    with pytest.raises(AssertionError, match=r"blamed.*cartesia"):
        async with judged_call(tmp_path) as beside:
            beside.lab.instance("cartesia").set_faults(dies)


@pytest.mark.slow
async def test_a_leaked_connection_is_noticed(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(AssertionError, match="became"):
            async with judged_call(tmp_path):
                left = tasks.create_task(asyncio.sleep(1e6))
        left.cancel()
