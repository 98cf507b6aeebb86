"""Puts this process's incidents into the outbox, for the process that notifies operators."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from loguru import logger

from calls.entry import Entry
from calls.events import CallFailed
from calls.incident import RECORD, STORAGE, IncidentBegan, IncidentEnded, IncidentGrew, Place
from operations.backlog import Backlog
from operations.database.database import StorageError
from operations.masking import printable
from operations.notify.alert import (
    CALLERS,
    LASTING,
    AlertEvent,
    IncidentLasted,
    IncidentLeft,
    failed_call_incident,
)
from operations.notify.alert_outbox import AlertOutbox, ReportedEvent

INCIDENT_CHECK_S: Final = 1.0  # between two checks for incidents that end because time has passed
LASTS_S: Final = 60.0  # between two reports that an incident lasts
RETRY_AFTER_S: Final = 5.0  # the wait after a failure of the database
MAX_WAITING: Final = 1000  # reports; with more, the oldest are dropped


class AlertReporter:
    """Reports the incidents of one process.

    Attributes:
        lost_facts: Reports that were dropped because too many waited for the database.
        emit_refused: Receives reports of the database's failure, which it cannot store itself.
        lasting: Returns further incidents that last and that only this process knows of.
    """

    def __init__(self, outbox: AlertOutbox, *, utc_s: Callable[[], float]) -> None:
        """Write reports to `outbox`."""
        self._outbox = outbox
        self._utc_s = utc_s
        self._holder = secrets.token_hex(8)
        self._open: set[Place] = set()
        self._waiting = Backlog[ReportedEvent](MAX_WAITING)
        self._queued = asyncio.Event()
        self._lasts_s = 0.0  # when the lasting incidents were last reported
        self._refused = False
        self._set_aside: list[ReportedEvent] = []  # about the database, which could not store them
        self.lost_facts = 0
        self.emit_refused: Callable[[ReportedEvent], None] = lambda _: None
        self.lasting: Callable[[], Iterable[Place]] = tuple

    async def hear(self, entry: Entry) -> None:
        """Queue the report of an incident, or of a call that failed; never waits."""
        at_s = datetime.fromisoformat(entry.at).timestamp()
        match entry.event:
            case IncidentBegan(stage=stage) if stage == CALLERS:
                pass  # emitted by the dispatcher itself
            case IncidentBegan() | IncidentGrew() | IncidentEnded() as fact:
                self._queue_reports([fact], at_s)
            case CallFailed() as event:
                self._queue_reports([failed_call_incident(event)], at_s)
            case _:
                pass

    @property
    def waiting(self) -> int:
        """How many reports are not in the outbox yet."""
        return len(self._waiting)

    @property
    def lost(self) -> int:
        """How many reports were dropped."""
        return self.lost_facts

    async def run(self) -> None:
        """Put reports into the outbox as they come, until cancelled.

        A failure of the database delays them; they are kept.
        """
        while True:
            try:
                async with asyncio.timeout(INCIDENT_CHECK_S):
                    await self._queued.wait()
            except TimeoutError:
                pass
            self._report_lasting(self._utc_s())
            if not await self.write():
                await asyncio.sleep(RETRY_AFTER_S)

    async def leave(self) -> None:
        """Report that this process stops: it will not report the end of its incidents.

        Await it after `run` has ended. If the database fails, the reports are lost.
        """
        left = [IncidentLeft(stage=stage, rung=rung) for stage, rung in sorted(self._open)]
        self._queue_reports(left, self._utc_s())
        await self.write()

    async def write(self) -> bool:
        """Commit all waiting reports; return False if that failed and they still wait.

        Reports of the database's failure then go to `emit_refused`, and wait elsewhere.
        """
        self._queued.clear()
        reports = tuple(self._waiting.take(len(self._waiting)))
        if not reports:
            return True
        is_stored = False
        try:
            await self._outbox.report(reports)
            is_stored = True
        except StorageError as error:
            if not self._refused:
                logger.error("alerts cannot be stored, and are not sent meanwhile: {}", error)
            reports = self._without_database_failures(reports)
        finally:
            if not is_stored:  # also when cancelled: `leave` writes them afterwards
                self._waiting.put_back(reports)
        self._refused = not is_stored
        return is_stored

    def _without_database_failures(
        self, reports: tuple[ReportedEvent, ...]
    ) -> tuple[ReportedEvent, ...]:
        """Set aside the reports that say that the database fails; return the rest.

        Operators are notified of that failure without the outbox. The reports are set aside until
        its end is reported: stored earlier, they would notify operators again of something that is
        over.
        """
        about_database = [
            report for report in reports if _place_of(report.fact) == (STORAGE, RECORD)
        ]
        if any(isinstance(report.fact, IncidentEnded) for report in about_database):
            return reports  # the outage is over: its start is stored together with its end
        for report in about_database:
            if not isinstance(report.fact, IncidentLasted):  # those come every minute
                self._set_aside.append(report)
                self.emit_refused(report)
        return tuple(report for report in reports if report not in about_database)

    def _report_lasting(self, now: float) -> None:
        """Queue a report for each incident that lasts, at most every `LASTS_S`.

        It replaces the previous one if that still waits: hours of them would crowd out the others.
        """
        if now < self._lasts_s + LASTS_S:
            return
        self._lasts_s = now
        places = (*self._open, *self.lasting())
        waiting = self._waiting.take(len(self._waiting))
        self._waiting.put_back(
            [report for report in waiting if not _is_repeat(report.fact, places)]
        )
        self._queue_reports([IncidentLasted(stage=stage, rung=rung) for stage, rung in places], now)

    def _queue_reports(self, facts: Iterable[AlertEvent], at_s: float) -> None:
        """Queue a report of each fact, remember which lasting incidents are open, and wake `run`.

        Before the end of a database failure, the reports that were set aside are queued. Reports
        that a full queue drops are counted as `lost_facts`. `at_s` is in seconds since 1970.
        """
        for fact in facts:
            place = _place_of(fact)
            if isinstance(fact, IncidentEnded):
                self._open.discard(place)
                if place == (STORAGE, RECORD):
                    self.lost_facts += self._waiting.put(*self._set_aside)
                    self._set_aside.clear()
            elif isinstance(fact, IncidentLeft):
                self._open.discard(place)
            elif fact.stage in LASTING:  # only of these the end is sure to reach this process
                self._open.add(place)
            report = ReportedEvent(fact=_masked_report(fact), at_s=at_s, holder=self._holder)
            self.lost_facts += self._waiting.put(report)
            self._queued.set()


def _place_of(fact: AlertEvent) -> Place:
    return (fact.stage, fact.rung)


def _is_repeat(fact: AlertEvent, places: Collection[Place]) -> bool:
    """Return whether a report says only that one of these incidents lasts."""
    return isinstance(fact, IncidentLasted) and _place_of(fact) in places


def _masked_report(fact: AlertEvent) -> AlertEvent:
    if isinstance(fact, IncidentBegan | IncidentGrew):
        return replace(fact, reason=printable(fact.reason), then=printable(fact.then))
    return fact
