"""Callbacks and messages of callers, requested by keypad, word or model; needs no provider."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from loguru import logger

from calls.caller import is_dialable
from operations.database.database import StorageError
from operations.record.callbacks import Callback, Callbacks
from operations.record.voicemails import MessageFile
from processors.holding.farewell import End
from runtime.pcm import SAMPLE_BYTES
from transports.leg import LegFacts

REQUEST_STORED_S: Final = 3.0  # how long a caller waits for the confirmation
RETRY_EVERY_S: Final = 1.0  # between two attempts to store a request after the call's end
MAX_OWED: Final = 8  # requests of one call; they share a row, which has room for fewer

WRITE_EVERY_S: Final = 1.0  # of audio per write; the most that is lost if the process dies

T = TypeVar("T")


class Unkept(StrEnum):
    """Why a caller's request was not stored."""

    NO_NUMBER = "no_number"  # the caller's number is unknown
    NOT_CALLED = "not_called"  # the number is one that we never call
    NOT_STORED = "not_stored"


class RecordedMessage:
    """A message that is being recorded: a thread writes it to a file, once a second.

    After a failed write, nothing more is written.
    """

    def __init__(self, path: Path, *, rate_hz: int) -> None:
        self._path = path
        self._rate_hz = rate_hz
        self._unwritten = bytearray()
        self._file: MessageFile | None = None
        self._writing: asyncio.Future[None] | None = None
        self._why_lost: OSError | None = None

    def add(self, pcm: bytes) -> None:
        """Add a piece of audio, 16-bit mono; never waits."""
        self._unwritten += pcm
        busy = self._writing is not None and not self._writing.done()
        enough = len(self._unwritten) >= WRITE_EVERY_S * self._rate_hz * SAMPLE_BYTES
        if enough and not busy and not self._why_lost:
            self._writing = self._begin_writing()

    async def finish(self) -> bool:
        """Write the rest and give the file its final name.

        Returns False if the disk failed; that is logged, and the file is deleted.
        """
        if self._writing:
            await self._writing
        await self._begin_writing()
        if not self._why_lost:
            await asyncio.to_thread(self._apply_to_file, MessageFile.finish)
        if not self._why_lost:
            return True
        logger.error("a message could not be saved: {}", self._why_lost.strerror)
        await self.drop()
        return False

    async def drop(self) -> None:
        """Delete the file."""
        if self._writing:
            await self._writing
        await asyncio.to_thread(self._apply_to_file, MessageFile.drop)

    def _begin_writing(self) -> asyncio.Future[None]:
        pcm, self._unwritten = bytes(self._unwritten), bytearray()
        return asyncio.get_running_loop().run_in_executor(None, self._write_audio, pcm)

    def _write_audio(self, pcm: bytes) -> None:
        """Add audio to the file, in a thread; an error of the disk is kept and ends the writing."""
        if self._why_lost:
            return
        try:
            self._file = self._file or MessageFile(self._path, rate_hz=self._rate_hz)
            self._file.add(pcm)
        except OSError as error:
            self._why_lost = error

    def _apply_to_file(self, action: Callable[[MessageFile], None]) -> None:
        """Do something with the file, if there is one; the first error of the disk is kept."""
        try:
            if self._file:
                action(self._file)
        except OSError as error:
            self._why_lost = self._why_lost or error


