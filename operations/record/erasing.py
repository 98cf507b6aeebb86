"""Erases what is in the database: what is old, a little at a time, and all of one number.

Files that belong to rows go first: after a crash in between the rows are still found.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Executable,
    Table,
    delete,
    exists,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from campaigns.store.claim import LONGEST_S
from operations.crm.outbox import KEPT_S
from operations.database.database import StorageError
from operations.database.edge import Store, reading, writing
from operations.database.tables import (
    ALERT_SENDINGS,
    ALERTS,
    BREAKER_MOVES,
    CALL_RESULTS,
    CALLBACK_CONTACTS,
    CALLBACKS,
    CALLS,
    CONSENTS,
    CONTACTS,
    CRM_REPORTS,
    DIALS,
    FAILURES,
    HAPPENINGS,
    MESSAGES,
    TURNS,
    VOICEMAILS,
)

# Rows that are about a number and belong to no call, and who of them is being called.
#
# A contact who is being called stays, with its consent and its dial, until the dial has its
# outcome. Without the contact nobody could see the dial to its end; and SQLite may give the
# contact's id to somebody else, whose first dial would then be, in the ledger, one that is there. A
# dial that nobody has renewed for as long as one may last is of a campaign that is no more: nobody
# sees it to its end.

SameNumber: TypeAlias = Callable[[str], bool]
"""Whether a number, however it was written, is the one that is meant."""

AT_A_TIME: Final[Sequence[Sequence[Table]]] = (
    (CALLBACKS,),
    (CALL_RESULTS,),
    (CRM_REPORTS,),
    # Contacts before their dials: one that gets its outcome in between is still named as left.
    (CONTACTS, CONSENTS, CALLBACK_CONTACTS, DIALS),
)
"""The tables, by the transactions in which they are erased from."""


def _over(now: float) -> Mapping[str, ColumnElement[bool]]:
    """Return by table which rows belong to nobody who is being called."""
    settled = DIALS.c.state == "settled"
    left = ~settled & (DIALS.c.lease_until_s < now - LONGEST_S)
    # Not "there is none that goes on": PostgreSQL does not see the one of a claim of this moment.
    left_alone = exists().where(DIALS.c.contact_id == CONTACTS.c.id, left)
    return {
        CONTACTS.name: (CONTACTS.c.state != "dialling") | left_alone,
        CONSENTS.name: ~exists().where(
            CONTACTS.c.campaign == CONSENTS.c.campaign, CONTACTS.c.number == CONSENTS.c.number
        ),
        CALLBACK_CONTACTS.name: ~exists().where(CONTACTS.c.id == CALLBACK_CONTACTS.c.contact_id),
        DIALS.name: settled | left,
    }


async def erase_rows(
    connection: AsyncConnection,
    tables: Sequence[Table],
    ending: str,
    same: SameNumber,
    *,
    now: float,
) -> Mapping[str, int]:
    """Erase what tables know of a number; return how many rows of each.

    Args:
        connection: In a transaction.
        tables: One of `AT_A_TIME`.
        ending: The number's last digits, which every way of writing it has, in this order.
        same: Looks at each number that has them.
        now: In seconds since 1970.
    """
    over = _over(now)
    erased: dict[str, int] = {}
    for table in tables:
        found = select(table.c.number).where(_about(table, ending)).distinct()
        numbers = [scalar for scalar in (await connection.execute(found)).scalars() if same(scalar)]
        own = (table.c.number.in_(numbers), over.get(table.name, true()))
        erased[table.name] = (await connection.execute(delete(table).where(*own))).rowcount
    return erased


async def count_called(
    connection: AsyncConnection, ending: str, same: SameNumber, *, besides: Collection[str]
) -> int:
    """Return how many contacts with a number are left, since they are being called.

    Args:
        connection: To read with.
        ending: As above.
        same: As above.
        besides: Dials whose calls are counted already.
    """
    contacts = select(CONTACTS.c.id, CONTACTS.c.number)
    dials = select(DIALS.c.contact_id.label("id"), DIALS.c.number, DIALS.c.id.label("dial_id"))
    left = await _rows(connection, contacts.where(_about(CONTACTS, ending)), same)
    called = await _rows(connection, dials.where(_about(DIALS, ending)), same)
    counted = {row.id for row in called if row.dial_id in besides}
    return len({row.id for row in (*left, *called)} - counted)


async def _rows(
    connection: AsyncConnection, wanted: Executable, same: SameNumber
) -> Sequence[Row[Any]]:
    return [item for item in (await connection.execute(wanted)).all() if same(item.number)]


def _about(table: Table, ending: str) -> ColumnElement[bool]:
    return may_be(table.c.number, ending)


def may_be(number: ColumnElement[str], ending: str) -> ColumnElement[bool]:
    """Say of a column which of its numbers have these digits, whatever marks stand between them."""
    return number.like(f"%{'%'.join(ending)}%")


AT_ONCE: Final = 500  # rows of a transaction: other writers wait for a few milliseconds
REST_S: Final = 0.05  # between two
BY_AGE: Final[Mapping[str, tuple[tuple[Table, str], ...]]] = {
    "calls": ((TURNS, "began_at"), (CALLS, "started_at")),
    "messages": ((MESSAGES, "at"), (CALL_RESULTS, "ended_s"), (CRM_REPORTS, "made_s")),
    "happenings": ((HAPPENINGS, "at"),),
    "failures": ((FAILURES, "at"), (BREAKER_MOVES, "at")),
    "voicemails": ((VOICEMAILS, "at"),),
    "callbacks": ((CALLBACKS, "asked_at"), (CALLBACK_CONTACTS, "made_s")),
    "alerts": ((ALERTS, "ended_s"),),
}
"""By kind: each table, and the column that says how old a row is."""

OF_CALLS: Final = (
    TURNS,
    MESSAGES,
    HAPPENINGS,
    CALL_RESULTS,
)  # what a call leaves that is about its caller

TURNED_ROUND: Final = "livekit"
"""In calls that we placed over it caller and called stood the wrong way round until 2026-11-25."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCall:
    """A call of a number."""

    id: str
    live: bool  # it is still written about
    recording: str
    dial_id: str  # empty: nobody dialled it


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlinked:
    """What became of recordings that were to be deleted."""

    count: int  # how many there were that are gone
    left: Mapping[str, str]  # by path: why the disk did not delete it


