"""The record as files for tools of their own: failures, alerts, recovery, everything.

Two of them are JSON arrays that are valid at every instant: they are replaced as a whole, by one
process of the house at a time. The others grow line by line and are begun anew when they are large.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

from calls.alert_events import AlertClosed
from calls.entry import Entry, Tell
from calls.events import CallFailed
from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from calls.record_events import WritesRefused, WritesResumed
from operations.notify.not_served import not_served
from operations.privacy import without_words
from operations.telemetry.record_folder import (
    ALERTS,
    APP,
    ERRORS,
    NAMES,
    RECORD,
    RECOVERY,
    WORDS,
    RecordFolder,
    Redact,
)
from operations.telemetry.record_rows import AGAIN_S, TOLD, RowMaker, Rows

WAITING: Final = 20_000  # rows that are not written yet; beyond that the oldest are lost
WRITE_S: Final = 0.5  # between two writes
PLACE: Final = "logs"  # what the disk is called by which the files stand


class RecordFiles:
    """Listens, and writes twice a second in a thread; a disk that is full costs rows, never a call.

    Attributes:
        lost_rows: That came when too many waited.
    """

    def __init__(
        self,
        folder: Path,
        *,
        names: Collection[str] = NAMES,
        redact: Redact,
        again_s: float = AGAIN_S,
    ) -> None:
        """Write to a folder.

        Args:
            folder: Of the log.
            names: The files that are wanted.
            redact: Takes keys and cards out of a text.
            again_s: How soon an incident that comes back is the same alert.
        """
        self._folder = RecordFolder(folder, redact=redact, again_s=again_s)
        self._maker = RowMaker()
        self._waiting: dict[str, deque[Any]] = {name: deque() for name in NAMES if name in names}
        self._refused = False  # the last write was
        self.lost_rows = 0

    async def hear(self, entry: Entry) -> None:
        """Keep one entry's rows until they are written."""
        if type(entry.event) in TOLD:
            self._keep_rows(self._maker.rows(without_words(entry)))
        match entry.event:
            case IncidentBegan() | IncidentGrew() | IncidentEnded() | AlertClosed() as fact:
                self._keep(ALERTS, [(fact, entry.at)])
            case CallFailed() as event:
                self._keep(ALERTS, [(not_served(event), entry.at)])
            case _:
                pass

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return sum(map(len, self._waiting.values()))

    @property
    def lost(self) -> int:
        """How many there was no room for."""
        return self.lost_rows

    async def run(self, tell: Tell) -> None:
        """Write now and then until cancelled, and once more then; tell when that is refused."""
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                await self.write_now(tell)
        finally:
            self.write()

    async def write_now(self, tell: Tell) -> None:
        """Write what waits, in a thread, and tell what is new of the disk."""
        was_refused = self._refused
        refused = await asyncio.to_thread(self.write)
        if refused and not was_refused:
            reason = refused.strerror or type(refused).__name__
            tell(WritesRefused(where=PLACE, reason=reason))
        if was_refused and not refused:
            tell(WritesResumed(where=PLACE, lost=self.lost_rows))

    def write(self) -> OSError | None:
        """Write what waits; blocks. What a disk does not take waits; return why it did not."""
        refused: OSError | None = None
        for name, waiting in self._waiting.items():
            taken = [waiting.popleft() for _ in range(len(waiting))]  # the loop may add meanwhile
            if not taken:
                continue
            try:
                self._folder.write(name, taken)
            except OSError as error:
                refused = error
                waiting.extendleft(reversed(taken))
        self._refused = refused is not None
        return refused

    def _keep_rows(self, rows: Rows) -> None:
        for name, added in (
            (ERRORS, rows.errors),
            (RECORD, rows.record),
            (RECOVERY, rows.recovery),
            (APP, rows.app),
            (WORDS, rows.app),
        ):
            self._keep(name, added)

    def _keep(self, name: str, rows: Iterable[Any]) -> None:
        waiting = self._waiting.get(name)
        if waiting is None:
            return
        waiting.extend(rows)
        while len(waiting) > WAITING:
            waiting.popleft()
            self.lost_rows += 1
