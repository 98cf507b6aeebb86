"""Callers' voicemails as rows: caller, text, and whether it was handled.

The recording is authoritative, and is on the disk before the caller hears that it is kept; its row
is written soon after. If the process dies in between, the row is created from the file.
"""

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from loguru import logger
from sqlalchemy import case, select, update

from operations.database.database import Database, StorageError
from operations.database.storable import storable
from operations.database.tables import CALLS, VOICEMAILS
from operations.keep_running import at_work, keep_running
from runtime.pcm import SAMPLE_BYTES

PART: Final = ".part"  # suffix of an incomplete file
LEFT_S: Final = 600.0  # a message takes two minutes at most: an older file has no writer
# RIFF, WAVE, fmt and data (Microsoft RIFF, 1991).
HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")


class MessageFile:
    """A WAV file of a voicemail or a call, 16-bit; named `.wav.part` until `finish`.

    Methods block.

    Raises:
        OSError: Raised by each method if the disk is full or broken.
    """

    def __init__(self, path: Path, *, rate_hz: int, channels: int = 1) -> None:
        """Create the folder and the unfinished file, in place of an earlier one."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._part = path.with_name(path.name + PART)
        self._rate_hz = rate_hz
        self._channels = channels
        self.length_bytes = 0
        """The length of the audio on the disk."""
        self._file = os.open(
            self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )
        try:
            self._write_at(self._wave_header(), at=0)
        except OSError:  # the caller has no object yet to `drop`
            self.drop()
            raise

    def add(self, pcm: bytes) -> None:
        """Append audio: 16-bit samples, alternating between the channels."""
        self._write_at(pcm, at=HEADER.size + self.length_bytes)
        self.length_bytes += len(pcm)

    def finish(self) -> None:
        """Flush everything to the disk, and only then give the file its final name."""
        self._write_at(self._wave_header(), at=0)
        os.fsync(self._file)
        self._close_file()
        self._part.replace(self._path)
        _sync_folder(self._path.parent)

    def leave(self) -> None:
        """Close the file unfinished; `finish_left` completes it later."""
        self._close_file()

    def drop(self) -> None:
        """Close and delete the unfinished file."""
        self._close_file()
        self._part.unlink(missing_ok=True)

    def _wave_header(self) -> bytes:
        return _pack_wave_header(self._rate_hz, self.length_bytes, channels=self._channels)

    def _write_at(self, content: bytes, *, at: int) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written

    def _close_file(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def finish_left(folder: Path, *, utc_s: float) -> int:
    """Complete the files that nothing was written to for `LEFT_S`; return how many; blocks.

    Dead processes left them. `utc_s` is now, in seconds since 1970.
    Other workers may do the same in the same folder.
    """
    return sum(_finish_file(path, utc_s - LEFT_S) for path in folder.glob(f"*.wav{PART}"))


def _finish_file(part: Path, until_s: float) -> bool:
    """Complete a file last written before `until_s`; return whether that was done.

    A file without audio is deleted.
    """
    try:
        stat = part.stat()
        if stat.st_mtime >= until_s:
            return False
        with part.open("r+b") as file:
            has_audio = _write_head(file, max(0, stat.st_size - HEADER.size))
        if not has_audio:
            part.unlink()
            return False
        part.replace(part.with_name(part.name.removesuffix(PART)))
    except FileNotFoundError:  # another process was faster
        return False
    except OSError as error:  # it is tried again later; other files must not wait for it
        logger.error("the file of a dead process cannot be completed: {}", error)
        return False
    return True


def _write_head(file: BinaryIO, length_bytes: int) -> bool:
    """Write the length of a file's audio into its header; return False if there is none."""
    head = file.read(HEADER.size)
    if len(head) < HEADER.size or not length_bytes:
        return False
    channels, rate_hz = HEADER.unpack(head)[6:8]
    whole_bytes = length_bytes - length_bytes % (SAMPLE_BYTES * max(1, channels))
    file.seek(0)
    file.write(_pack_wave_header(rate_hz, whole_bytes, channels=channels))
    return True


def _pack_wave_header(rate_hz: int, length_bytes: int, *, channels: int) -> bytes:
    pcm_format, frame_bytes = 1, channels * SAMPLE_BYTES  # a frame has one sample per channel
    return HEADER.pack(
        b"RIFF", HEADER.size - 8 + length_bytes, b"WAVE",
        b"fmt ", 16, pcm_format, channels,
        rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * SAMPLE_BYTES,
        b"data", length_bytes,
    )  # fmt: skip


def _sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a new name in it survives a crash; blocks."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