class Erasure(Store):
    """Every method raises `StorageError` when it cannot; what was erased by then stays erased."""

    async def erase_old(self, keep_days: Mapping[str, int], *, now: datetime) -> Mapping[str, int]:
        """Erase what is older than its kind is kept; return how many rows of each kind.

        A row whose file the disk does not delete stays, so that it is found again; that is an
        error, too, once all else is erased.
        """
        erased: Counter[str] = Counter()
        left: dict[str, str] = {}
        for kind, days in keep_days.items():
            oldest = now - timedelta(days=days)
            left |= await self._erase_files(kind, oldest)
            for table, name in BY_AGE.get(kind, ()):
                erased[kind] += await self._erase(table, _old(table, name, oldest, left))
        told = CRM_REPORTS.c.done_s < now.timestamp() - KEPT_S
        erased["crm_reports"] += await self._erase(CRM_REPORTS, told)
        await self._erase_sendings()
        if left:
            path, why = next(iter(left.items()))
            raise StorageError(f"{len(left)} files stay, of which the first is {path}: {why}")
        return +erased

    async def calls_of(
        self, ending: str, same: SameNumber, *, ours: bool, settled: datetime
    ) -> Sequence[TracedCall]:
        """Return the calls with a number, of whichever side is not ours.

        Args:
            ending: Its last digits, which every way of writing it has, in this order.
            same: Looks at each number that has them.
            ours: Whether it is one of our own.
            settled: What they cost and came to is written down of those that ended before that.
        """
        placed = CALLS.c.direction == "outbound"
        theirs = or_(
            ~placed & may_be(CALLS.c.caller, ending),
            placed & may_be(CALLS.c.called, ending),
            placed & (CALLS.c.transport == TURNED_ROUND) & may_be(CALLS.c.caller, ending),
        )
        async with reading(self._database) as connection:
            found = await connection.execute(select(CALLS).where(theirs))
        return [
            TracedCall(
                id=row["id"],
                live=row["state"] == "live" or _utc(row["ended_at"] or row["seen_at"]) > settled,
                recording=row["recording"],
                dial_id=row["dial_id"],
            )
            for row in found.mappings()
            if any(map(same, their_numbers(row, ours=ours)))
        ]

    async def voicemails_of(
        self, call_ids: Iterable[str], same: SameNumber
    ) -> Sequence[tuple[str, str]]:
        """Return call and path of the messages that a number has left."""
        own, found = (
            set(call_ids),
            select(VOICEMAILS.c.call_id, VOICEMAILS.c.number, VOICEMAILS.c.path),
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(found)).all()
        return [(row.call_id, row.path) for row in rows if row.call_id in own or same(row.number)]

    async def erase_calls(self, call_ids: Sequence[str]) -> Mapping[str, int]:
        """Erase what calls have left that is about their callers; return how many rows of each."""
        erased: Counter[str] = Counter()
        for part in _parts(call_ids):
            async with writing(self._database) as connection:
                for table in (*OF_CALLS, VOICEMAILS):
                    own = delete(table).where(table.c.call_id.in_(part))
                    erased[table.name] += (await connection.execute(own)).rowcount
                own = delete(CALLS).where(CALLS.c.id.in_(part))
                erased["calls"] += (await connection.execute(own)).rowcount
            await asyncio.sleep(REST_S)
        return erased

    async def erase_voicemails(self, call_ids: Sequence[str]) -> int:
        """Erase messages whose calls are known no more; return how many."""
        count = 0
        for part in _parts(call_ids):
            async with writing(self._database) as connection:
                own = delete(VOICEMAILS).where(VOICEMAILS.c.call_id.in_(part))
                count += (await connection.execute(own)).rowcount
        return count

    async def erase_numbered(
        self, ending: str, same: SameNumber, *, now: float
    ) -> Mapping[str, int]:
        """Erase the rows that are about a number and belong to no call.

        Whom a campaign is calling stays: `count_called` says of how many.
        """
        erased: Counter[str] = Counter()
        for tables in AT_A_TIME:
            async with writing(self._database) as connection:
                erased.update(await erase_rows(connection, tables, ending, same, now=now))
        return erased

    async def count_called(self, ending: str, same: SameNumber, *, besides: Collection[str]) -> int:
        """Return how many contacts were left; but for dials whose calls are counted already."""
        async with reading(self._database) as connection:
            return await count_called(connection, ending, same, besides=besides)

    async def _erase(self, table: Table, old: ColumnElement[bool]) -> int:
        keys = list(table.primary_key)
        some = select(*keys).where(old).limit(AT_ONCE)
        count = 0
        while True:
            async with writing(self._database) as connection:
                rows = (await connection.execute(some)).all()
                these = tuple_(*keys).in_([tuple(row) for row in rows])
                await connection.execute(delete(table).where(these))
            count += len(rows)
            if len(rows) < AT_ONCE:
                return count
            await asyncio.sleep(REST_S)

    async def _erase_files(self, kind: str, oldest: datetime) -> Mapping[str, str]:
        """Delete the files of rows that are about to go, or to lose their recording.

        Returns:
            Those that stay, and why the disk did not delete them.
        """
        recorded = (CALLS.c.started_at < oldest) & (CALLS.c.recording != "")
        match kind:
            case "voicemails":
                found = select(VOICEMAILS.c.path).where(VOICEMAILS.c.at < oldest)
            case "recordings":
                found = select(CALLS.c.recording).where(recorded)
            case _:
                return {}
        async with reading(self._database) as connection:
            paths = list((await connection.execute(found)).scalars())
        left = (await asyncio.to_thread(unlink_all, paths)).left
        if kind == "recordings" and paths:
            async with writing(self._database) as connection:
                gone = recorded & CALLS.c.recording.not_in(left)
                await connection.execute(update(CALLS).where(gone).values(recording=""))
        return left

    async def _erase_sendings(self) -> None:
        gone = ALERT_SENDINGS.c.key.not_in(select(ALERTS.c.key))
        async with writing(self._database) as connection:
            await connection.execute(delete(ALERT_SENDINGS).where(gone))


