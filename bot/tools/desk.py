"""Does what a caller wants of Holdline itself, with no provider's help: by key or by word."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from loguru import logger

from bot.tools.recorded_message import RecordedMessage
from operations.database.database import StorageError
from operations.record.callbacks import Callback, Callbacks
from processors.holding.caller_silence import End
from transports.leg import LegFacts

KEPT_S: Final = 3.0  # how long a caller waits to hear that the request is kept
AGAIN_S: Final = 1.0  # between two attempts to keep it behind the call's end
MOST_OWED: Final = 8  # requests of one call; their reasons are one row, and fill it before that

T = TypeVar("T")


class Unkept(StrEnum):
    """Why a caller's request was not kept."""

    NO_NUMBER = "no_number"  # nobody knows where to call
    NOT_STORED = "not_stored"


class CallerRequests:
    """The desk of one call. `close` it with the call, which keeps what was not kept by then."""

    def __init__(
        self,
        *,
        callbacks: Callbacks,
        messages: Path,
        call_id: str,
        facts: LegFacts,
        end: End,
        utc_now: Callable[[], datetime],
    ) -> None:
        """Serve one call.

        Args:
            callbacks: Who waits to be called back.
            messages: The folder of messages.
            call_id: Names what is kept.
            facts: Whom the call is with.
            end: Ends the call, whatever hangs in it.
            utc_now: The wall clock.
        """
        self._callbacks = callbacks
        self._messages = messages
        self._call_id = call_id
        self._facts = facts
        self._end = end
        self._utc_now = utc_now
        self._owed: deque[Callback] = deque(maxlen=MOST_OWED)  # that the database has not taken yet
        self._message: RecordedMessage | None = None  # that is being left
        self._ending: asyncio.Task[Any] | None = None  # has the disk do with one what is to be done
        self.reach: Callable[[], Awaitable[bool]] | None = None
        """Reaches a person, and returns once the caller is back or was not connected."""

    async def call_back(self, reason: str) -> bool:
        """Note that this caller is to be called back; False: it cannot be done."""
        return await self.note_callback(reason) is None

    async def note_callback(self, reason: str) -> Unkept | None:
        """Note the same; None: it is committed, and whoever calls back will find it."""
        number = self._facts.other_party
        if not number:
            return Unkept.NO_NUMBER
        wanted = Callback(
            call_id=self._call_id, number=number, reason=reason, asked_at=self._utc_now()
        )
        self._owed.append(wanted)  # also where the caller hangs up before it is committed
        try:
            async with asyncio.timeout(KEPT_S):
                await self._callbacks.add(wanted)
        except (TimeoutError, StorageError) as error:
            logger.error("a callback could not be kept: {}", type(error).__name__)
            return Unkept.NOT_STORED
        if wanted in self._owed:
            self._owed.remove(wanted)
        return None

    async def close(self) -> None:
        """Keep what could not be kept in the call; the call bounds the wait.

        Its caller was promised nothing, and may call again: better called back twice than never.
        """
        try:
            await self._keep_owed()
            if self._ending:
                await self._ending
        finally:
            if self._ending:
                self._ending.cancel()

    async def _keep_owed(self) -> None:
        while self._owed:
            try:
                await self._callbacks.add(self._owed[0])
            except StorageError:
                await asyncio.sleep(AGAIN_S)
            else:
                self._owed.popleft()
                logger.info("a callback that could not be kept in the call is kept")

    async def connect(self) -> bool:
        """Connect the caller with a person; False: nobody is there, or this line cannot."""
        return await self.reach() if self.reach else False

    def record(self, pcm: bytes, rate_hz: int) -> None:
        """Record the next piece of a message; never waits. It is on disk about a second later."""
        if self._message is None:
            path = self._messages / f"{self._call_id}.wav"
            self._message = RecordedMessage(path, rate_hz=rate_hz)
        self._message.add(pcm)

    async def keep_message(self) -> bool:
        """Keep what was recorded as a wav file; False: the disk did not take it, or not in time.

        What it takes by the end of the call is kept all the same, also if the caller hangs up here.
        """
        message, self._message = self._message, None
        return message is not None and bool(await self._in_time(message.finish()))

    async def drop_message(self) -> None:
        """Leave nothing of what was recorded."""
        message, self._message = self._message, None
        if message:
            await self._in_time(message.drop())

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what comes of a message's end; None: the disk hangs, and is not waited for."""
        self._ending = ending = asyncio.get_running_loop().create_task(work, name="end a message")
        await asyncio.wait([ending], timeout=KEPT_S)
        if ending.done():
            return ending.result()
        logger.error("the disk has not done with a message within {:g} s", KEPT_S)
        return None

    async def hang_up(self, reason: str) -> None:
        """End the call."""
        await self._end(reason)