class CallerRequests:
    """The requests of one call. `close` it with the call, to store what is still pending."""

    def __init__(
        self,
        *,
        callbacks: Callbacks,
        messages: Path,
        call_id: str,
        facts: LegFacts,
        end: End,
        utc_now: Callable[[], datetime],
        stored: Callable[[str], str] = str,
        read: Callable[[str], str] = lambda number: number,
        reach: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Create the requests of one call.

        Args:
            callbacks: The store of callbacks.
            messages: The folder of messages.
            call_id: Names the stored requests.
            facts: The facts of the leg, such as the caller's number.
            end: Ends the call, even if a processor hangs.
            utc_now: The wall clock.
            stored: Returns words of the call as they may be stored.
            read: Normalises a number for dialling; empty if it must not be called.
            reach: Transfers the caller; returns when they are back, with whether they were
                connected. `None` if that is impossible.
        """
        self._callbacks = callbacks
        self._read = read
        self._messages = messages
        self._call_id = call_id
        self._facts = facts
        self._end = end
        self._utc_now = utc_now
        self.stored = stored
        self.owed: deque[Callback] = deque(maxlen=MAX_OWED)
        """Callbacks that are not in the database yet; `close` stores them."""
        self._message: RecordedMessage | None = None  # the message being recorded
        self._ending: asyncio.Task[Any] | None = None  # finishes or drops a message
        self._reach = reach

    def callback_number(self, said: str = "") -> str | Unkept:
        """Return the named number, or else the caller's own, for dialling; or why there is none."""
        number = said if is_dialable(said) else self._facts.other_party
        if not number:
            return Unkept.NO_NUMBER
        return self._read(number) or Unkept.NOT_CALLED

    async def call_back(self, reason: str) -> bool:
        """Store a request for a callback to the caller's number; return False if that fails."""
        return await self.note_callback(reason) is None

    async def note_callback(self, reason: str, said: str = "") -> Unkept | None:
        """Store a request for a callback; return `None` once it is committed, or why it is not.

        One that is not stored within `REQUEST_STORED_S` is tried again by `close`.

        Args:
            reason: What it is about, and when.
            said: The number, if it is not the caller's own.
        """
        number = self.callback_number(said)
        if isinstance(number, Unkept):
            return number
        callback = Callback(
            call_id=self._call_id,
            number=number,
            reason=self.stored(reason),
            asked_at=self._utc_now(),
        )
        self.owed.append(callback)  # so that `close` stores it if the caller hangs up first
        try:
            async with asyncio.timeout(REQUEST_STORED_S):
                await self._callbacks.add(callback)
        except (TimeoutError, StorageError) as error:
            logger.error("a callback could not be stored: {}", type(error).__name__)
            return Unkept.NOT_STORED
        if callback in self.owed:
            self.owed.remove(callback)
        return None

    async def close(self) -> None:
        """Store the callbacks that could not be stored during the call, and finish the message.

        Retries until cancelled. The caller was not promised these callbacks and may call again, but
        two callbacks are better than none.
        """
        try:
            await self._keep_owed()
            if self._ending:
                await self._ending
        finally:
            if self._ending:
                self._ending.cancel()

    async def _keep_owed(self) -> None:
        """Store the owed callbacks in order; retry every `RETRY_EVERY_S` while that fails."""
        while self.owed:
            try:
                await self._callbacks.add(self.owed[0])
            except StorageError:
                await asyncio.sleep(RETRY_EVERY_S)
            else:
                self.owed.popleft()
                logger.info("a callback that could not be stored during the call is stored")

    async def connect(self) -> bool:
        """Connect the caller with a person; return False if that fails or is impossible."""
        return await self._reach() if self._reach else False

    def record(self, pcm: bytes, rate_hz: int) -> None:
        """Record the next piece of a message, 16-bit mono; never waits; the first piece begins it.

        It is on disk within about a second. All pieces have the rate of the first one.
        """
        if self._message is None:
            path = self._messages / f"{self._call_id}.wav"
            self._message = RecordedMessage(path, rate_hz=rate_hz)
        self._message.add(pcm)

    async def keep_message(self) -> bool:
        """Save the message as a wav file; return False without one, or if the disk fails or hangs.

        The file is completed in the background until the end of the call, even if this is cancelled
        because the caller hangs up.
        """
        message, self._message = self._message, None
        return message is not None and bool(await self._in_time(message.finish()))

    async def drop_message(self) -> None:
        """Delete the recording, if there is one."""
        message, self._message = self._message, None
        if message:
            await self._in_time(message.drop())

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of saving or deleting a message; `None` if the disk hangs.

        The work goes on then, and `close` waits for it.
        """
        self._ending = ending = asyncio.get_running_loop().create_task(work, name="end a message")
        await asyncio.wait([ending], timeout=REQUEST_STORED_S)
        if ending.done():
            return ending.result()
        logger.error("the disk did not finish a message within {:g} s", REQUEST_STORED_S)
        return None

    async def hang_up(self, reason: str) -> None:
        """End the call."""
        await self._end(reason)
