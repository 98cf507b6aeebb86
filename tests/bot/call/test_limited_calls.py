"""Calls of one process share the limits of its rungs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from calls.events import AgentSaid
from fallbacks.events import AttemptFailed, AttemptWon
from lab.recording import read_recording
from lab.replay import KeptEntries, Replayed, replay_one
from tests.kit.near import near_process, steady_lab

FOLDER = Path(__file__).parents[2] / "fixtures" / "callers"
CALLERS = ("01_hours", "07_two_utterances", "01_hours")

LIMITS = {  # a model for one request at a time, and a voice for two calls
    "openai": {"limits": {"concurrent": 1}},
    "cartesia": {"limits": {"concurrent": 2}},
}

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


def of(kind: type, found: Replayed) -> Sequence[Any]:
    return [event for event in found.events if isinstance(event, kind)]


async def test_three_calls_at_once_stay_within_the_limits_and_all_are_answered(
    tmp_path: Path,
) -> None:
    notes, lab = KeptEntries(), steady_lab()
    async with near_process(tmp_path / "logs", notes, lab=lab, rungs=LIMITS) as process:
        calls = [
            replay_one(
                process,
                notes,
                read_recording(FOLDER / f"{name}.wav"),
                path=Path(name),
                folder=tmp_path / str(number),
            )
            for number, name in enumerate(CALLERS)
        ]
        found = await asyncio.gather(*calls)
    asked = [
        request
        for request in lab.record.requests("openai")
        if request.path.endswith("/chat/completions")
    ]
    sockets = [
        request
        for request in lab.record.requests("cartesia")
        if request.path.startswith("/tts/websocket")
    ]

    assert [len(of(AgentSaid, item)) for item in found] == [2, 3, 2]  # the greeting is one
    assert max(request.details["at_once"] for request in asked) == 1
    spoke = sorted(
        tuple({text.provider for text in of(AttemptWon, call) if text.stage == "tts"})
        for call in found
    )
    assert spoke == [("cartesia",), ("cartesia",), ("elevenlabs",)]
    assert len([socket for socket in sockets if socket.method == "GET"]) >= 2
    assert not [text for call in found for text in of(AttemptFailed, call)]
