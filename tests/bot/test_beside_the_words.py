"""Whole calls with a recogniser that reports languages and alternatives."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.config.settings import Settings
from bot.programs.recording import read
from bot.programs.replay import KeptEntries, replay_one
from bot.workers.process import open_process
from calls.events import AgentSaid, Event, TranscriptFinal
from fallbacks.facts import HeldTheLine
from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import parse_windows

CALLER = Path(__file__).parents[1] / "fixtures" / "callers" / "01_hours.wav"
STAGES = {"deepgram": "stt", "openai": "llm", "cartesia": "tts", "elevenlabs": "tts"}

pytestmark = [pytest.mark.slow, pytest.mark.long]


def settings_for(lab: Lab, folder: Path, *, language: str, **recogniser: Any) -> Settings:
    stages: dict[str, list[dict[str, Any]]] = {"stt": [], "llm": [], "tts": []}
    for name, stage in STAGES.items():
        peer = lab.instance(name)
        rung = {"name": name, "kind": name, "url": peer.url, "api_key": peer.api_key}
        stages[stage].append(rung)
    stages["stt"][0] |= recogniser
    tree = {"agent": {"language": language}, "logs": {"dir": folder}, "stages": stages}
    return Settings.model_validate(tree)


async def called(settings: Settings, folder: Path) -> Sequence[Event]:
    notes = KeptEntries()
    async with open_process(settings, words=True, listeners=[notes]) as process:
        replayed = await replay_one(process, notes, read(CALLER), path=CALLER, folder=folder)
    return replayed.events


def languages(lab: Lab, name: str) -> list[str]:
    asked = lab.record.requests(name)
    return [
        request.details["language"] for request in asked if request.details.get("text", "").strip()
    ]


@pytest.mark.parametrize("spoken", ["es", "ru"])
async def test_a_caller_is_answered_and_asked_to_wait_in_the_language_that_was_detected(
    spoken: str, tmp_path: Path
) -> None:
    async with asyncio.timeout(60), Lab([Spec(name=stage, kind=stage) for stage in STAGES]) as lab:
        ears = lab.instance("deepgram")
        assert isinstance(ears, DeepgramSimulator)
        ears.spoken = spoken
        late = parse_windows([{"fault": "slow_start", "delay_s": 2.0}])
        lab.instance("openai").set_faults(late)

        events = await called(settings_for(lab, tmp_path, language="multi"), tmp_path)

        (final,) = [event for event in events if isinstance(event, TranscriptFinal)]
        held = [event.utterance for event in events if isinstance(event, HeldTheLine)]
        assert final.language == spoken
        assert held
        assert all(utterance.startswith(f"{spoken}.") for utterance in held)
        assert languages(lab, "cartesia") == ["en", spoken]  # the greeting, and the answer
        assert len([event for event in events if isinstance(event, AgentSaid)]) == 2


async def test_alternatives_are_in_the_calls_record_with_their_confidence(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(60), Lab([Spec(name=stage, kind=stage) for stage in STAGES]) as lab:
        settings = settings_for(
            lab, tmp_path, language="en", model="enhanced-general", alternatives=3
        )

        events = await called(settings, tmp_path)

    (final,) = [event for event in events if isinstance(event, TranscriptFinal)]
    (journal,) = (tmp_path / "calls").glob("*.jsonl")
    assert final.confidence is not None
    assert len(final.alternatives) == 2
    for other in final.alternatives:
        assert other.text not in ("", final.text)
        assert other.confidence is not None
        assert other.confidence < final.confidence
        assert json.dumps(other.text) in journal.read_text(encoding="utf-8")
