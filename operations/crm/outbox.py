"""The outbox of a customer register: what it is still to be told, until it has taken it.

A report is accepted when `put` returns: then it is committed. It is lent to one sender at a time,
and stays owed until that one says that the register took it. So it is told at least once, under a
key that is always the same: a register that knows such keys has it once.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from sqlalchemy import delete, select, update

from operations.crm.customer import CrmReport
from operations.database.storable import storable
from operations.database.tables import CRM_REPORTS, NUMBER_LENGTH
from operations.database.transactions import TransactionStore

LENT_S: Final = 120.0  # to a sender; one that was killed says nothing
LAST_TRY_S: Final = 80.0  # after that a sender begins no other try: it must be over in time
KEPT_S: Final = 7 * 86_400.0  # what was taken, so that a report that comes again is not told again


@dataclass(frozen=True, slots=True, kw_only=True)
class LentReport:
    """A report that is being told."""

    report: CrmReport
    tries: int  # with this one
    lent_until_s: float


class CrmOutbox(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def put(self, report: CrmReport, *, now: float, due_s: float | None = None) -> bool:
        """Keep a report; False: one with this key is there already.

        Args:
            report: What is told.
            now: When it was made.
            due_s: When it is told at the soonest: until then it may be completed; None: now.
        """
        row = {
            "key": report.key,
            # By this it is found; the report has it whole.
            "number": storable(report.number)[:NUMBER_LENGTH],
            "report": json.dumps(asdict(report)),
            "made_s": now,
            "due_s": now if due_s is None else due_s,
            "tries": 0,
        }
        kept = self._work.insert(CRM_REPORTS).values(**row).on_conflict_do_nothing()
        async with self._work.write() as connection:
            return (await connection.execute(kept)).rowcount > 0

    async def complete(self, report: CrmReport, *, now: float) -> bool:
        """Have a report told now, in the place of the one under its key; False: that is on its way.

        One that somebody was lent is left alone: what a register may have taken is not changed.
        """
        own = (CRM_REPORTS.c.key == report.key) & (CRM_REPORTS.c.tries == 0)
        whole = update(CRM_REPORTS).where(own, CRM_REPORTS.c.done_s.is_(None))
        async with self._work.write() as connection:
            said = {"report": json.dumps(asdict(report)), "due_s": now}
            if (await connection.execute(whole.values(**said))).rowcount:
                return True
        return await self.put(report, now=now)

    async def lend(self, *, now: float) -> LentReport | None:
        """Return the report that is owed longest; nobody else tells it meanwhile."""
        table = CRM_REPORTS
        owed = (
            select(table)
            .where(table.c.done_s.is_(None), table.c.due_s <= now)
            .order_by(table.c.due_s, table.c.made_s, table.c.key)
            .limit(1)
        )
        async with self._work.read() as connection:
            row = (await connection.execute(owed)).first()
        if row is None:
            return None
        until_s = now + LENT_S
        mine = (table.c.key == row.key) & (table.c.due_s == row.due_s) & table.c.done_s.is_(None)
        taken = update(table).where(mine).values(due_s=until_s, tries=row.tries + 1)
        async with self._work.write() as connection:
            if not (await connection.execute(taken)).rowcount:
                return None
        report = read_report(row.report)
        return LentReport(report=report, tries=row.tries + 1, lent_until_s=until_s)

    async def told(self, lent: LentReport, *, now: float) -> None:
        """Note that the register took it, and forget what it took long ago."""
        table = CRM_REPORTS
        old = delete(table).where(table.c.done_s < now - KEPT_S)
        async with self._work.write() as connection:
            own = update(table).where(table.c.key == lent.report.key)
            await connection.execute(own.values(done_s=now))
            await connection.execute(old)

    async def put_off(self, lent: LentReport, *, until_s: float) -> None:
        """Note that the register did not take it; one who was lent it since is left alone."""
        table = CRM_REPORTS
        own = (table.c.key == lent.report.key) & (table.c.due_s == lent.lent_until_s)
        async with self._work.write() as connection:
            await connection.execute(update(table).where(own).values(due_s=until_s))

    async def owed(self) -> Sequence[CrmReport]:
        """Return what is still owed, the oldest first."""
        table = CRM_REPORTS
        rows = select(table.c.report).where(table.c.done_s.is_(None)).order_by(table.c.made_s)
        async with self._work.read() as connection:
            found = (await connection.execute(rows)).scalars()
            return [read_report(scalar) for scalar in found]

    async def forget(self, number: str) -> int:
        """Delete every report of a number; return how many there were."""
        own = delete(CRM_REPORTS).where(CRM_REPORTS.c.number == number)
        async with self._work.write() as connection:
            return (await connection.execute(own)).rowcount


def read_report(text: str) -> CrmReport:
    """Return what was written, also by another version: what we do not know is left out."""
    said: dict[str, Any] = json.loads(text)
    names = {field_.name for field_ in fields(CrmReport)}
    return CrmReport(**{key: value for key, value in said.items() if key in names})
