"""Whole calls with a recogniser that reports languages and alternatives."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from calls.events import AgentSaid, Event, TranscriptFinal
from fallbacks.events import HeldTheLine
from lab.recording import read_recording
from lab.replay import KeptEntries, replay_one
from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import parse_windows
from tests.kit.near import near_process
from tests.lab.simulators.near_ears import bring_near

CALLER = Path(__file__).parents[1] / "fixtures" / "callers" / "01_hours.wav"
PROVIDERS = ("deepgram", "openai", "cartesia", "elevenlabs")

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


def one_of_each() -> Lab:
    return bring_near(Lab([Spec(name=kind, kind=kind) for kind in PROVIDERS]))


async def called(lab: Lab, folder: Path, *, language: str, **recogniser: Any) -> Sequence[Event]:
    notes, tree = KeptEntries(), {"agent": {"language": language}}
    async with near_process(
        folder, notes, lab=lab, tree=tree, rungs={"deepgram": recogniser}
    ) as process:
        replayed = await replay_one(
            process, notes, read_recording(CALLER), path=CALLER, folder=folder
        )
    return replayed.events


def languages(lab: Lab, name: str) -> list[str]:
    asked = lab.record.requests(name)
    return [
        request.details["language"] for request in asked if request.details.get("text", "").strip()
    ]


async def test_a_caller_is_answered_and_asked_to_wait_in_the_language_that_was_detected(
    tmp_path: Path,
) -> None:
    lab, spoken = one_of_each(), "ru"
    ears = lab.instance("deepgram")
    assert isinstance(ears, DeepgramSimulator)
    ears.spoken = spoken
    late = parse_windows([{"fault": "slow_start", "delay_s": 2.0}])
    lab.instance("openai").set_faults(late)

    events = await called(lab, tmp_path, language="multi")

    (final,) = [event for event in events if isinstance(event, TranscriptFinal)]
    held = [event.utterance for event in events if isinstance(event, HeldTheLine)]
    assert final.language == spoken
    assert held
    assert all(utterance.startswith(f"{spoken}.") for utterance in held)
    assert languages(lab, "cartesia") == ["en", spoken]  # the greeting, and the answer
    own = [event for event in events if isinstance(event, AgentSaid) and not event.by]
    assert len(own) == 2  # beside the filler


async def test_alternatives_are_in_the_calls_record_with_their_confidence(
    tmp_path: Path,
) -> None:
    events = await called(
        one_of_each(), tmp_path, language="en", model="enhanced-general", alternatives=3
    )

    (final,) = [event for event in events if isinstance(event, TranscriptFinal)]
    (journal,) = (tmp_path / "calls").glob("*.jsonl")
    assert final.confidence is not None
    assert len(final.alternatives) == 2
    for other in final.alternatives:
        assert other.text not in ("", final.text)
        assert other.confidence is not None
        assert other.confidence < final.confidence
        assert json.dumps(other.text) in journal.read_text(encoding="utf-8")
