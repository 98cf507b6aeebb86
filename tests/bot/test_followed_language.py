"""A whole call with an agent whose callers choose the language."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.config.settings import Settings
from bot.process import open_house
from bot.recording import read
from bot.replay import Notes, replay_one
from calls.events import AgentSaid, Event, TranscriptFinal
from fallbacks.facts import HeldTheLine
from faultlab.deepgram.simulator import Deepgram
from faultlab.lab import Lab, Spec
from faultlab.schedule import parse_windows

CALLER = Path(__file__).parents[1] / "fixtures" / "callers" / "01_hours.wav"
STAGES = {"deepgram": "stt", "openai": "llm", "cartesia": "tts", "elevenlabs": "tts"}

pytestmark = [pytest.mark.slow, pytest.mark.long]


def settings_for(lab: Lab, folder: Path) -> Settings:
    stages: dict[str, list[dict[str, str]]] = {"stt": [], "llm": [], "tts": []}
    for name, stage in STAGES.items():
        peer = lab.instance(name)
        rung = {"name": name, "kind": name, "url": peer.url, "api_key": peer.api_key}
        stages[stage].append(rung)
    tree = {"agent": {"language": "multi"}, "logs": {"dir": folder}, "stages": stages}
    return Settings.model_validate(tree)


async def called(lab: Lab, folder: Path) -> Sequence[Event]:
    notes = Notes()
    settings = settings_for(lab, folder)
    async with open_house(settings, words=True, listeners=[notes]) as house:
        replayed = await replay_one(house, notes, read(CALLER), path=CALLER, folder=folder)
    return replayed.events


def languages(lab: Lab, name: str) -> list[str]:
    asked = lab.record.requests(name)
    return [each.details["language"] for each in asked if each.details.get("text", "").strip()]


@pytest.mark.parametrize("spoken", ["es", "ru"])
async def test_a_caller_is_answered_and_asked_to_wait_in_the_language_that_was_detected(
    spoken: str, tmp_path: Path
) -> None:
    async with asyncio.timeout(60), Lab([Spec(name=each, kind=each) for each in STAGES]) as lab:
        ears = lab.instance("deepgram")
        assert isinstance(ears, Deepgram)
        ears.spoken = spoken
        late = parse_windows([{"fault": "slow_start", "delay_s": 2.0}])
        lab.instance("openai").set_faults(late)

        events = await called(lab, tmp_path)

        (final,) = [each for each in events if isinstance(each, TranscriptFinal)]
        held = [each.utterance for each in events if isinstance(each, HeldTheLine)]
        assert final.language == spoken
        assert held
        assert all(each.startswith(f"{spoken}.") for each in held)
        assert languages(lab, "cartesia") == ["en", spoken]  # the greeting, and the answer
        assert len([each for each in events if isinstance(each, AgentSaid)]) == 2
