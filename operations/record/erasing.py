"""Erases rows: old ones, a little at a time, and everything about one number.

Files are deleted before their rows, which lead to them: after a crash in between, the next run
finds them.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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

from calls.outbound import MAX_UNFINISHED_DIAL_S
from operations.crm.crm_outbox import ACCEPTED_KEPT_S
from operations.database.database import Database, StorageError
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
    DO_NOT_CALL,
    FAILURES,
    HAPPENINGS,
    MESSAGES,
    ORDERS,
    TURNS,
    VOICEMAILS,
)

SameNumber: TypeAlias = Callable[[str], bool]
"""Compares a number, in any notation, with the wanted one."""

TABLE_GROUPS: Final[Sequence[Sequence[Table]]] = (
    (CALLBACKS,),
    (CALL_RESULTS,),
    (CRM_REPORTS,),
    (ORDERS,),
    # Contacts before dials: a contact whose dial ends in between still counts as remaining.
    (CONTACTS, CONSENTS, CALLBACK_CONTACTS, DIALS),
)
"""The tables, grouped by transaction."""


def _erasable_by_table(now: float) -> Mapping[str, ColumnElement[bool]]:
    """Return by table the condition for rows that belong to no contact being called.

    A contact that is being called stays, with its consent and its dial, until the dial has its
    outcome. Without the contact the dial could not be completed. SQLite might also reuse the
    contact's id, and in the ledger the new contact's first dial would already exist. A dial that
    was not renewed for the longest possible time belongs to a campaign that no longer exists: it is
    never completed.
    """
    settled = DIALS.c.state == "settled"
    abandoned = ~settled & (DIALS.c.lease_until_s < now - MAX_UNFINISHED_DIAL_S)
    # A condition that no dial is active would not do: PostgreSQL does not see one that was claimed
    # just now.
    is_abandoned = exists().where(DIALS.c.contact_id == CONTACTS.c.id, abandoned)
    return {
        CONTACTS.name: (CONTACTS.c.state != "dialling") | is_abandoned,
        CONSENTS.name: ~exists().where(
            CONTACTS.c.campaign == CONSENTS.c.campaign, CONTACTS.c.number == CONSENTS.c.number
        ),
        CALLBACK_CONTACTS.name: ~exists().where(CONTACTS.c.id == CALLBACK_CONTACTS.c.contact_id),
        DIALS.name: settled | abandoned,
    }


async def erase_rows(
    connection: AsyncConnection,
    tables: Sequence[Table],
    ending: str,
    same: SameNumber,
    *,
    now: float,
) -> Mapping[str, int]:
    """Erase a number from tables; return how many rows of each.

    Args:
        connection: In a transaction.
        tables: One of `TABLE_GROUPS`.
        ending: The number's last digits, the same in every notation.
        same: Checks each number that contains them.
        now: In seconds since 1970.
    """
    erasable = _erasable_by_table(now)
    erased: dict[str, int] = {}
    for table in tables:
        found = select(table.c.number).where(contains_digits(table.c.number, ending)).distinct()
        numbers = [number for number in (await connection.execute(found)).scalars() if same(number)]
        conditions = (table.c.number.in_(numbers), erasable.get(table.name, true()))
        erased[table.name] = (await connection.execute(delete(table).where(*conditions))).rowcount
    return erased


async def erase_words(connection: AsyncConnection, ending: str, same: SameNumber) -> int:
    """Erase a number's words from the do-not-call list, where the number stays; return how many."""
    has_words = DO_NOT_CALL.c.words != ""
    found = select(DO_NOT_CALL.c.number).where(
        contains_digits(DO_NOT_CALL.c.number, ending), has_words
    )
    numbers = [number for number in (await connection.execute(found)).scalars() if same(number)]
    statement = update(DO_NOT_CALL).where(DO_NOT_CALL.c.number.in_(numbers)).values(words="")
    return (await connection.execute(statement)).rowcount


