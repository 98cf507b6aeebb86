"""The outbox of a CRM: reports that it has not accepted yet.

A report is committed when `put` returns. It is sent at least once, always with the same key, so
that a CRM with idempotency keys keeps it once. Only a report that a call was cut may turn out to be
wrong, because its process was only slow: if it may have been sent, the report of the call's real
end has a key of its own.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.engine import RowMapping

from operations.crm.customer import CrmReport
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.database.row_outbox import Outbox
from operations.database.storable import storable
from operations.database.tables import CRM_REPORTS, NUMBER_LENGTH

CUT: Final = "interrupted"  # the outcome of a call whose process died
ACCEPTED_KEPT_S: Final = 7 * 86_400.0  # for accepted reports, to recognise a repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class LentReport:
    """A report that is being sent."""

    report: CrmReport
    tries: int  # including this one
    lent_until_s: float


class CrmOutbox:
    """The pending reports; every method raises `StorageError` when the database fails."""

    def __init__(self, database: Database, *, clock: DatabaseClock | None = None) -> None:
        """Keep the reports here; `clock` is that of all moments, if it needs setting."""
        self.database = database
        oldest = (CRM_REPORTS.c.due_s, CRM_REPORTS.c.made_s, CRM_REPORTS.c.key)
        self._rows = Outbox(database, CRM_REPORTS, CRM_REPORTS.c.done_s.is_(None), oldest, clock)

    async def put(self, report: CrmReport, *, now: float, due_s: float | None = None) -> bool:
        """Store a report; return False if there is already one with this key.

        The report of a call's end replaces the report that the call was cut.

        Args:
            report: The report.
            now: When it was made, in seconds since 1970.
            due_s: The earliest time to send it, so that it can be completed first; `None` for now.
        """
        report = await self._with_corrected_key(report)
        row = {
            "key": report.key,
            # For queries; `report` contains everything.
            "number": storable(report.number)[:NUMBER_LENGTH],
            "report": json.dumps(asdict(report)),
            "made_s": now,
            "due_s": now if due_s is None else due_s,
            "tries": 0,
        }
        statement = self.database.insert(CRM_REPORTS).values(**row).on_conflict_do_nothing()
        async with self.database.transaction() as connection:
            return (await connection.execute(statement)).rowcount > 0

    async def complete(self, report: CrmReport, *, now: float) -> bool:
        """Make this report due now, in place of the stored one with its key, if there is one.

        Return False if the stored one was tried or accepted before: it is left unchanged, because
        the CRM may already have it.
        """
        report = await self._with_corrected_key(report)
        untried = (CRM_REPORTS.c.key == report.key) & (CRM_REPORTS.c.tries == 0)
        replaced = update(CRM_REPORTS).where(untried, CRM_REPORTS.c.done_s.is_(None))
        async with self.database.transaction() as connection:
            values = {"report": json.dumps(asdict(report)), "due_s": now}
            if (await connection.execute(replaced.values(**values))).rowcount:
                return True
        return await self.put(report, now=now)

    async def _with_corrected_key(self, report: CrmReport) -> CrmReport:
        """Return the report with the key to store it under.

        If the stored report says that the call was cut, and this one does not, the stored one is
        deleted; if it may have been sent, this one gets another key.
        """
        table = CRM_REPORTS
        under_key = table.c.key == report.key
        async with self.database.transaction() as connection:
            stored = select(table.c.report).where(under_key)
            before = (await connection.execute(stored)).scalar_one_or_none()
            if before is None or report.outcome == CUT or read_report(before).outcome != CUT:
                return report
            untried = delete(table).where(under_key, table.c.tries == 0)
            if (await connection.execute(untried)).rowcount:
                return report
        return replace(report, key=f"{report.key}-corrected")

    async def lend(self, *, now_s: Callable[[], float]) -> LentReport | None:
        """Lend the report that was due first, or `None`; other senders cannot lend it meanwhile."""
        rows = await self._rows.lend(now_s=now_s, tries=CRM_REPORTS.c.tries + 1)
        return next((_lent_report(row) for row in rows), None)

    async def record_accepted(self, lent: LentReport, *, now: float) -> None:
        """Record that the CRM accepted it, and delete reports that were accepted long ago."""
        await self._rows.settle([(lent.report.key,)], done_s=now)
        await self._rows.delete(CRM_REPORTS.c.done_s < now - ACCEPTED_KEPT_S)

    async def put_off(self, lent: LentReport, *, until_s: float) -> None:
        """Record that the CRM did not accept it, unless it was lent again since.

        It is sent again at `until_s`, in seconds since 1970.
        """
        key = (lent.report.key,)
        await self._rows.put_off([key], lent_until_s=lent.lent_until_s, due_s=until_s)

    async def pending(self) -> Sequence[CrmReport]:
        """Return the pending reports, also those that are being sent, the oldest first."""
        table = CRM_REPORTS
        rows = select(table.c.report).where(table.c.done_s.is_(None)).order_by(table.c.made_s)
        async with self.database.reading() as connection:
            found = (await connection.execute(rows)).scalars()
            return [read_report(scalar) for scalar in found]


def _lent_report(row: RowMapping) -> LentReport:
    report = read_report(row["report"])
    return LentReport(report=report, tries=row["tries"], lent_until_s=row["due_s"])


def read_report(text: str) -> CrmReport:
    """Parse a stored report; unknown fields, of another version, are ignored."""
    values: dict[str, Any] = json.loads(text)
    names = {field_.name for field_ in fields(CrmReport)}
    return CrmReport(**{key: value for key, value in values.items() if key in names})
