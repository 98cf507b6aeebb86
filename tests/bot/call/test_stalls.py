"""A stall of our own loop during four calls counts against no provider and loses no word."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from bot.workers.process import Process, open_process
from calls.events import AgentSaid, Event, ProcessLagged, ProviderFailed, TranscriptFinal
from fallbacks.events import (
    AttemptDropped,
    AttemptFailed,
    BreakerMoved,
    HedgeStarted,
    ProviderProbed,
    RungChosen,
    StageExhausted,
    Suspected,
)
from lab.process import LabOptions, lab_process, with_lab
from lab.recording import read_recording
from tests.kit.near import Notes, near_lab
from tests.virtual_time import VirtualLoop
from transports.loopback.leg import LoopbackLeg

pytestmark = [pytest.mark.slow, pytest.mark.virtual_time]

FOLDER = Path(__file__).parents[2] / "fixtures" / "callers"
CALLERS = ("01_hours", "01_hours", "03_booking", "14_rate_8k")
BLAME = (AttemptFailed, BreakerMoved, HedgeStarted, ProviderFailed, RungChosen, StageExhausted)


@dataclass
class Told:
    """Results of the calls."""

    said: list[list[str]] = field(default_factory=list)  # by the agent, of each call
    heard: list[list[str]] = field(default_factory=list)  # of each caller
    all: list[Event] = field(default_factory=list)

    @property
    def blame(self) -> list[Event]:
        blame = [item for item in self.all if isinstance(item, (*BLAME, Suspected))]
        probes = [item for item in self.all if isinstance(item, ProviderProbed) and not item.ok]
        lost = [e for e in self.all if isinstance(e, AttemptDropped) and e.because == "lag"]
        return [*blame, *probes, *lost]


Stall = Callable[[float], None]
"""Blocks the loop at the given seconds."""


def stand_still(length_s: float) -> None:
    cast("VirtualLoop", asyncio.get_running_loop()).clock.now += length_s


async def stall(moments: Sequence[tuple[float, float]], stop: Stall) -> None:
    """Stall at this many seconds, for this long."""
    begun_at = time.monotonic()
    for at_s, length_s in moments:
        await asyncio.sleep(begun_at + at_s - time.monotonic())
        stop(length_s)


async def four_calls(out: Path, *moments: tuple[float, float], stop: Stall = stand_still) -> Told:
    """Replay four callers at once, with stalls."""
    elsewhere = lab_process(options=LabOptions(steady=True))
    async with near_lab() if stop is stand_still else elsewhere as lab:
        # Whoever has heard the answer and stays on the line is not asked "Are you still there?".
        patient = {"silence": {"prompt_after_s": 60}}
        settings = with_lab(lab, {"logs": {"dir": out / "logs"}, "agent": patient})
        ear = Notes()
        async with open_process(settings, words=True, listeners=[ear]) as process:
            stalling = asyncio.create_task(stall(moments, stop))
            calls = await asyncio.gather(*(one_call(process, ear, name) for name in CALLERS))
            await stalling
    return Told(
        said=[said for said, _ in calls],
        heard=[heard for _, heard in calls],
        all=[entry.event for entry in ear.entries],
    )


async def one_call(process: Process, ear: Notes, name: str) -> tuple[list[str], list[str]]:
    caller = read_recording(FOLDER / f"{name}.wav")
    leg = LoopbackLeg(
        caller.samples,
        sample_rate_hz=caller.rate_hz,
        linger_s=30.0,
        content_s=8.0,  # this caller's frames stall with us, and may come all at once
        clock=time.monotonic,
    )
    call = process.call(leg)
    await process.switchboard.answer(leg, call)
    await process.emitter.flush()
    events = ear.of_call(call.call_id)
    said = [event.text for event in events if isinstance(event, AgentSaid) and not event.by]
    heard = [event.text for event in events if isinstance(event, TranscriptFinal)]
    return said, heard


async def test_our_stall_is_blamed_on_no_provider_and_loses_no_word(tmp_path: Path) -> None:
    """0.3 s while the callers speak, 1 s while the model answers, 3 s while the voice speaks."""
    healthy = await four_calls(tmp_path / "healthy")

    stalled = await four_calls(tmp_path / "stalled", (4.6, 0.3), (6.0, 1.0), (8.5, 3.0))

    assert healthy.blame == []
    assert stalled.blame == []
    assert stalled.heard == healthy.heard
    assert stalled.said == healthy.said
    told = [item for item in stalled.all if isinstance(item, ProcessLagged)]
    assert {item.where for item in told} == {"loop", "line"}
    assert sum(item.times for item in told if item.where == "loop") == 3
    assert max(item.lag_s for item in told) > 2.9
    records = (tmp_path / "stalled" / "logs" / "calls").glob("*.jsonl")
    assert all('"ProcessLagged"' in record.read_text() for record in records)


async def test_a_stall_during_a_turn_does_not_make_a_rung_late(tmp_path: Path) -> None:
    stalled = await four_calls(tmp_path, (5.7, 3.0))

    assert stalled.blame == []
    assert [len(item) for item in stalled.said] == [2] * len(CALLERS)


@pytest.mark.real_time
@pytest.mark.hours
@pytest.mark.parametrize("length_s", [0.3, 1.0, 3.0])
async def test_a_real_stall_is_blamed_on_no_provider_and_loses_no_word(
    tmp_path: Path, length_s: float
) -> None:
    stalled = await four_calls(tmp_path, (5.7, length_s), stop=time.sleep)

    assert stalled.blame == []
    assert [len(item) for item in stalled.heard] == [1] * len(CALLERS)
    assert [len(item) for item in stalled.said] == [2] * len(CALLERS)
    assert stalled.said[0] == stalled.said[1]
    told = [item for item in stalled.all if isinstance(item, ProcessLagged)]
    assert "stall (tests/bot/call/test_stalls.py)" in [item.step for item in told]