async def count_called(
    connection: AsyncConnection, ending: str, same: SameNumber, *, besides: Collection[str]
) -> int:
    """Return how many contacts with a number remain because they are being called.

    Args:
        connection: To read with.
        ending: As in `erase_rows`.
        same: As in `erase_rows`.
        besides: Dials whose calls are already counted.
    """
    contacts = select(CONTACTS.c.id, CONTACTS.c.number)
    dials = select(DIALS.c.contact_id.label("id"), DIALS.c.number, DIALS.c.id.label("dial_id"))
    left = await _rows_of_number(
        connection, contacts.where(contains_digits(CONTACTS.c.number, ending)), same
    )
    called = await _rows_of_number(
        connection, dials.where(contains_digits(DIALS.c.number, ending)), same
    )
    counted = {row.id for row in called if row.dial_id in besides}
    return len({row.id for row in (*left, *called)} - counted)


async def _rows_of_number(
    connection: AsyncConnection, wanted: Executable, same: SameNumber
) -> Sequence[Row[Any]]:
    return [item for item in (await connection.execute(wanted)).all() if same(item.number)]


def contains_digits(number: ColumnElement[str], ending: str) -> ColumnElement[bool]:
    """Return a condition: a column's number contains these digits, with any separators."""
    return number.like(f"%{'%'.join(ending)}%")


AT_ONCE: Final = 500  # rows in one transaction, which delay other writers by a few milliseconds
REST_S: Final = 0.05  # between two transactions
AGE_COLUMNS: Final[Mapping[str, tuple[tuple[Table, str], ...]]] = {
    "calls": ((TURNS, "began_at"), (CALLS, "started_at"), (ORDERS, "at_s")),
    "messages": ((MESSAGES, "at"), (CALL_RESULTS, "ended_s"), (CRM_REPORTS, "made_s")),
    "happenings": ((HAPPENINGS, "at"),),
    "failures": ((FAILURES, "at"), (BREAKER_MOVES, "at")),
    "voicemails": ((VOICEMAILS, "at"),),
    "callbacks": ((CALLBACKS, "asked_at"), (CALLBACK_CONTACTS, "made_s")),
    "alerts": ((ALERTS, "ended_s"),),
}
"""By kind: each table, and the column with a row's age."""

CALLER_TABLES: Final = (TURNS, MESSAGES, HAPPENINGS, CALL_RESULTS)
"""The tables with a call's data about its caller."""

