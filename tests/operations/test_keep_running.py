"""Background work that fails is restarted, without any other effect."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loguru import logger

import bot.clips.rendering
import bot.health.policies
import operations.record.forgetting
from bot.health.sharing import BoardClient
from calls.events import ShareLost
from operations.keep_running import MAX_WAIT_S, at_work, keep_running
from providers.prober import Prober
from tests.bot.judged_call import judged_call

pytestmark = pytest.mark.virtual_time


class BrokenError(Exception):
    """An unexpected exception."""


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}", level="ERROR")
    yield lines
    logger.remove(sink)


async def test_failing_work_is_restarted_after_growing_waits(logged: list[str]) -> None:
    begun: list[float] = []

    async def work() -> None:
        begun.append(time.monotonic())
        if len(begun) < 13:
            raise BrokenError

    await keep_running("some work", work)

    waits = [round(after - before) for before, after in itertools.pairwise(begun)]
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert max(waits) == MAX_WAIT_S
    assert logged[0].startswith("some work failed; restarting in 1 s")


async def test_work_that_ran_well_for_long_is_restarted_soon() -> None:
    begun: list[float] = []

    async def work() -> None:
        begun.append(time.monotonic())
        if len(begun) == 3:
            await asyncio.sleep(2 * MAX_WAIT_S)
        if len(begun) < 5:
            raise BrokenError

    await keep_running("some work", work)

    waits = [round(after - before) for before, after in itertools.pairwise(begun)]
    assert waits == [1, 2, 2 * MAX_WAIT_S + 1, 2]


async def test_a_cancellation_is_not_a_failure() -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)
        await asyncio.sleep(1e9)

    task = asyncio.get_running_loop().create_task(keep_running("some work", work))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert begun == [1]


async def fail(*_: object, **__: object) -> None:
    raise BrokenError


def fail_at_once(*_: object, **__: object) -> None:
    raise BrokenError


# The functions themselves: a renamed one is noticed when this file is imported.
BACKGROUND: dict[str, tuple[object, Callable[..., object], Callable[..., object]]] = {
    "sharing the providers' health": (BoardClient, BoardClient.sync, fail),
    "probing openai": (Prober, Prober._probe_and_record, fail),
    "the breakers' timers": (bot.health.policies, bot.health.policies._tick_breakers, fail),
    "rendering clips": (bot.clips.rendering, bot.clips.rendering._render_round, fail),
    "deletion of old calls": (
        operations.record.forgetting,
        operations.record.forgetting.forget,
        fail_at_once,
    ),
}


@pytest.mark.slow
async def test_no_task_of_the_process_ends_a_call_or_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    for owner, function, failing in BACKGROUND.values():
        monkeypatch.setattr(owner, function.__name__, failing)
    changes = {
        "resilience": {
            "share": f"sqlite:///{tmp_path / 'board.db'}",
            "probe": {"interval_s": 5},
        },
        "hold": {"render": True, "clips_dir": tmp_path / "clips"},
    }

    async with judged_call(tmp_path, changes=changes) as beside:
        await asyncio.sleep(20)

    for what in BACKGROUND:
        assert len([line for line in logged if line.startswith(f"{what} failed")]) > 1, what
    assert any(isinstance(event, ShareLost) for event in beside.events)


async def test_background_work_of_a_block_ends_with_the_block() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(3600.0)
        finally:
            await asyncio.sleep(1.0)  # the last of it
            ended.append(name)

    async with at_work(one=work("one"), other=work("other")):
        await asyncio.sleep(1.0)

    assert sorted(ended) == ["one", "other"]