def their_numbers(call: Mapping[Any, Any], *, ours: bool) -> Sequence[str]:
    """Return by which numbers of a call somebody is meant that we have talked with.

    Args:
        call: `transport`, `direction`, `caller`, `called`.
        ours: Whether a number is looked for that is one of our own.
    """
    caller, called = (str(call.get(name) or "") for name in ("caller", "called"))
    if call.get("direction") != "outbound":
        return (caller,)
    if call.get("transport") != TURNED_ROUND:
        return (called,)
    return () if ours else (called, caller)


def _old(table: Table, name: str, oldest: datetime, left: Collection[str]) -> ColumnElement[bool]:
    """Return which rows go: a call that goes on does not, nor a message whose file is there.

    What a register was told goes at a time of its own: until then it is not told again.
    """
    limit: Any = oldest.timestamp() if name.endswith("_s") else oldest
    old = table.c[name] < limit
    if table is CALLS:
        return old & (CALLS.c.state != "live")
    if table is CRM_REPORTS:
        return old & CRM_REPORTS.c.done_s.is_(None)
    return old & VOICEMAILS.c.path.not_in(left) if table is VOICEMAILS else old


def unlink_all(paths: Iterable[str]) -> Unlinked:
    """Delete recordings with what stands beside them; one that cannot be holds up no other."""
    count, left = 0, dict[str, str]()
    for path in map(Path, paths):
        for item in (path, path.with_suffix(".text.json"), path.with_name(f"{path.name}.part")):
            try:
                item.unlink()
                count += item is path
            except FileNotFoundError:
                pass
            except OSError as error:
                left[str(path)] = error.strerror or type(error).__name__
    return Unlinked(count=count, left=left)


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)  # SQLite keeps no zone


def _parts(call_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(call_ids), AT_ONCE):
        yield call_ids[start : start + AT_ONCE]
