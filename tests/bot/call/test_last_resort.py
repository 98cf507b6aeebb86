"""Whole calls without working providers: what the caller hears, measured on their line."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallbackWanted,
    CallEnded,
    CallerStopped,
    Event,
    MessageLeft,
)
from fallbacks.events import HeldTheLine, StageExhausted, StepTaken
from lab.recording import read_recording
from lab.simulators.schedule import parse_windows
from operations.database.database import Database
from operations.record.callbacks import Callbacks
from runtime import clock
from tests.kit.near import Notes, near_process, steady_lab
from tests.lab.simulators import synthetic_caller
from transports.leg import LegFacts
from transports.loopback.leg import LoopbackLeg

CALLER = Path(__file__).parents[2] / "fixtures" / "callers" / "01_hours.wav"
LLM_GONE = {name: [{"fault": "http", "status": 503}] for name in ("openai", "openai-b")}
LLM_MUTE = {name: [{"fault": "silent", "where": "handshake"}] for name in ("openai", "openai-b")}
VOICES_GONE = {name: [{"fault": "refuse"}] for name in ("cartesia", "elevenlabs")}
EARS_REFUSE = {name: [{"fault": "refuse"}] for name in ("deepgram", "deepgram-b")}
EARS_GONE = {name: [{"fault": "http", "status": 503}] for name in ("deepgram", "deepgram-b")}

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A call as its caller heard it."""

    events: Sequence[Event]
    sounds: Sequence[tuple[float, float]]  # from, to: seconds on the line
    stopped_s: float  # when the caller had spoken, on the line

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def first_s(self) -> float:
        """How long the caller waited for any sound."""
        return self.silences_s[0]

    @property
    def silences_s(self) -> list[float]:
        """Silences after the caller had spoken, except the one after the last sound."""
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
    replies: Mapping[str, tuple[float, str]] | None = None,
    browser: bool = False,
    tree: Mapping[str, Any] | None = None,
) -> Heard:
    """Place one call; `keys` maps seconds after its start to pressed keys.

    `replies` maps names of our utterances to the caller's answers and their moments. A browser has
    neither keys nor a number.
    """
    notes, prompts, caller = Notes(), Prompts(), read_recording(CALLER)
    lab = steady_lab(faults={name: parse_windows(windows) for name, windows in faults.items()})
    storage = {"url": f"sqlite+aiosqlite:///{tmp_path}/holdline.db"}
    async with (
        asyncio.timeout(120),
        near_process(
            tmp_path, notes, prompts, lab=lab, tree={"storage": storage, **(tree or {})}
        ) as process,
    ):
        leg = LoopbackLeg(
            caller.samples,
            sample_rate_hz=caller.rate_hz,
            linger_s=linger_s,
            clock=clock.monotonic,
        )
        leg.facts = LegFacts(
            transport="loopback",
            sample_rate_hz=caller.rate_hz,
            caller="" if browser else "+15550199",
            keys=not browser,
        )
        async with asyncio.TaskGroup() as tasks:
            pressing = tasks.create_task(press(leg, keys or {}))
            replying = tasks.create_task(reply(leg, prompts, replies or {}))
            await process.switchboard.answer(leg, process.call(leg))
            pressing.cancel()
            replying.cancel()
    stopped, *_ = notes.of(CallerStopped)
    return Heard(
        events=[entry.event for entry in notes.entries if entry.call_id],
        sounds=sounds(leg.line.heard(), caller.rate_hz),
        stopped_s=stopped.at_s - (leg.line.started_at_s or 0.0),
    )