SWAPPED_PARTIES: Final = "livekit"
"""Calls we placed over this transport had caller and called swapped until 2026-11-25."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCall:
    """A call with the wanted number."""

    id: str
    live: bool  # still being written
    recording: str
    dial_id: str  # empty for an inbound call


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlinked:
    """The result of deleting recordings."""

    count: int  # of deleted recordings
    left: Mapping[str, str]  # by path: why it could not be deleted


@dataclass(slots=True)
class Erasure:
    """Erases rows; methods raise `StorageError` on failure, and what is erased stays erased."""

    database: Database

    async def erase_old(self, keep_days: Mapping[str, int], *, now: datetime) -> Mapping[str, int]:
        """Erase rows that are older than their kind is kept; return how many of each kind.

        Also deletes their audio files, CRM reports that were accepted `ACCEPTED_KEPT_S` ago, and
        what was sent about erased alerts. A row whose file cannot be deleted stays for another try.
        Then `StorageError` is raised, after everything else is erased.
        """
        erased: Counter[str] = Counter()
        left: dict[str, str] = {}
        for kind, days in keep_days.items():
            oldest = now - timedelta(days=days)
            left |= await self._erase_files(kind, oldest)
            for table, name in AGE_COLUMNS.get(kind, ()):
                erased[kind] += await self._erase_in_batches(
                    table, _is_old(table, name, oldest, left)
                )
        sent_long_ago = CRM_REPORTS.c.done_s < now.timestamp() - ACCEPTED_KEPT_S
        erased["crm_reports"] += await self._erase_in_batches(CRM_REPORTS, sent_long_ago)
        await self._erase_sendings()
        if left:
            path, why = next(iter(left.items()))
            raise StorageError(f"{len(left)} files cannot be deleted; the first is {path}: {why}")
        return +erased  # drops the zeros

    async def calls_of(
        self, ending: str, same: SameNumber, *, ours: bool, settled: datetime
    ) -> Sequence[TracedCall]:
        """Return the calls whose other party has the wanted number.

        Args:
            ending: The number's last digits, the same in every notation.
            same: Checks each number that contains them.
            ours: Whether the number is one of our own.
            settled: Cost and result of calls that ended before this moment are complete.
        """
        placed = CALLS.c.direction == "outbound"
        matching = or_(
            ~placed & contains_digits(CALLS.c.caller, ending),
            placed & contains_digits(CALLS.c.called, ending),
            placed
            & (CALLS.c.transport == SWAPPED_PARTIES)
            & contains_digits(CALLS.c.caller, ending),
        )
        async with self.database.reading() as connection:
            found = await connection.execute(select(CALLS).where(matching))
        return [
            TracedCall(
                id=row["id"],
                live=row["state"] == "live" or (row["ended_at"] or row["seen_at"]) > settled,
                recording=row["recording"],
                dial_id=row["dial_id"],
            )
            for row in found.mappings()
            if any(map(same, their_numbers(row, ours=ours)))
        ]

    async def voicemails_of(
        self, call_ids: Iterable[str], same: SameNumber
    ) -> Sequence[tuple[str, str]]:
        """Return call id and path of the number's voicemails, and of those in `call_ids`."""
        ids = set(call_ids)
        query = select(VOICEMAILS.c.call_id, VOICEMAILS.c.number, VOICEMAILS.c.path)
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [(row.call_id, row.path) for row in rows if row.call_id in ids or same(row.number)]

    async def erase_calls(self, call_ids: Sequence[str]) -> Mapping[str, int]:
        """Erase the calls' data about their callers; return how many rows of each table.

        Files must be deleted before. Each `AT_ONCE` calls are a transaction of their own.
        """
        erased: Counter[str] = Counter()
        for part in _batches_of_ids(call_ids):
            async with self.database.transaction() as connection:
                for table in (*CALLER_TABLES, VOICEMAILS):
                    statement = delete(table).where(table.c.call_id.in_(part))
                    erased[table.name] += (await connection.execute(statement)).rowcount
                statement = delete(CALLS).where(CALLS.c.id.in_(part))
                erased["calls"] += (await connection.execute(statement)).rowcount
            await asyncio.sleep(REST_S)
        return erased

    async def erase_voicemails(self, call_ids: Sequence[str]) -> int:
        """Erase the voicemails of calls that have no row any more; return how many."""
        count = 0
        for part in _batches_of_ids(call_ids):
            async with self.database.transaction() as connection:
                statement = delete(VOICEMAILS).where(VOICEMAILS.c.call_id.in_(part))
                count += (await connection.execute(statement)).rowcount
        return count

    async def erase_numbered(
        self, ending: str, same: SameNumber, *, now: float
    ) -> Mapping[str, int]:
        """Erase rows about a number that belong to no call.

        Contacts that are being called stay: `count_called` returns how many.
        """
        erased: Counter[str] = Counter()
        for tables in TABLE_GROUPS:
            async with self.database.transaction() as connection:
                erased.update(await erase_rows(connection, tables, ending, same, now=now))
        async with self.database.transaction() as connection:
            erased["do-not-call words"] = await erase_words(connection, ending, same)
        return erased

    async def count_called(self, ending: str, same: SameNumber, *, besides: Collection[str]) -> int:
        """Return how many contacts remain, except for dials whose calls are already counted."""
        async with self.database.reading() as connection:
            return await count_called(connection, ending, same, besides=besides)

    async def _erase_in_batches(self, table: Table, old: ColumnElement[bool]) -> int:
        """Erase rows in small transactions, with pauses for other writers; return how many."""
        keys = list(table.primary_key)
        batch = select(*keys).where(old).limit(AT_ONCE)
        count = 0
        while True:
            async with self.database.transaction() as connection:
                rows = (await connection.execute(batch)).all()
                these = tuple_(*keys).in_([tuple(row) for row in rows])
                await connection.execute(delete(table).where(these))
            count += len(rows)
            if len(rows) < AT_ONCE:
                return count
            await asyncio.sleep(REST_S)

    async def _erase_files(self, kind: str, oldest: datetime) -> Mapping[str, str]:
        """Delete the files of old voicemails or recordings; other kinds have none.

        Calls whose file is deleted, or was missing, have no recording from now on.

        Returns:
            By path, why a file could not be deleted.
        """
        recorded = (CALLS.c.started_at < oldest) & (CALLS.c.recording != "")
        match kind:
            case "voicemails":
                found = select(VOICEMAILS.c.path).where(VOICEMAILS.c.at < oldest)
            case "recordings":
                found = select(CALLS.c.recording).where(recorded)
            case _:
                return {}
        async with self.database.reading() as connection:
            paths = list((await connection.execute(found)).scalars())
        left = (await asyncio.to_thread(unlink_all, paths)).left
        if kind == "recordings" and paths:
            async with self.database.transaction() as connection:
                gone = recorded & CALLS.c.recording.not_in(left)
                await connection.execute(update(CALLS).where(gone).values(recording=""))
        return left

    async def _erase_sendings(self) -> None:
        """Erase what was sent about alerts that are erased."""
        gone = ALERT_SENDINGS.c.key.not_in(select(ALERTS.c.key))
        async with self.database.transaction() as connection:
            await connection.execute(delete(ALERT_SENDINGS).where(gone))


