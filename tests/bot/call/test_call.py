"""An exception in one call ends that call only, with a spoken apology and a reason."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pipecat.frames.frames import TranscriptionFrame

from bot.workers import process as house_module
from bot.workers.process import Process
from calls.events import AgentSaid, AnswerHeard, CallEnded, CallFailed
from lab.recording import Recording, read_recording
from lab.replay import KeptEntries, Replayed, replay_one
from processors.hearing.caller_words import CallerWords
from runtime.exits import UsageError
from tests.kit.near import near_process

FOLDER = Path(__file__).parents[2] / "fixtures" / "callers"
BAD_TOOL = {"tools": [{"entry_point": "no_such_module:tool"}]}

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


async def replayed(process: Process, notes: KeptEntries, name: str, out: Path) -> Replayed:
    path = FOLDER / f"{name}.wav"
    return await replay_one(process, notes, read_recording(path), path=path, folder=out / name)


def of(kind: type, found: Replayed) -> Sequence[object]:
    return [event for event in found.events if isinstance(event, kind)]


async def test_an_exception_ends_only_its_own_call_and_with_a_goodbye(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = CallerWords._clean_and_limit

    def break_on_hours(self: CallerWords, frame: TranscriptionFrame) -> None:
        if "hours" in frame.text:
            raise RuntimeError("our own mistake")
        bound(self, frame)

    monkeypatch.setattr(CallerWords, "_clean_and_limit", break_on_hours)
    notes = KeptEntries()
    async with near_process(tmp_path / "logs", notes) as process:
        broken, whole = await asyncio.gather(
            replayed(process, notes, "01_hours", tmp_path),
            replayed(process, notes, "07_two_utterances", tmp_path),
        )

    (failed,) = of(CallFailed, broken)
    assert isinstance(failed, CallFailed)
    assert "our own mistake" in failed.error
    assert broken.outcome.reason == "failed"
    assert of(CallFailed, whole) == []
    assert len(of(AnswerHeard, whole)) == 2
    heard = read_recording(tmp_path / "01_hours" / "heard.wav").samples
    assert seconds_of_sound(heard) > seconds_of_greeting(broken)


def seconds_of_sound(samples: np.ndarray) -> float:
    frames = np.abs(samples[: samples.size // 160 * 160].astype(np.int32)).reshape(-1, 160)
    return float((frames.max(axis=1) > 500).sum() * 160 / 16_000)


def seconds_of_greeting(found: Replayed) -> float:
    said = of(AgentSaid, found)[0]  # the apology follows
    assert isinstance(said, AgentSaid)
    return 0.45 * len(said.text.split())  # no voice of the lab is as slow as that


async def test_a_call_that_cannot_be_assembled_still_says_goodbye(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house_module, "check_tools", lambda settings: None)
    notes = KeptEntries()
    async with near_process(tmp_path / "logs", notes, tree={"agent": BAD_TOOL}) as process:
        silence = Recording(np.zeros(16_000, np.int16), 16_000)
        found = await replay_one(
            process, notes, silence, path=Path("silence"), folder=tmp_path / "silence"
        )

    assert found.outcome.reason == "failed"
    assert len(of(CallEnded, found)) == 1
    heard = read_recording(tmp_path / "silence" / "heard.wav").samples
    assert seconds_of_sound(heard) > 1.5


async def test_a_tool_that_no_call_could_use_prevents_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no_such_module"):
        async with near_process(tmp_path, tree={"agent": BAD_TOOL}):
            pass
