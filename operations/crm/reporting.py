"""Reports each ended call to a CRM, through the outbox."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from loguru import logger

from calls.entry import Entry
from calls.events import CallEnded
from calls.known_calls import KnownCalls
from calls.operations_events import CallReported
from calls.state import CallState
from contacts.numbers import one_reading
from fallbacks.failure import Kind, ServiceError
from fallbacks.retrying import MAX_REST_S, rest_s
from operations.backlog import Backlog
from operations.crm.crm_outbox import CrmOutbox, LentReport
from operations.crm.customer import CrmReport
from operations.crm.port import STAGE, Crm
from operations.crm.report_rules import report_of, summary_of
from operations.database.database import StorageError
from operations.database.recorded_words import add_recorded_words
from operations.database.row_outbox import LAST_TRY_S
from operations.keep_running import UNWELL_S, keep_repeating
from operations.remote import remote_failure
from operations.retrying import Retries, run_with_retries

POLL_S: Final = 1.0  # between two checks of the outbox
MAX_WAITING: Final = 1000  # reports kept while the database is down; then the oldest is dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedReport:
    """A report on its way into the outbox.

    Attributes:
        due_s: The earliest time to send it; `None` for now.
        replaces: Whether it replaces the waiting report with the same key.
        call: The call whose words are its summary, also those of other processes; may be `None`.
    """

    report: CrmReport
    due_s: float | None = None
    replaces: bool = False
    call: CallState | None = None


@dataclass(slots=True, kw_only=True)
class CrmReporter:
    """Follows each call as a listener, and puts its report into the outbox."""

    outbox: CrmOutbox
    utc_s: Callable[[], float]
    region: str | None = None  # of numbers without a country code
    lost: int = 0
    _calls: KnownCalls = field(default_factory=KnownCalls)
    _waiting: Backlog[QueuedReport] = field(default_factory=lambda: Backlog(MAX_WAITING))
    _queued: asyncio.Event = field(default_factory=asyncio.Event)

    async def hear(self, entry: Entry) -> None:
        """Queue the report of a call that ended; never waits for the database."""
        call = self._calls.add(entry)
        if call and call.started and isinstance(entry.event, CallEnded):
            written = partial(one_reading, region=self.region)
            report = report_of(call, ended_s=self.utc_s(), written=written)
            self._queue_report(QueuedReport(report=report, call=call))

    def add(self, report: CrmReport, *, due_s: float | None = None) -> None:
        """Queue a report, to be sent at `due_s` at the earliest; `None` for now."""
        self._queue_report(QueuedReport(report=report, due_s=due_s))

    def complete(self, report: CrmReport) -> None:
        """Queue a report to be sent now, in place of the waiting one with the same key."""
        self._queue_report(QueuedReport(report=report, replaces=True))

    def _queue_report(self, report: QueuedReport) -> None:
        """Queue a report; a full queue loses its oldest one, which is counted and logged."""
        if self._waiting.put(report):
            self.lost += 1
            logger.error("the database was down for too long: a report to the CRM is lost")
        self._queued.set()

    async def run(self) -> None:
        """Store queued reports until cancelled; after a database failure, again in `UNWELL_S`."""
        while True:
            await self._queued.wait()
            self._queued.clear()
            if not await self.write():
                await asyncio.sleep(UNWELL_S)
                self._queued.set()

    async def write(self) -> bool:
        """Move the queued reports to the outbox, oldest first.

        Return False at the first one that cannot be stored; it stays queued.
        """
        while self._waiting:
            queued = self._waiting[0]
            try:
                await self._store_report(queued)
            except StorageError as error:
                logger.error("a report for the CRM is not stored yet, and is retried: {}", error)
                return False
            self._waiting.remove_first(queued)
        return True

    async def _store_report(self, queued: QueuedReport) -> None:
        """Store a report in the outbox, or complete the stored one that it replaces."""
        if queued.replaces:
            await self.outbox.complete(queued.report, now=self.utc_s())
            return
        report = queued.report
        if queued.call:
            await add_recorded_words(self.outbox.database, queued.call)
            report = replace(report, summary=summary_of(queued.call))
        await self.outbox.put(report, now=self.utc_s(), due_s=queued.due_s)


class CrmPoster:
    """Sends the outbox's reports to the CRM."""

    def __init__(
        self,
        crm: Crm,
        outbox: CrmOutbox,
        *,
        retries: Retries,
        utc_s: Callable[[], float],
        poll_s: float = POLL_S,
    ) -> None:
        """Send reports from `outbox` to `crm`.

        Args:
            crm: Where the reports go.
            outbox: Where they wait.
            retries: The retry policy; its health table has the CRM's breaker.
            utc_s: The time of day, in seconds since 1970.
            poll_s: Seconds between two checks of an empty outbox.
        """
        self._poll_s = poll_s
        self._crm = crm
        self._outbox = outbox
        self._retries = replace(retries, settings=replace(retries.settings, within_s=LAST_TRY_S))
        self._utc_s = utc_s
        self._rest_s = poll_s  # before the next check, after one that sent nothing

    async def run(self) -> None:
        """Send pending reports, one after the other, until cancelled."""
        await keep_repeating("reports to the CRM", self.send_next, rest_s=lambda: self._rest_s)

    async def send_next(self) -> bool:
        """Send one report and emit `CallReported`; False if none is pending or it was not accepted.

        A report that was not accepted is put off, however often that happens.
        """
        self._rest_s = self._poll_s
        lent = await self._outbox.lend(now_s=self._utc_s)
        if lent is None:
            return False
        self._tick_breaker()
        try:
            await run_with_retries(
                lambda: self._crm.write(lent.report),
                asked=(STAGE, self._crm.name),
                classify=partial(remote_failure, STAGE, self._crm.name),
                retries=self._retries,
            )
        except ServiceError as error:
            await self._put_off(lent, error)
            return False
        await self._outbox.record_accepted(lent, now=self._utc_s())
        self._retries.emit(
            CallReported(crm=self._crm.name, call_id=lent.report.call_id, tries=lent.tries)
        )
        return True

    def _tick_breaker(self) -> None:
        """Let the CRM's breaker end its rest, as no timer does that."""
        availability = self._retries.availability
        for event in availability.tick(self._retries.clock()) if availability else ():
            self._retries.emit(event)

    async def _put_off(self, lent: LentReport, error: ServiceError) -> None:
        """Set when to try this report again, and how long to rest before the next one."""
        failure = error.failure
        logger.warning("the CRM did not accept a report: {}", failure.reason)
        wait_s = MAX_REST_S if failure.permanent else rest_s(lent.tries)
        wait_s = max(wait_s, failure.retry_after_s or 0.0)
        # A bad request says nothing about other reports; after any other failure they all wait.
        if failure.kind is not Kind.BAD_REQUEST:
            self._rest_s = max(rest_s(lent.tries), failure.retry_after_s or 0.0)
        await self._outbox.put_off(lent, until_s=self._utc_s() + wait_s)