class Prompts:
    """Utterances that replace an answer, as they are spoken."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    async def hear(self, entry: Entry) -> None:
        if isinstance(entry.event, HeldTheLine):
            self.said.put_nowait(entry.event.utterance)


async def reply(
    leg: LoopbackLeg, prompts: Prompts, replies: Mapping[str, tuple[float, str]]
) -> None:
    """Say each reply once, this many seconds after the start of its utterance."""
    left = dict(replies)
    while left:
        after_s, text = left.pop(await prompts.said.get(), (0.0, ""))
        if text:
            rate_hz = leg.facts.sample_rate_hz
            noise = synthetic_caller.noise(after_s, rms=20.0, rate_hz=rate_hz)
            speech = synthetic_caller.say(text, rate_hz=rate_hz)
            await leg.say(np.frombuffer(noise + speech, "<i2"))


async def press(leg: LoopbackLeg, keys: Mapping[float, str]) -> None:
    """Press keys, each this many seconds after the one before it."""
    for after_s, key in keys.items():
        await asyncio.sleep(after_s)
        await leg.input().push_frame(InputDTMFFrame(button=KeypadEntry(key)))


def sounds(heard: np.ndarray, rate_hz: int) -> list[tuple[float, float]]:
    """Return when something was heard: pieces with less than 0.3 s of silence in them."""
    loud = np.flatnonzero(np.abs(heard.astype(np.int32)) > 300) / rate_hz
    if not loud.size:
        return []
    breaks = np.flatnonzero(np.diff(loud) > 0.3)
    starts = [loud[0], *(loud[item + 1] for item in breaks)]
    ends = [*(loud[item] for item in breaks), loud[-1]]
    return [(float(a), float(b)) for a, b in zip(starts, ends, strict=True)]


async def test_with_every_model_down_the_caller_hears_announcements_in_time_until_the_goodbye(
    tmp_path: Path,
) -> None:
    heard = await call(tmp_path, LLM_GONE, linger_s=60.0)

    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0
    assert [text.step for text in heard.of(StepTaken)] == [
        *("clip", "clip", "words", "words", "goodbye")
    ]
    assert heard.of(HeldTheLine)[0].utterance == "en.llm.3"  # they asked for the opening hours
    assert [text.reason for text in heard.of(CallEnded)] == ["outage"]


async def test_with_every_provider_down_the_local_voice_greets_and_answers_the_caller(
    tmp_path: Path,
) -> None:
    heard = await call(tmp_path, LLM_GONE | VOICES_GONE | EARS_GONE, linger_s=9.0)

    assert heard.sounds[0][0] < 1.5  # the greeting
    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0


async def test_a_filler_is_spoken_for_hanging_models_until_they_are_given_up(
    tmp_path: Path,
) -> None:
    heard = await call(tmp_path, LLM_MUTE, linger_s=12.0)

    assert heard.of(HeldTheLine)[0].utterance.startswith("en.filler")
    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0
    assert heard.of(StageExhausted)


async def test_without_any_remote_voice_the_answer_is_heard_whole_in_the_local_voice(
    tmp_path: Path,
) -> None:
    heard = await call(tmp_path, VOICES_GONE, linger_s=14.0)

    said = " ".join(text.text for text in heard.of(AgentSaid))
    assert said.startswith("Hello, this is Holdline. How can I help? We open at nine.")
    assert heard.first_s <= 1.5
    assert max(heard.silences_s) <= 4.0


async def test_a_caller_presses_one_and_is_called_back(tmp_path: Path) -> None:
    keys = {12.0: "1", 8.0: "1"}  # seconds after the last one; the second confirms the number
    tree = {"hold": {"clips": 0}}
    heard = await call(tmp_path, LLM_GONE, linger_s=60.0, keys=keys, tree=tree)

    assert heard.of(CallbackWanted)
    assert [text.reason for text in heard.of(CallEnded)] == ["outage"]
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db")
    (waiting,) = await Callbacks(database).waiting()
    await database.close()
    assert waiting.number == "+15550199"
    assert "+15550199" not in json.dumps([str(text) for text in heard.of(CallbackWanted)])


TO_THE_MENU = {"hold": {"clips": 0}}
TELEPHONE_MENU, BROWSER_MENU = "en.menu_either.0", "en.menu_words.0"


async def callbacks(tmp_path: Path) -> Sequence[str]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db")
    waiting = await Callbacks(database).waiting()
    await database.close()
    return [text.number for text in waiting]


# "one" alone is missed in about one of four calls; `make test-hours` tries it. Open.
@pytest.mark.parametrize("said", ["callback", pytest.param("one", marks=pytest.mark.hours)])
async def test_a_caller_with_every_recogniser_down_asks_by_voice_and_is_called_back(
    tmp_path: Path, said: str
) -> None:
    replies = {TELEPHONE_MENU: (0.5, said), "en.ask_number.0": (0.5, "yes")}
    heard = await call(tmp_path, EARS_REFUSE, linger_s=60.0, replies=replies, tree=TO_THE_MENU)

    assert heard.of(CallbackWanted)
    assert [text.reason for text in heard.of(CallEnded)] == ["outage"]
    assert [text.step for text in heard.of(StepTaken)] == ["words", "chosen", "goodbye"]
    assert await callbacks(tmp_path) == ["+15550199"]
    assert max(heard.silences_s) <= 4.0


async def test_a_browser_without_keys_leaves_a_message_by_voice(tmp_path: Path) -> None:
    replies = {
        BROWSER_MENU: (7.0, "two"),
        "en.ask_message.0": (0.5, "yes"),
        "en.message_words.0": (7.0, "Please tell the barber that I will be late."),
    }
    heard = await call(
        tmp_path, EARS_REFUSE, linger_s=60.0, replies=replies, browser=True, tree=TO_THE_MENU
    )

    assert [text.reason for text in heard.of(CallEnded)] == ["outage"]
    assert [text.step for text in heard.of(StepTaken)] == ["words", "chosen", "goodbye"]
    assert heard.of(MessageLeft)
    assert list((tmp_path / "messages").glob("*.wav"))


async def test_other_speech_chooses_no_menu_item(tmp_path: Path) -> None:
    replies = {TELEPHONE_MENU: (0.5, "I would like to book an appointment for tomorrow.")}
    heard = await call(tmp_path, EARS_REFUSE, linger_s=60.0, replies=replies, tree=TO_THE_MENU)

    assert [text.step for text in heard.of(StepTaken)] == ["words", "words", "goodbye"]
    assert await callbacks(tmp_path) == []
