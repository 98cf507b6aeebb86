"""Mirrors new calls and alerts into a spreadsheet, in one process for all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from loguru import logger

from calls.entry import Emit
from calls.incident import IncidentEnded
from fallbacks.events import AttemptFailed, AttemptWon, RetriesExhausted, RetryPlanned
from fallbacks.failure import Failure, Kind, Severity
from fallbacks.retrying import MAX_REST_S, rest_s, wait_s
from operations.keep_running import keep_repeating
from operations.masking import mask_number, printable
from operations.moments import iso
from operations.notify.alert import Alert
from operations.notify.alert_outbox import AlertHistory
from operations.notify.channel import alert_text
from operations.retrying import Retries
from operations.sheets.sheet import GOOGLE, SHEETS, Sheet, SheetError
from operations.sheets.sheet_outbox import CUT, SheetBatch, SheetOutbox, SheetRow

CALLS: Final = "calls"
ALERTS: Final = "alerts"
HEADINGS: Final[Mapping[str, tuple[str, ...]]] = {
    CALLS: (
        *("key", "began", "ended", "transport", "direction", "agent", "caller", "called", "state"),
        *("reason", "outcome", "length_s", "turns", "failures", "failovers", "cost", "currency"),
        *("verdict", "why"),
    ),
    ALERTS: ("key", "at", "status", "severity", "stage", "provider", "kind", "hurt", "message"),
}


def call_row(call: Mapping[str, Any]) -> SheetRow:
    """Return the row of an ended call, with masked numbers and without words.

    A call that was cut has another key, because it may go on: perhaps its process was only slow.
    """
    cut = CUT if call["state"] == "interrupted" else ""
    key, ended = f"call {call['id']}{cut}", call["ended_at"]
    return SheetRow(
        key=key,
        tab=CALLS,
        at_s=ended.timestamp(),
        cells=(
            key,
            iso(call["started_at"], "seconds"),
            iso(ended, "seconds"),
            *(call[name] for name in ("transport", "direction", "agent")),
            mask_number(call["caller"]),
            mask_number(call["called"]),
            *(call[name] for name in ("state", "reason", "outcome")),
            "" if call["length_s"] is None else round(call["length_s"], 1),
            *(call[name] for name in ("turns", "failures", "failovers")),
            "" if call["cost"] is None else round(call["cost"], 4),
            *(call[name] for name in ("currency", "verdict", "why")),
        ),
    )


def alert_rows(alert: Alert) -> Iterator[SheetRow]:
    """Yield a row for a sent alert, and one for its end."""
    if not alert.revision:
        return
    yield _alert_row(alert, "open", alert.open_s)
    if alert.ended_s is not None and alert.told_ended:
        yield _alert_row(alert, "resolved", alert.ended_s)


def _alert_row(alert: Alert, status: str, at_s: float) -> SheetRow:
    key = f"alert {alert.key} {alert.open_s:.0f} {status}"
    rung = (alert.stage, alert.rung, alert.kind)
    title = printable(alert_text(alert).title)
    cells = (key, iso(at_s, "seconds"), status, alert.severity.value, *rung, alert.callers, title)
    return SheetRow(key=key, tab=ALERTS, at_s=at_s, cells=cells)


class TabTries:
    """Counts a tab's failures since it was last written, and decides when to try again.

    Attempts are made in sequences, as for all work outside a turn (`fallbacks/retrying.py`). No row
    is ever given up: after the last attempt of a sequence, and after a permanent failure, the tab
    pauses.

    Attributes:
        failing: Whether the last attempt failed.
        alarming: Whether operators were notified; a single minor failure does not do that.
    """

    def __init__(self, retries: Retries) -> None:
        """Start without failures."""
        self._retries = retries
        self._tries = 0  # in this sequence
        self._sequences = 0  # failed ones, in a row
        self.failing = self.alarming = False
        self._rests_until_s = 0.0

    def may_try(self, now_s: float) -> bool:
        """Return whether the tab may be tried now."""
        return now_s >= self._rests_until_s

    def fail(self, failure: Failure, *, now_s: float) -> float:
        """Count and report a failed attempt; return how long its rows have to wait, in seconds."""
        self.failing = True
        self.alarming |= failure.severity is not Severity.LOW
        self._tries += 1
        self._retries.emit(AttemptFailed.of(failure))
        waits_s = self._next_wait_s(failure)
        # A bad request says nothing about the next one; after any other failure the tab waits.
        if failure.kind is not Kind.BAD_REQUEST:
            self._rests_until_s = now_s + waits_s
        return waits_s

    def succeed(self, stage: str, provider: str) -> None:
        """Reset the failures; report the recovery."""
        if self.failing:
            self._retries.emit(AttemptWon(stage=stage, provider=provider, attempt=1, after_s=0.0))
        self._tries = self._sequences = 0
        self.failing = self.alarming = False

    def _next_wait_s(self, failure: Failure) -> float:
        """Return the wait before the next attempt; report the retry, or the end of the sequence."""
        retries, tries = self._retries, self._tries
        planned_s = wait_s(retries.settings, tries, failure=failure, chance=retries.chance())
        stage, provider, kind = failure.stage, failure.provider, failure.kind
        if planned_s is not None:
            retries.emit(
                RetryPlanned(
                    stage=stage, provider=provider, kind=kind, retry=tries, wait_s=planned_s
                )
            )
            return planned_s
        self._tries = 0
        if failure.permanent:
            return max(MAX_REST_S, failure.retry_after_s or 0.0)
        retries.emit(RetriesExhausted(stage=stage, provider=provider, kind=kind, tries=tries))
        self.alarming = True
        self._sequences += 1
        return max(rest_s(self._sequences), failure.retry_after_s or 0.0)


class InheritedOutage:
    """The outage that an earlier leader of the worker pool reported, if it is still open.

    The process that reported an outage may stop before its end. Its successor never failed, so it
    would report no end, and the alert would stay open until it ends for lack of reports.
    """

    def __init__(self, emit: Emit) -> None:
        """Start without an outage."""
        self._emit = emit
        self._has_searched = False
        self._alert: Alert | None = None

    def find_open(self, alerts: Iterable[Alert]) -> None:
        """Look for an open outage, once after this process begins to lead."""
        if self._has_searched:
            return
        self._has_searched = True
        open_now = (alert for alert in alerts if alert.ended_s is None)
        of_sheets = (alert for alert in open_now if (alert.stage, alert.rung) == (SHEETS, GOOGLE))
        self._alert = next(of_sheets, None)

    def leave(self) -> None:
        """Stop leading: other processes report from now on."""
        self._has_searched, self._alert = False, None

    def take_over(self) -> None:
        """Record that this process has reported the outage itself, and will report its end."""
        self._alert = None

    def end(self, now_s: float) -> None:
        """Report the end, if there is an outage."""
        alert, self._alert = self._alert, None
        if alert is None:
            return
        self._emit(
            IncidentEnded(
                stage=alert.stage,
                rung=alert.rung,
                kind=alert.kind,
                lasted_s=round(now_s - alert.open_s, 1),
                failures=0,
            )
        )


SHEET_CHECK_S: Final = 5.0  # between two checks: a sheet is not urgent
MAX_AGE: Final = timedelta(days=1)  # calls that ended earlier, while no mirror ran, are left out
COST_DELAY: Final = timedelta(seconds=30)  # after a call's end its cost may still arrive
AT_ONCE: Final = 200  # rows of one request, about 50 kB
UNANSWERED_REST_S: Final = 60.0  # after an unanswered request, before its rows are looked up
TIDY_S: Final = 3600.0  # between two checks for rows that were sent long ago


class SheetMirror:
    """Writes the rows; runs in each process, but acts only in the leader of the worker pool."""

    def __init__(
        self,
        sheet: Sheet,
        outbox: SheetOutbox,
        alerts: AlertHistory,
        *,
        tabs: dict[str, str],
        retries: Retries,
        leads: Callable[[], bool],
        utc_now: Callable[[], datetime],
    ) -> None:
        """Create a mirror; `tabs` names our tabs in this spreadsheet, `retries` has the policy."""
        self._sheet = sheet
        self._outbox = outbox
        self._alerts = alerts
        self._tabs = tabs
        self._leads = leads
        self._utc_now = utc_now
        self._tries = {tab: TabTries(retries) for tab in tabs}
        self._inherited = InheritedOutage(retries.emit)
        self._tabs_with_header: set[str] = set()  # as far as is known
        self._queued_keys: set[str] = set()  # of the rows of alerts
        self._tidied_s = 0.0

    async def run(self) -> None:
        """Collect and write rows until cancelled."""
        await keep_repeating(
            "the spreadsheet mirror", self._run_round, rest_s=lambda: SHEET_CHECK_S
        )

    async def note(self) -> None:
        """Queue the rows of calls that have ended, and of alerts that were sent or have ended.

        Only of the last `MAX_AGE`; a call waits for `COST_DELAY` after its end. The first time,
        also looks for an outage that an earlier leader reported.
        """
        now = self._utc_now()
        calls = await self._outbox.ended_calls(now - MAX_AGE, now - COST_DELAY)
        alerts = await self._alerts.between((now - MAX_AGE).timestamp(), now.timestamp())
        self._inherited.find_open(alert.alert for alert in alerts)
        rows = [call_row(call) for call in calls]
        of_alerts = [row for alert in alerts for row in alert_rows(alert.alert)]
        await self._outbox.note(
            [*rows, *(row for row in of_alerts if row.key not in self._queued_keys)]
        )
        self._queued_keys = {row.key for row in of_alerts}  # so that only new rows are written

    def leave(self) -> None:
        """Record that another process leads the worker pool."""
        self._inherited.leave()

    async def write_all(self) -> None:
        """Write the rows that can be written; an outage is over when no tab fails."""
        written = False
        for tab in (CALLS, ALERTS):
            while await self.write(tab):
                written = True
        if written and not any(tries.failing for tries in self._tries.values()):
            self._inherited.end(self._now_s())

    async def write(self, tab: str) -> bool:
        """Write one batch; return False if there is none, it failed, or the tab pauses."""
        if not self._tries[tab].may_try(self._now_s()):
            return False
        batch = await self._outbox.take(tab, now_s=self._now_s, most=AT_ONCE)
        if not batch.rows:
            return False
        rows = list(batch.rows)
        try:
            rows = await self._find_missing(tab, batch)
            await self._append_rows(tab, rows)
        except SheetError as error:
            await self._put_off(tab, batch, rows, error)
            return False
        await self._outbox.settle([row.key for row in rows])
        self._tries[tab].succeed(SHEETS, GOOGLE)
        return True

    async def _find_missing(self, tab: str, batch: SheetBatch) -> list[SheetRow]:
        """Return the rows that are not in the sheet; settle the others. Reads it only if in doubt.

        It is in doubt after an unanswered request, and until it is known to have its heading.
        """
        if not batch.doubtful and tab in self._tabs_with_header:
            return list(batch.rows)
        try:
            present = await self._sheet.keys(self._tabs[tab])
        except SheetError as error:  # this request wrote nothing, but an earlier one may have
            error.certain = not batch.doubtful
            raise
        if HEADINGS[tab][0] in present:
            self._tabs_with_header.add(tab)
        await self._outbox.settle([row.key for row in batch.rows if row.key in present])
        return [row for row in batch.rows if row.key not in present]

    async def _append_rows(self, tab: str, rows: Sequence[SheetRow]) -> None:
        """Append rows to a tab, and the headings before the first ones."""
        if not rows:
            return
        headings = () if tab in self._tabs_with_header else (HEADINGS[tab],)
        await self._sheet.append(self._tabs[tab], [*headings, *(row.cells for row in rows)])
        self._tabs_with_header.add(tab)

    async def _put_off(
        self, tab: str, batch: SheetBatch, rows: Sequence[SheetRow], error: SheetError
    ) -> None:
        """Postpone rows; those that may be in the sheet are looked up first, next time."""
        keys, now = [row.key for row in rows], self._now_s()
        logger.warning("{} rows for the spreadsheet are postponed: {}", len(keys), error.reason)
        wait_s = self._tries[tab].fail(error.failure, now_s=now)
        if self._tries[tab].alarming:
            self._inherited.take_over()
        doubtful = not error.certain
        if doubtful:
            self._tabs_with_header.discard(tab)
            wait_s = max(wait_s, UNANSWERED_REST_S)
        await self._outbox.put_off(batch, keys, due_s=now + wait_s, doubtful=doubtful)

    async def _run_round(self) -> bool:
        """Do one round; return False, because the next one always waits for `SHEET_CHECK_S`.

        A process that does not lead only forgets an earlier leader's outage. Every `TIDY_S`, rows
        that were sent long ago are deleted.
        """
        if not self._leads():
            self.leave()
            return False
        await self.note()
        await self.write_all()
        if self._now_s() - self._tidied_s > TIDY_S:
            self._tidied_s = self._now_s()
            await self._outbox.forget(now=self._tidied_s)
        return False

    def _now_s(self) -> float:
        return self._utc_now().timestamp()
