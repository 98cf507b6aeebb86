"""Only the steps and thread jobs that emit events are counted."""

import asyncio
import time
from datetime import UTC, datetime

from benchmarks.telling_windows import Account
from calls.entry import Entry
from calls.events import CallEnded
from operations.telemetry.emitter import Emitter

WORK_S = 0.03  # of a thread's own time


def work() -> None:
    began_s = time.thread_time()
    while time.thread_time() - began_s < WORK_S:
        pass


class Busy:
    """Works in the loop for each fact, and then in a thread."""

    async def hear(self, entry: Entry) -> None:
        """Hear one."""
        work()
        await asyncio.to_thread(work)


async def other_work() -> None:
    await asyncio.sleep(0)
    work()
    await asyncio.to_thread(work)


async def test_only_listeners_are_counted() -> None:
    emitter = Emitter(listeners=[Busy()], utc_now=lambda: datetime.now(UTC))
    account = Account(emitter)

    async with emitter:
        with account.counting():
            threads_s = account.threads_s
            emitter.emit_for("call")(CallEnded(reason="caller", length_s=1.0))
            await asyncio.create_task(other_work())
            await emitter.flush()

    assert WORK_S <= account.loop_s < 2 * WORK_S
    assert WORK_S <= account.threads_s - threads_s < 2 * WORK_S


async def test_counted_time_is_forgotten_when_the_loop_is_idle() -> None:
    emitter = Emitter(listeners=[Busy()], utc_now=lambda: datetime.now(UTC))
    account = Account(emitter)

    async with emitter:
        with account.counting():
            await asyncio.sleep(0.01)
            account.add_emit_time(0.5)
            owed_s = account.owed_s
            await asyncio.sleep(0.01)
            forgotten_s = account.owed_s

    assert owed_s > 0.4  # a difference of sums: it may be a bit below 0.5
    assert forgotten_s < 0.1


async def test_the_loop_runs_as_before_after_the_count() -> None:
    run, loop = asyncio.Handle._run, asyncio.get_running_loop()
    account = Account(object())

    with account.counting():
        assert asyncio.Handle._run is not run

    assert asyncio.Handle._run is run
    assert "run_in_executor" not in vars(loop)