OTHER_PARTY: Final = case((CALLS.c.direction == "outbound", CALLS.c.called), else_=CALLS.c.caller)
"""The other party's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVoicemail:
    """A recording on the disk."""

    call_id: str
    path: str
    length_s: float
    at: datetime


@dataclass(slots=True)
class Voicemails:
    """The rows; every method raises `StorageError` when the database fails."""

    database: Database

    async def known(self, call_ids: Collection[str]) -> Mapping[str, bool]:
        """Return those of the calls that have a row, and whether it has a text."""
        of_calls = VOICEMAILS.c.call_id.in_(sorted(call_ids))
        async with self.database.reading() as connection:
            query = select(VOICEMAILS.c.call_id, VOICEMAILS.c.transcript).where(of_calls)
            rows = (await connection.execute(query)).all()
        return {row.call_id: bool(row.transcript) for row in rows}

    async def add(self, found: Iterable[KeptVoicemail]) -> None:
        """Create missing rows, with the number in the call's row, if any; others do not change."""
        async with self.database.transaction() as connection:
            for voicemail in found:
                other_party = select(OTHER_PARTY).where(CALLS.c.id == voicemail.call_id)
                number = (await connection.execute(other_party)).scalar_one_or_none() or ""
                added = self.database.insert(VOICEMAILS).values(
                    call_id=voicemail.call_id,
                    number=number,
                    path=voicemail.path,
                    length_s=voicemail.length_s,
                    at=voicemail.at,
                    transcript="",
                )
                await connection.execute(added.on_conflict_do_nothing())

    async def write_text(self, call_id: str, text: str) -> None:
        """Store a message's text."""
        statement = update(VOICEMAILS).where(VOICEMAILS.c.call_id == call_id)
        async with self.database.transaction() as connection:
            await connection.execute(statement.values(transcript=storable(text)))


VOICEMAILS_CHECK_S: Final = 30.0  # between two checks of the folder (chosen)
TEXT: Final = ".text.json"  # suffix for a message's text
AT_ONCE: Final = 500  # messages in one query; SQLite takes at most 999 parameters


@asynccontextmanager
async def voicemails_listed(
    folder: Path, database: Database, *, leads: Callable[[], bool]
) -> AsyncIterator[None]:
    """Add rows for the messages in a folder during the block.

    Args:
        folder: The messages.
        database: For the rows.
        leads: Returns whether this process does this for the worker pool.
    """
    voicemails = Voicemails(database)

    async def list_regularly() -> None:
        """List voicemails while this process leads; log an outage of the database once."""
        is_down = False
        while True:
            try:
                if leads():
                    await list_voicemails(folder, voicemails)
                is_down = False
            except StorageError as error:
                if not is_down:
                    logger.error("voicemails cannot be listed yet: {}", error)
                is_down = True
            await asyncio.sleep(VOICEMAILS_CHECK_S)

    async with at_work(voicemails=keep_running("listing messages", list_regularly)):
        yield


async def list_voicemails(folder: Path, voicemails: Voicemails) -> None:
    """Create missing rows, and store the messages' texts, unless a row has one.

    Raises:
        StorageError: The database failed; repeat the call later.
    """
    found = await asyncio.to_thread(_read_messages, folder)
    for start in range(0, len(found), AT_ONCE):
        part = found[start : start + AT_ONCE]
        known = await voicemails.known([entry.call_id for entry in part])
        missing = [entry for entry in part if entry.call_id not in known]
        if missing:
            await voicemails.add(missing)
        for entry in part:
            text = "" if known.get(entry.call_id) else await asyncio.to_thread(_read_text, entry)
            if text:
                await voicemails.write_text(entry.call_id, text)


def _read_messages(folder: Path) -> list[KeptVoicemail]:
    return [found for path in sorted(folder.glob("*.wav")) if (found := _read_message(path))]


def _read_message(path: Path) -> KeptVoicemail | None:
    """Return a message from its file; `None` if it is gone. Without a readable header, length 0."""
    try:
        stat, head = path.stat(), _read_head(path)
    except FileNotFoundError:  # deleted meanwhile
        return None
    rate_hz = HEADER.unpack(head)[7] if len(head) == HEADER.size else 0
    audio_bytes = max(0, stat.st_size - HEADER.size)
    return KeptVoicemail(
        call_id=path.stem[:64],
        path=str(path),
        length_s=round(audio_bytes / SAMPLE_BYTES / rate_hz, 3) if rate_hz else 0.0,
        at=datetime.fromtimestamp(stat.st_mtime, UTC),
    )


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER.size)
    except FileNotFoundError:  # the caller skips deleted files
        raise
    except OSError:
        return b""  # perhaps another user's; it is listed without its length


def _read_text(message: KeptVoicemail) -> str:
    try:
        stored = json.loads(Path(message.path).with_suffix(TEXT).read_text(encoding="utf-8"))
        return str(stored.get("text") or "")
    except (OSError, ValueError, AttributeError):
        return ""  # not transcribed yet
