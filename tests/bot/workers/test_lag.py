"""Our own lag, measured on a real loop that stalls for a moment."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import CodeType

import pytest

from bot.workers import lag as lag_module
from bot.workers.lag import NO_STEP, LoopWatch, measure_lag, name_of
from calls.entry import Entry
from calls.events import CallStarted, Event, ProcessLagged
from fallbacks.lag import Lag
from operations.telemetry.journal import Journal
from runtime import clock

STALLING = "test_a_stall_is_counted_and_reported_with_the_function_that_caused_it"


async def test_a_stall_is_counted_and_reported_with_the_function_that_caused_it() -> None:
    lag, told = Lag(), list[ProcessLagged]()

    def emit(event: Event) -> None:
        assert isinstance(event, ProcessLagged)
        told.append(event)

    async with asyncio.timeout(30), measure_lag(lag, emit=emit, clock=clock.monotonic):
        await asyncio.sleep(0.1)
        before_s = lag.stalled_s(clock.monotonic())
        time.sleep(0.5)  # noqa: ASYNC251 - the point is to block the loop
        stalled_s = lag.stalled_s(clock.monotonic()) - before_s
        while not any(STALLING in item.step for item in told):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)

    assert stalled_s >= 0.4
    assert {item.where for item in told if STALLING in item.step} == {"loop"}


async def test_an_idle_loop_is_not_a_stall() -> None:
    watch = LoopWatch(clock.monotonic)
    watch.start()
    watch.beat(0.0)  # overdue at once: the thread looks at a loop that sleeps
    try:
        async with asyncio.timeout(20):
            while watch.take_step() != NO_STEP:  # noqa: ASYNC110 - it is another thread's
                await asyncio.sleep(0.1)  # a busy machine may stop us in a step before
    finally:
        watch.stop()


def test_a_thread_that_was_sampled_can_release_its_sound() -> None:
    watch = LoopWatch(clock.monotonic)
    sound, seen = bytearray(320), threading.Event()
    stacks: list[Sequence[CodeType]] = []

    def look() -> None:  # stays alive afterwards, as the watch's own thread does
        stacks.append(watch.read_stack())
        seen.set()
        gone.wait(30)

    def measure() -> None:
        view = memoryview(sound)
        looking.start()
        assert seen.wait(30)
        assert len(view) == 320

    gone = threading.Event()
    looking = threading.Thread(target=look)
    try:
        measure()
        sound += bytes(320)  # raises while a reference to `view` exists
    finally:
        gone.set()
        looking.join()

    assert measure.__code__ in stacks[0]


async def test_our_lag_is_in_each_call_during_which_it_happened(tmp_path: Path) -> None:
    journal, at = Journal(tmp_path), "2026-01-01T00:00:00.000+00:00"
    for call_id in ("one", "two"):
        began = CallStarted(transport="loopback", agent="a")
        await journal.hear(Entry(call_id=call_id, number=1, at=at, event=began))

    late = ProcessLagged(where="loop", lag_s=1.0, step="f (a.py)", times=1)
    await journal.hear(Entry(call_id="", number=7, at=at, event=late))

    for call_id in ("one", "two"):
        lines = (tmp_path / f"{call_id}.jsonl").read_text().splitlines()
        assert [json.loads(line)["event"] for line in lines] == ["CallStarted", "ProcessLagged"]


@pytest.mark.parametrize(
    "project",
    ["/me/holdline", "/me/.venv/lib/python3.11/site-packages/holdline"],
    ids=["a checkout", "a wheel in a project's own environment"],
)
def test_the_innermost_function_of_holdline_is_named_wherever_it_is_installed(
    project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_module, "PROJECT", Path(project))
    libraries = ("/usr/lib/python3.11/json.py", f"{project}/.venv/lib/site-packages/pipecat/a.py")
    files = (*libraries, f"{project}/bot/call/call.py", f"{project}/bot/server/server.py")
    stack = [compile("def work(): ...", file, "exec").replace(co_qualname="work") for file in files]

    assert name_of(stack) == "work (bot/call/call.py)"
