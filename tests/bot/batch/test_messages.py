"""Callers' messages are transcribed after the call, and found again after a crash."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bot.batch.batch import UnusableInputError
from bot.batch.messages import MESSAGES_CHECK_S, RETRY_AFTER_S, transcribe_messages
from calls.events import Event, MessageTranscribed
from calls.transcript import Transcript
from fallbacks.failure import Kind, Scope, error_of, failed, finding
from operations.record.erasing import unlink_all
from operations.record.voicemails import MessageFile

pytestmark = pytest.mark.virtual_time


def message(folder: Path, name: str = "c1") -> Path:
    """Leave a message of one second."""
    path = folder / f"{name}.wav"
    file = MessageFile(path, rate_hz=8000)
    file.add(np.full(8000, 500, "<i2").tobytes())
    file.finish()
    return path


class Recogniser:
    """Hears the given text, after failing `fails` times."""

    def __init__(
        self,
        *,
        failures: int = 0,
        refuses: str = "",
        unusable: bool = False,
        text: str = "Please call me.",
    ) -> None:
        self.failures = failures
        self.refuses = refuses
        self.unusable = unusable
        self.text = text
        self.heard: list[str] = []

    async def transcribe(self, path: Path) -> Transcript:
        self.heard.append(path.name)
        if self.unusable:
            raise UnusableInputError(f"{path}: empty, no bytes")
        if path.name == self.refuses:
            what = finding(Kind.BAD_REQUEST, Scope.PAYLOAD)  # "failed to process audio"
            raise error_of(failed(what, "stt", provider="deepgram"))
        if self.failures:
            self.failures -= 1
            raise error_of(failed(Kind.OVERLOADED, "stt", provider="deepgram"))
        return Transcript(
            text=self.text,
            provider="deepgram",
            language="en",
            language_confidence=0.9,
            duration_s=1.0,
            confidence=0.8,
        )


async def written(
    folder: Path,
    ear: Recogniser,
    *,
    for_s: float = MESSAGES_CHECK_S,
    leads: Callable[[], bool] = lambda: True,
) -> list[Event]:
    told: list[Event] = []
    async with transcribe_messages(folder, ear.transcribe, leads=leads, emit=told.append):
        await asyncio.sleep(for_s)
    return told


def text_of(path: Path) -> str:
    return json.loads(path.with_suffix(".text.json").read_text(encoding="utf-8"))["text"]


async def test_a_message_is_written_down_once(tmp_path: Path) -> None:
    path, ear = message(tmp_path), Recogniser()

    told = await written(tmp_path, ear, for_s=4 * MESSAGES_CHECK_S)

    assert text_of(path) == "Please call me."
    assert ear.heard == ["c1.wav"]
    assert told == [MessageTranscribed(provider="deepgram", words=3, length_s=1.0)]


async def test_text_cut_within_a_character_is_not_transcribed_again(tmp_path: Path) -> None:
    path, ear = message(tmp_path), Recogniser(text="Thanks \ud83d bye")

    await written(tmp_path, ear, for_s=4 * MESSAGES_CHECK_S)

    assert text_of(path) == "Thanks ? bye"
    assert ear.heard == ["c1.wav"]


async def test_a_message_without_a_text_is_found_again_at_the_next_start(tmp_path: Path) -> None:
    path = message(tmp_path)
    await written(tmp_path, Recogniser(failures=1))
    assert not path.with_suffix(".text.json").exists()

    await written(tmp_path, Recogniser())

    assert text_of(path) == "Please call me."


async def test_recognisers_that_failed_are_left_alone_for_a_while(tmp_path: Path) -> None:
    message(tmp_path)
    ear = Recogniser(failures=1)

    await written(tmp_path, ear, for_s=RETRY_AFTER_S - 1)
    assert len(ear.heard) == 1
    await written(tmp_path, ear, for_s=RETRY_AFTER_S + 1)

    assert len(ear.heard) == 2


async def test_a_message_that_every_recogniser_refuses_does_not_block_others(
    tmp_path: Path,
) -> None:
    refused, later = message(tmp_path, "c1"), message(tmp_path, "c2")
    os.utime(refused, (0, 0))
    ear = Recogniser(refuses="c1.wav")

    await written(tmp_path, ear, for_s=RETRY_AFTER_S + MESSAGES_CHECK_S)

    assert ear.heard == ["c1.wav", "c2.wav"]
    assert text_of(later) == "Please call me."
    assert text_of(refused) == ""


async def test_a_message_erased_during_transcription_leaves_no_words(tmp_path: Path) -> None:
    path, ear = message(tmp_path), Recogniser()

    async def forget_meanwhile(recording: Path) -> Transcript:
        found = await ear.transcribe(recording)
        assert unlink_all([str(path)]).count == 1
        return found

    async with transcribe_messages(tmp_path, forget_meanwhile, leads=lambda: True, emit=[].append):
        await asyncio.sleep(MESSAGES_CHECK_S)

    assert not path.with_suffix(".text.json").exists()
    assert not path.with_suffix(".text.part").exists()


async def test_a_file_that_is_no_recording_is_tried_once(tmp_path: Path) -> None:
    path, ear = message(tmp_path), Recogniser(unusable=True)

    await written(tmp_path, ear, for_s=3 * MESSAGES_CHECK_S)

    assert ear.heard == ["c1.wav"]
    assert text_of(path) == ""


async def test_only_one_process_transcribes(tmp_path: Path) -> None:
    message(tmp_path)
    ear = Recogniser()

    await written(tmp_path, ear, leads=lambda: False)

    assert ear.heard == []


async def test_a_recording_in_progress_is_not_transcribed(tmp_path: Path) -> None:
    file = MessageFile(tmp_path / "c2.wav", rate_hz=8000)
    file.add(b"\0\0" * 800)
    ear = Recogniser()

    await written(tmp_path, ear)

    assert ear.heard == []
    file.drop()
