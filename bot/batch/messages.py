"""Transcribes the messages that callers left, one at a time.

The folder is the queue: a recording without a text file has yet to be transcribed. So nothing is
lost when a process dies.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from loguru import logger

from bot.batch.batch import UnusableInputError
from calls.entry import Emit
from calls.events import MessageTranscribed
from calls.transcript import Transcript
from fallbacks.failure import Scope, ServiceError
from operations.keep_running import at_work, keep_running
from operations.stored_words import without_spoken_cards

MESSAGES_CHECK_S: Final = 5.0  # between two checks of the folder (chosen)
RETRY_AFTER_S: Final = 600.0  # after all recognisers have failed in all their retries
TEXT: Final = ".text.json"

Transcribe: TypeAlias = Callable[[Path], Awaitable[Transcript]]
"""Returns the transcript of a recording; raises `ServiceError` or `UnusableInputError`."""


@asynccontextmanager
async def transcribe_messages(
    folder: Path, transcribe: Transcribe, *, leads: Callable[[], bool], emit: Emit
) -> AsyncIterator[None]:
    """Transcribe new messages while the block runs.

    Args:
        folder: The messages, as WAV files; each transcript is written beside its recording.
        transcribe: Transcribes one recording through the STT ladder.
        leads: Returns whether this process transcribes for the whole pool.
        emit: Emits `MessageTranscribed`.
    """

    async def transcribe_new() -> None:
        while True:
            wait_s = MESSAGES_CHECK_S
            if leads():
                wait_s = await _write_all(folder, transcribe, emit)
            await asyncio.sleep(wait_s)

    async with at_work(messages=keep_running("transcribing messages", transcribe_new)):
        yield


def untranscribed(folder: Path) -> list[Path]:
    """Return the messages without a transcript, the oldest first; blocks."""
    found = [path for path in folder.glob("*.wav") if not path.with_suffix(TEXT).exists()]
    return sorted(found, key=lambda path: path.stat().st_mtime)


async def _write_all(folder: Path, transcribe: Transcribe, emit: Emit) -> float:
    """Transcribe new messages, oldest first; return the seconds until the next check.

    A file that cannot be used, or that every recogniser refuses, gets an empty transcript. Any
    other failure ends the round, and delays the next one.
    """
    for path in await asyncio.to_thread(untranscribed, folder):
        try:
            transcript = await transcribe(path)
        except UnusableInputError as unusable:
            logger.warning("a message cannot be transcribed: {}", unusable)
            await asyncio.to_thread(_save_transcript, path, {"text": "", "error": str(unusable)})
        except ServiceError as failed:
            if failed.failure.scope is not Scope.PAYLOAD:
                logger.warning("a message is not transcribed yet: {}", failed)
                return RETRY_AFTER_S
            logger.warning("a message is refused by every recogniser: {}", failed)
            await asyncio.to_thread(_save_transcript, path, {"text": "", "error": str(failed)})
        else:
            await asyncio.to_thread(_save_transcript, path, _transcript_fields(transcript))
            emit(
                MessageTranscribed(
                    provider=transcript.provider,
                    words=len(transcript.text.split()),
                    length_s=transcript.duration_s,
                )
            )
    return MESSAGES_CHECK_S


def _transcript_fields(transcript: Transcript) -> dict[str, Any]:
    return {
        "text": without_spoken_cards(transcript.text),
        "provider": transcript.provider,
        "language": transcript.language,
        "confidence": transcript.confidence,
        "duration_s": transcript.duration_s,
    }


def _save_transcript(path: Path, fields: dict[str, Any]) -> None:
    """Write the transcript atomically, readable by its owner only, unless the message is gone."""
    partial = path.with_suffix(".text.part")
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    # A lone surrogate must not make the write fail: the message would be transcribed again.
    with os.fdopen(opened, "w", encoding="utf-8", errors="replace") as file:
        json.dump(fields, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        partial.replace(path.with_suffix(TEXT))
    else:
        partial.unlink()
