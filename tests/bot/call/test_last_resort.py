"""Whole calls in which nobody answers: what the caller hears, measured on his line."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame

from bot import clock
from bot.lab.process import lab_process, with_lab
from bot.process import open_house
from bot.recording import read
from bot.replay import Notes
from calls.events import AgentSaid, CallbackWanted, CallEnded, CallerStopped, Event
from fallbacks.facts import HeldTheLine, StageExhausted, StepTaken
from storage.callbacks import Callbacks
from storage.database import Database
from transports.leg import LegFacts
from transports.loopback import LoopbackLeg

CALLER = Path(__file__).parents[2] / "fixtures" / "callers" / "01_hours.wav"
LLM_GONE = {name: [{"fault": "http", "status": 503}] for name in ("openai", "openai-b")}
LLM_MUTE = {name: [{"fault": "silent", "where": "handshake"}] for name in ("openai", "openai-b")}
VOICES_GONE = {name: [{"fault": "refuse"}] for name in ("cartesia", "elevenlabs")}
EARS_GONE = {name: [{"fault": "http", "status": 503}] for name in ("deepgram", "deepgram-b")}

pytestmark = [pytest.mark.slow, pytest.mark.long]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A call as its caller heard it."""

    events: Sequence[Event]
    sounds: Sequence[tuple[float, float]]  # from, to: seconds on the line
    stopped_s: float  # when the caller had spoken, on the line

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]

    @property
    def first_s(self) -> float:
        """How long the caller waited for any sound."""
        return next(begin for begin, _ in self.sounds if begin > self.stopped_s) - self.stopped_s

    @property
    def silences_s(self) -> list[float]:
        """The silences after the caller had spoken, but the one after the last sound."""
        moments = [self.stopped_s]
        gaps: list[float] = []
        for begin, end in self.sounds:
            if begin > self.stopped_s:
                gaps.append(begin - moments[-1])
                moments.append(end)
        return gaps


async def call(
    tmp_path: Path,
    faults: Mapping[str, Any],
    *,
    linger_s: float,
    keys: Mapping[float, str] | None = None,
    tree: Mapping[str, Any] | None = None,
) -> Heard:
    """Place one call; `keys` are pressed so many seconds after its start."""
    schedule = tmp_path / "faults.yaml"
    schedule.write_text(yaml.safe_dump(dict(faults)), encoding="utf-8")
    notes, caller = Notes(), read(CALLER)
    async with asyncio.timeout(90), lab_process(faults=schedule) as lab:
        storage = {"url": f"sqlite+aiosqlite:///{tmp_path}/holdline.db"}
        settings = with_lab(lab, {"logs": {"dir": tmp_path}, "storage": storage, **(tree or {})})
        async with open_house(settings, words=True, listeners=[notes]) as house:
            leg = LoopbackLeg(
                caller.samples,
                sample_rate_hz=caller.rate_hz,
                linger_s=linger_s,
                clock=clock.monotonic,
            )
            leg.facts = LegFacts(
                transport="loopback", sample_rate_hz=caller.rate_hz, caller="+15550199"
            )
            made = house.call(leg)
            async with asyncio.TaskGroup() as tasks:
                pressing = tasks.create_task(press(leg, keys or {}))
                await house.switchboard.answer(leg, made)
                pressing.cancel()
            await house.emitter.flush()
            events = [each.event for each in notes.take(made.call_id)]
    stops = [each.at_s for each in events if isinstance(each, CallerStopped)]
    return Heard(
        events=events,
        sounds=sounds(leg.line.heard(), caller.rate_hz),
        stopped_s=stops[0] - (leg.line.started_at_s or 0.0),
    )


async def press(leg: LoopbackLeg, keys: Mapping[float, str]) -> None:
    """Press keys, each so many seconds after the one before it."""
    for after_s, key in keys.items():
        await asyncio.sleep(after_s)
        await leg.input().push_frame(InputDTMFFrame(button=KeypadEntry(key)))


def sounds(heard: np.ndarray, rate_hz: int) -> list[tuple[float, float]]:
    """Return when something was heard: pieces with less than 0.3 s of silence in them."""
    loud = np.flatnonzero(np.abs(heard.astype(np.int32)) > 300) / rate_hz
    if not loud.size:
        return []
    breaks = np.flatnonzero(np.diff(loud) > 0.3)
    starts = [loud[0], *(loud[each + 1] for each in breaks)]
    ends = [*(loud[each] for each in breaks), loud[-1]]
    return [(float(a), float(b)) for a, b in zip(starts, ends, strict=True)]


async def test_no_model_answers_and_the_caller_is_told_so_in_time_until_the_goodbye(
    tmp_path: Path,
) -> None:
    heard = await call(tmp_path, LLM_GONE, linger_s=60.0)

    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0
    assert [each.step for each in heard.of(StepTaken)] == [
        *("clip", "clip", "keypad", "keypad", "goodbye")
    ]
    assert heard.of(HeldTheLine)[0].utterance == "en.llm.3"  # he asked for the opening hours
    assert [each.reason for each in heard.of(CallEnded)] == ["outage"]


async def test_everything_is_dead_and_the_caller_is_greeted_and_answered_by_the_local_voice(
    tmp_path: Path,
) -> None:
    heard = await call(tmp_path, LLM_GONE | VOICES_GONE | EARS_GONE, linger_s=9.0)

    assert heard.sounds[0][0] < 1.5  # the greeting
    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0


async def test_models_that_hang_are_spoken_for_until_they_are_given_up(tmp_path: Path) -> None:
    heard = await call(tmp_path, LLM_MUTE, linger_s=12.0)

    assert heard.of(HeldTheLine)[0].utterance.startswith("en.filler")
    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0
    assert heard.of(StageExhausted)


async def test_with_all_voices_gone_the_answer_is_heard_whole_in_the_local_voice(
    tmp_path: Path,
) -> None:
    heard = await call(tmp_path, VOICES_GONE, linger_s=14.0)

    said = " ".join(each.text for each in heard.of(AgentSaid))
    assert said.startswith("Hello, this is Holdline. How can I help? We open at nine.")
    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0


async def test_a_caller_presses_one_and_is_called_back(tmp_path: Path) -> None:
    keys = {12.0: "1"}
    tree = {"hold": {"clips": 0}}
    heard = await call(tmp_path, LLM_GONE, linger_s=60.0, keys=keys, tree=tree)

    assert heard.of(CallbackWanted)
    assert [each.reason for each in heard.of(CallEnded)] == ["outage"]
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db")
    (waiting,) = await Callbacks(database).waiting()
    await database.close()
    assert waiting.number == "+15550199"
    assert "+15550199" not in json.dumps([str(each) for each in heard.of(CallbackWanted)])
