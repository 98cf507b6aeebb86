"""Pause in the demo holds the demo's campaign, and does not end it."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from campaigns.dialer import FAILED_IN_A_ROW
from campaigns.store.queue import Queue
from lab.demo.staged import NAME, StagedServer, cast_of, fill_queue
from operations.database.database import Database

pytestmark = pytest.mark.virtual_time
WITHIN_S = 20.0


@pytest.fixture
async def staged(tmp_path: Path) -> StagedServer:
    url = f"sqlite+aiosqlite:///{tmp_path / 'holdline.db'}"
    async with Database(url) as database:
        await Queue(database).open(NAME, now=1.0)
    await fill_queue(url, cast_of(2))
    return StagedServer(url="", storage=url, carrier=cast(Any, None))


async def move(staged: StagedServer, state: Any, reason: str) -> None:
    async with Database(staged.storage) as database:
        await Queue(database).move(NAME, state, reason=reason, now=2.0)


async def test_a_paused_demo_goes_on_when_it_is_resumed(staged: StagedServer) -> None:
    ending = asyncio.create_task(staged.ended(within_s=WITHIN_S))
    await move(staged, "paused", "operator")
    await asyncio.sleep(3 * WITHIN_S)
    paused = ending.done()
    await move(staged, "running", "operator")
    await asyncio.sleep(WITHIN_S / 2)
    runs = ending.done()
    await move(staged, "done", "")
    standing, _ = await ending

    assert (paused, runs, standing.state) == (False, False, "done")


async def test_a_demo_that_paused_itself_ends(staged: StagedServer) -> None:
    await move(staged, "paused", FAILED_IN_A_ROW)

    standing, _ = await staged.ended(within_s=WITHIN_S)

    assert standing.state == "paused"


async def test_a_demo_that_hangs_ends(staged: StagedServer) -> None:
    with pytest.raises(TimeoutError):
        await staged.ended(within_s=WITHIN_S)
