"""Notes what is new for the spreadsheet, and has it written there: one process for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from loguru import logger

from operations.keep_running import keep_repeating
from operations.notify.alert_history import AlertHistory
from operations.retrying import Retries
from operations.sheets.cells import ALERTS, CALLS, HEADS, alert_rows, call_row
from operations.sheets.inherited import InheritedOutage
from operations.sheets.outbox import SheetBatch, SheetOutbox, SheetRow
from operations.sheets.refusal import GOOGLE, SHEETS, SheetError
from operations.sheets.sheet import Sheet
from operations.sheets.tries import TabTries

LOOK_S: Final = 5.0  # between two looks: what people read in a sheet is in no hurry
BACK: Final = timedelta(days=1)  # what ended earlier, while nobody mirrored, is left out
SETTLED: Final = timedelta(seconds=30)  # after a call's end its cost may still come
AT_ONCE: Final = 200  # rows of one request, some 50 kB
SETTLE_S: Final = 60.0  # before a request whose fate is unknown is looked for: it has ended by then
TIDY_S: Final = 3600.0  # between two looks for what was sent long ago


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSources:
    """What is mirrored, and where what is to be written is noted."""

    outbox: SheetOutbox
    alerts: AlertHistory


class SheetMirror:
    """Works in each process, and does something in the one that leads the house."""

    def __init__(
        self,
        sheet: Sheet,
        sources: MirrorSources,
        *,
        tabs: dict[str, str],
        retries: Retries,
        leads: Callable[[], bool],
        utc_now: Callable[[], datetime],
    ) -> None:
        """Prepare; `tabs` says how ours are called in this spreadsheet, `retries` whom to tell."""
        self._sheet = sheet
        self._outbox = sources.outbox
        self._alerts = sources.alerts
        self._tabs = tabs
        self._leads = leads
        self._utc_now = utc_now
        self._tries = {tab: TabTries(retries) for tab in tabs}
        self._inherited = InheritedOutage(retries.tell)
        self._headed: set[str] = set()  # tabs that have our first row
        self._noted: set[str] = set()  # rows of alerts
        self._tidied_s = 0.0

    async def run(self) -> None:
        """Note and write until cancelled."""
        await keep_repeating("the spreadsheet's mirror", self._round, rest_s=lambda: LOOK_S)

    async def note(self) -> None:
        """Note what has ended or changed since the last time."""
        now = self._utc_now()
        calls = await self._outbox.ended_calls(now - BACK, now - SETTLED)
        alerts = await self._alerts.between((now - BACK).timestamp(), now.timestamp())
        self._inherited.look(each.alert for each in alerts)
        rows = [call_row(each) for each in calls]
        told = [row for each in alerts for row in alert_rows(each.alert)]
        await self._outbox.note([*rows, *(each for each in told if each.key not in self._noted)])
        self._noted = {each.key for each in told}  # nobody's disk works because nothing is new

    def leave(self) -> None:
        """Note that another process leads the house."""
        self._inherited.leave()

    async def write_all(self) -> None:
        """Write what can be written; an outage is over once that is true of each tab."""
        written = False
        for tab in (CALLS, ALERTS):
            while await self.write(tab):
                written = True
        if written and not any(each.failing for each in self._tries.values()):
            self._inherited.end(self._now_s())

    async def write(self, tab: str) -> bool:
        """Write one batch; False: there is none, it could not be written, or the tab rests."""
        if not self._tries[tab].may(self._now_s()):
            return False
        batch = await self._outbox.take(tab, now=self._now_s(), most=AT_ONCE)
        if not batch.rows:
            return False
        rows = list(batch.rows)
        try:
            rows = await self._missing(tab, batch)
            await self._append(tab, rows)
        except SheetError as error:
            await self._put_off(tab, rows, error)
            return False
        await self._outbox.settle([each.key for each in rows])
        self._tries[tab].succeed(SHEETS, GOOGLE)
        return True

    async def _missing(self, tab: str, batch: SheetBatch) -> list[SheetRow]:
        """Return the rows that are not there yet; without a doubt nobody has to look."""
        if not batch.doubtful and tab in self._headed:
            return list(batch.rows)
        try:
            there = await self._sheet.keys(self._tabs[tab])
        except SheetError as error:  # looking has written nothing, but somebody before may have
            error.certain = not batch.doubtful
            raise
        if HEADS[tab][0] in there:
            self._headed.add(tab)
        await self._outbox.settle([each.key for each in batch.rows if each.key in there])
        return [each for each in batch.rows if each.key not in there]

    async def _append(self, tab: str, rows: Sequence[SheetRow]) -> None:
        if not rows:
            return
        heads = () if tab in self._headed else (HEADS[tab],)
        await self._sheet.append(self._tabs[tab], [*heads, *(each.cells for each in rows)])
        self._headed.add(tab)

    async def _put_off(self, tab: str, rows: Sequence[SheetRow], error: SheetError) -> None:
        """Have the rows written later, and looked for first where they may be there."""
        keys, now = [each.key for each in rows], self._now_s()
        logger.warning("{} rows for the spreadsheet wait: {}", len(keys), error.reason)
        wait_s = self._tries[tab].fail(error.failure, now_s=now)
        if self._tries[tab].alarming:
            self._inherited.take()
        if error.certain:
            await self._outbox.give_back(keys, due_s=now + wait_s)
        else:
            self._headed.discard(tab)
            await self._outbox.leave_in_doubt(keys, due_s=now + max(wait_s, SETTLE_S))

    async def _round(self) -> bool:
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
