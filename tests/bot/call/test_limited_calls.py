"""Calls of one process share the limits of its rungs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.programs.recording import read
from bot.programs.replay import KeptEntries, Replayed, replay_one
from bot.workers.process import open_process
from calls.events import AgentSaid
from fallbacks.facts import AttemptFailed, AttemptWon
from lab.control import LabControl
from lab.process import RunningLab, lab_process, with_lab

FOLDER = Path(__file__).parents[2] / "fixtures" / "callers"
CALLERS = ("01_hours", "07_two_utterances", "01_hours")

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.alone]  # no answer may be late at all


def of(kind: type, found: Replayed) -> Sequence[Any]:
    return [event for event in found.events if isinstance(event, kind)]


def limited(lab: RunningLab, tmp_path: Path) -> Any:
    """Return settings with a model for one request at a time, and a voice for two calls."""
    settings: Any = with_lab(lab, {"logs": {"dir": tmp_path / "logs"}})
    stages = settings.stages
    model, voice = stages.llm[0], stages.tts[0]
    one = model.model_copy(update={"limits": type(model.limits)(concurrent=1)})
    two = voice.model_copy(update={"limits": type(voice.limits)(concurrent=2)})
    changed = stages.model_copy(
        update={"llm": (one, *stages.llm[1:]), "tts": (two, *stages.tts[1:])}
    )
    return settings.model_copy(update={"stages": changed})


async def test_three_calls_at_once_stay_within_the_limits_and_all_are_answered(
    tmp_path: Path,
) -> None:
    notes = KeptEntries()
    async with asyncio.timeout(90), lab_process() as lab:
        async with open_process(limited(lab, tmp_path), words=True, listeners=[notes]) as process:
            calls = [
                replay_one(
                    process,
                    notes,
                    read(FOLDER / f"{name}.wav"),
                    path=Path(name),
                    folder=tmp_path / str(number),
                )
                for number, name in enumerate(CALLERS)
            ]
            found = await asyncio.gather(*calls)
        async with LabControl(lab) as control:
            asked = [
                request
                for request in await control.requests("openai")
                if request["path"].endswith("/chat/completions")
            ]
            sockets = [
                request
                for request in await control.requests("cartesia")
                if request["path"].startswith("/tts/websocket")
            ]

    assert [len(of(AgentSaid, item)) for item in found] == [2, 3, 2]  # the greeting is one
    assert max(request["details"]["at_once"] for request in asked) == 1
    spoke = sorted(
        tuple({text.provider for text in of(AttemptWon, call) if text.stage == "tts"})
        for call in found
    )
    assert spoke == [("cartesia",), ("cartesia",), ("elevenlabs",)]
    assert len({socket["at_s"] for socket in sockets if socket["method"] == "GET"}) >= 2
    assert not [text for call in found for text in of(AttemptFailed, call)]