def their_numbers(call: Mapping[Any, Any], *, ours: bool) -> Sequence[str]:
    """Return the numbers in a call that identify the other party.

    Args:
        call: `transport`, `direction`, `caller`, `called`.
        ours: Whether the wanted number is one of our own.
    """
    caller, called = (str(call.get(name) or "") for name in ("caller", "called"))
    if call.get("direction") != "outbound":
        return (caller,)
    if call.get("transport") != SWAPPED_PARTIES:
        return (called,)
    return () if ours else (called, caller)


def _is_old(
    table: Table, name: str, oldest: datetime, left: Collection[str]
) -> ColumnElement[bool]:
    """Return a condition for old rows, except calls in progress and voicemails whose file remains.

    Accepted CRM reports are erased after `ACCEPTED_KEPT_S`: until then they prevent a repeat.
    """
    limit: Any = oldest.timestamp() if name.endswith("_s") else oldest
    old = table.c[name] < limit
    if table is CALLS:
        return old & (CALLS.c.state != "live")
    if table is CRM_REPORTS:
        return old & CRM_REPORTS.c.done_s.is_(None)
    return old & VOICEMAILS.c.path.not_in(left) if table is VOICEMAILS else old


def unlink_all(paths: Iterable[str]) -> Unlinked:
    """Delete recordings or journals, and the files next to them; a failure stops no other.

    Blocks.
    """
    count, left = 0, dict[str, str]()
    for path in map(Path, paths):
        beside = (path.with_suffix(suffix) for suffix in (".text.json", ".summary.json"))
        for item in (path, *beside, path.with_name(f"{path.name}.part")):
            try:
                item.unlink()
                count += item is path  # the files next to it are not counted
            except FileNotFoundError:
                pass
            except OSError as error:
                left[str(path)] = error.strerror or type(error).__name__
    return Unlinked(count=count, left=left)


def _batches_of_ids(call_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(call_ids), AT_ONCE):
        yield call_ids[start : start + AT_ONCE]
