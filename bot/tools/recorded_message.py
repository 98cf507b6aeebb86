"""A message while it is recorded; a thread writes it to disk every second."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loguru import logger

from calls.stereo import SAMPLE_BYTES
from operations.record.voicemails import MessageFile

EACH_S: Final = 1.0  # the most that is lost if the process dies


class RecordedMessage:
    """Writes pieces in order, one at a time; after one failure nothing more is written."""

    def __init__(self, path: Path, *, rate_hz: int) -> None:
        self._path = path
        self._rate_hz = rate_hz
        self._unwritten = bytearray()
        self._file: MessageFile | None = None
        self._writing: asyncio.Future[None] | None = None
        self._why_lost: OSError | None = None

    def add(self, pcm: bytes) -> None:
        """Add a piece; never waits."""
        self._unwritten += pcm
        busy = self._writing is not None and not self._writing.done()
        enough = len(self._unwritten) >= EACH_S * self._rate_hz * SAMPLE_BYTES
        if enough and not busy and not self._why_lost:
            self._writing = self._begin_writing()

    async def finish(self) -> bool:
        """Complete the file under its own name; return False if the disk failed."""
        if self._writing:
            await self._writing
        await self._begin_writing()
        if not self._why_lost:
            await asyncio.to_thread(self._try, MessageFile.finish)
        if not self._why_lost:
            return True
        logger.error("a message could not be saved: {}", self._why_lost.strerror)
        await self.drop()
        return False

    async def drop(self) -> None:
        """Delete the file."""
        if self._writing:
            await self._writing
        await asyncio.to_thread(self._try, MessageFile.drop)

    def _begin_writing(self) -> asyncio.Future[None]:
        pcm, self._unwritten = bytes(self._unwritten), bytearray()
        return asyncio.get_running_loop().run_in_executor(None, self._write, pcm)

    def _write(self, pcm: bytes) -> None:
        if self._why_lost:
            return
        try:
            self._file = self._file or MessageFile(self._path, rate_hz=self._rate_hz)
            self._file.add(pcm)
        except OSError as error:
            self._why_lost = error

    def _try(self, what: Callable[[MessageFile], None]) -> None:
        try:
            if self._file:
                what(self._file)
        except OSError as error:
            self._why_lost = self._why_lost or error
