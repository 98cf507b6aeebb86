"""Sees that each message on the disk has its row, and its row what it says: one process for all."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loguru import logger

from operations.database.database import StorageError
from operations.keep_running import at_work, keep_running
from operations.record.message_file import HEADER, SAMPLE_BYTES
from operations.record.voicemails import KeptVoicemail, Voicemails

LOOK_S: Final = 30.0  # between two looks into the folder (chosen)
TEXT: Final = ".text.json"  # behind the name of a message: what it says
AT_ONCE: Final = 500  # messages of one question; SQLite takes 999 words in one


@asynccontextmanager
async def voicemails_listed(
    folder: Path, url: str, *, mine: Callable[[], bool]
) -> AsyncIterator[None]:
    """Keep the rows as the folder is while the block runs.

    Args:
        folder: The messages.
        url: The database's address.
        mine: Whether this process does it for the house.
    """
    voicemails = Voicemails(url)

    async def look() -> None:
        unwell = False
        while True:
            try:
                if mine():
                    await list_voicemails(folder, voicemails)
                unwell = False
            except StorageError as error:
                if not unwell:
                    logger.error("messages have no rows yet: {}", error)
                unwell = True
            await asyncio.sleep(LOOK_S)

    try:
        async with at_work(voicemails=keep_running("listing messages", look)):
            yield
    finally:
        await voicemails.close()


async def list_voicemails(folder: Path, voicemails: Voicemails) -> None:
    """Make the rows that are missing, and write down what messages say."""
    found = await asyncio.to_thread(_messages, folder)
    for start in range(0, len(found), AT_ONCE):
        part = found[start : start + AT_ONCE]
        known = await voicemails.known([each.call_id for each in part])
        missing = [each for each in part if each.call_id not in known]
        if missing:
            await voicemails.add(missing)
        for each in part:
            text = "" if known.get(each.call_id) else await asyncio.to_thread(_text, each)
            if text:
                await voicemails.write_text(each.call_id, text)


def _messages(folder: Path) -> list[KeptVoicemail]:
    return [found for each in sorted(folder.glob("*.wav")) if (found := _message(each))]


def _message(path: Path) -> KeptVoicemail | None:
    try:
        stat, head = path.stat(), _head(path)
    except FileNotFoundError:  # it was forgotten since we looked
        return None
    rate_hz = HEADER.unpack(head)[7] if len(head) == HEADER.size else 0
    sound_bytes = max(0, stat.st_size - HEADER.size)
    return KeptVoicemail(
        call_id=path.stem[:64],
        path=str(path),
        length_s=round(sound_bytes / SAMPLE_BYTES / rate_hz, 3) if rate_hz else 0.0,
        at=datetime.fromtimestamp(stat.st_mtime, UTC),
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER.size)
    except FileNotFoundError:
        raise
    except OSError:
        return b""  # another user's, perhaps: it is listed without its length, and so can be found


def _text(message: KeptVoicemail) -> str:
    try:
        said = json.loads(Path(message.path).with_suffix(TEXT).read_text(encoding="utf-8"))
        return str(said.get("text") or "")
    except (OSError, ValueError, AttributeError):
        return ""  # nobody has written it down yet
