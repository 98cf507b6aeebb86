"""Looks for calls whose process has died, which nobody else will say has ended."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from loguru import logger

from calls.events import Event
from calls.house_events import CallsCut
from operations.database.database import StorageError
from operations.record.writer import RecordWriter

LOOK_S: Final = 15.0  # between two looks; behind an outage each process writes again within 12 s
SET_S: Final = 2.0  # chosen: a clock that is merely brought into step moves by far less


class CutCalls:
    """Marks them as interrupted in the record."""

    def __init__(
        self,
        writer: RecordWriter,
        *,
        tell: Callable[[Event], None],
        utc_now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        """Mark in `writer`'s database."""
        self._writer = writer
        self._tell = tell
        self._utc_now = utc_now
        self._clock = clock
        self._look_at = 0.0
        self._ahead_s: float | None = None  # the time of day, of the clock, at the last look
        self._away = False  # the database was, when it was asked last

    def note_away(self) -> None:
        """Note that the database takes nothing: no process can give a sign of life meanwhile."""
        self._away = True

    async def look(self, *, within_s: float) -> None:
        """Look, if it is time to; a database that does not answer is left to the next batch.

        The first time that it answers behind an outage only that is noted: to who comes first, the
        calls of all others, and of this process, too, seem to be cut. So they do when the clock was
        set forward, until each process has given a sign of life again.
        """
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_S
        if self._was_set_forward():
            return
        try:
            async with asyncio.timeout(within_s):
                if self._away:
                    await self._writer.reach()
                    self._away = False
                    return
                cut = await self._writer.interrupt_cut(self._utc_now())
        except (StorageError, TimeoutError):
            self.note_away()
            return  # the next batch says so, if it goes on
        if cut:
            logger.warning("{} calls were cut with their process: marked as interrupted", cut)
            self._tell(CallsCut(calls=cut))

    def _was_set_forward(self) -> bool:
        before_s, self._ahead_s = self._ahead_s, self._utc_now().timestamp() - self._clock()
        return before_s is not None and self._ahead_s - before_s > SET_S
