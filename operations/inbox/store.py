"""The inbox: callers who wait for a callback, and messages that callers left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Column, ColumnElement, Select, Table, func, literal, or_, select, update

from operations.database.database import Database
from operations.database.tables import CALLBACK_CONTACTS, CALLBACKS, CALLS, VOICEMAILS
from operations.masking import mask_number, printable
from operations.moments import for_people
from operations.record.reader import newest_of

InboxKind: TypeAlias = Literal["callback", "message"]
KINDS: Final[Sequence[InboxKind]] = ("callback", "message")
TABLES: Final[dict[InboxKind, Table]] = {"callback": CALLBACKS, "message": VOICEMAILS}

NO_TEXT: Final = {"callback": "No reason was given.", "message": "Not transcribed yet."}

MAX_ENTRIES: Final = 200  # of one result
# No notices of older entries, for example when notices are switched on.
MAX_NOTICE_AGE_S: Final = 24 * 3600.0
MAX_TEXT: Final = 300  # characters of a caller's words in a line
SETTLED_S: Final = 10.0  # the age of an entry to which its caller adds nothing more


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEntry:
    """A callback or a message from one call."""

    kind: InboxKind
    call_id: str
    agent: str  # the call's; empty if the call is not on record
    number: str  # complete; empty for a message of a caller without one
    text: str  # why the caller wants a callback, or the message in words
    at: datetime  # UTC, as is the next
    done_at: datetime | None
    length_s: float | None  # of the recording
    path: str  # of the recording; empty for a callback
    campaign: str  # that calls back; empty if the staff does
    holder: str  # the process that served the call; empty if the call is not on record


@dataclass(frozen=True, slots=True)
class Inbox:
    """Reads and closes the entries; every method raises `StorageError` when the database fails."""

    database: Database

    async def entries(
        self, *, done: bool = False, limit: int = MAX_ENTRIES, before: datetime | None = None
    ) -> Sequence[InboxEntry]:
        """Return entries, the newest first.

        Args:
            done: The entries that are done, instead of those that wait.
            limit: At most this many, and those of the last one's moment.
            before: Only entries from before this moment, UTC.
        """

        def condition(table: Table) -> ColumnElement[bool]:
            state = table.c.done_at.is_not(None) if done else table.c.done_at.is_(None)
            return state if before is None else state & (_time_column(table) < before)

        return await self._read_newest(condition, limit=limit)

    async def waiting(self) -> int:
        """Return the number of waiting entries."""
        counts = [
            select(func.count()).where(table.c.done_at.is_(None)).scalar_subquery()
            for table in TABLES.values()
        ]
        async with self.database.reading() as connection:
            return sum((await connection.execute(select(*counts))).one())

    async def entry(self, kind: InboxKind, call_id: str) -> InboxEntry | None:
        """Return one entry; `None` if there is none."""
        found = await self._read_newest(
            lambda table: table.c.call_id == call_id, limit=1, kinds=[kind]
        )
        return found[0] if found else None

    async def mark(self, kind: InboxKind, call_id: str, *, done_at: datetime | None) -> bool:
        """Mark an entry as done or, without a moment, as waiting again.

        Returns:
            Whether that changed the entry; False if it does not exist.
        """
        table = TABLES[kind]
        is_done, is_waiting = table.c.done_at.is_not(None), table.c.done_at.is_(None)
        in_other_state = is_done if done_at is None else is_waiting
        own = update(table).where(table.c.call_id == call_id, in_other_state)
        async with self.database.transaction() as connection:
            return (await connection.execute(own.values(done_at=done_at))).rowcount > 0

    async def untold(self, *, now: datetime, limit: int) -> Sequence[InboxEntry]:
        """Return recent waiting entries without a notice, the newest first; none of live calls.

        Recent ones are at most `MAX_NOTICE_AGE_S` and at least `SETTLED_S` old.
        """
        newest = now - timedelta(seconds=SETTLED_S)
        oldest = now - timedelta(seconds=MAX_NOTICE_AGE_S)

        def condition(table: Table) -> ColumnElement[bool]:
            has_ended = or_(CALLS.c.state.is_(None), CALLS.c.state != "live")
            is_recent = (_time_column(table) > oldest) & (_time_column(table) <= newest)
            return table.c.told_at.is_(None) & table.c.done_at.is_(None) & has_ended & is_recent

        return await self._read_newest(condition, limit=limit)

    async def mark_told(self, entry: InboxEntry, *, at: datetime) -> None:
        """Record that a notice of an entry was sent."""
        table = TABLES[entry.kind]
        changed = update(table).where(table.c.call_id == entry.call_id).values(told_at=at)
        async with self.database.transaction() as connection:
            await connection.execute(changed)

    async def _read_newest(
        self,
        condition: Callable[[Table], ColumnElement[bool]],
        *,
        limit: int,
        kinds: Sequence[InboxKind] = KINDS,
    ) -> Sequence[InboxEntry]:
        """Return the newest entries of these kinds together, as many as `newest_of` says."""
        found: list[InboxEntry] = []
        async with self.database.reading() as connection:
            for kind in kinds:
                table = TABLES[kind]
                newest = newest_of(
                    _select_entry_fields(kind).where(condition(table)), _time_column(table), limit
                )
                rows = (await connection.execute(newest)).mappings()
                found += (InboxEntry(kind=kind, **row) for row in rows)
        found.sort(key=lambda entry: entry.at, reverse=True)
        last = found[limit - 1].at if len(found) > limit else None
        return [entry for entry in found if last is None or entry.at >= last]


def _select_entry_fields(kind: InboxKind) -> Select[*tuple[Any, ...]]:
    """Select the fields of an `InboxEntry` but `kind`, also if the call is not on record."""
    table = TABLES[kind]
    message = kind == "message"
    campaign = literal("") if message else func.coalesce(CALLBACK_CONTACTS.c.campaign, "")
    joined = table.outerjoin(CALLS, CALLS.c.id == table.c.call_id)
    if not message:
        queued = (CALLBACK_CONTACTS.c.call_id == table.c.call_id) & (
            CALLBACK_CONTACTS.c.contact_id.is_not(None)
        )
        joined = joined.outerjoin(CALLBACK_CONTACTS, queued)
    return select(
        table.c.call_id,
        func.coalesce(CALLS.c.agent, "").label("agent"),
        table.c.number,
        (table.c.transcript if message else table.c.reason).label("text"),
        _time_column(table).label("at"),
        table.c.done_at,
        (table.c.length_s if message else literal(None)).label("length_s"),
        (table.c.path if message else literal("")).label("path"),
        campaign.label("campaign"),
        func.coalesce(CALLS.c.holder, "").label("holder"),
    ).select_from(joined)


def _time_column(table: Table) -> Column[datetime]:
    return table.c.at if table is VOICEMAILS else table.c.asked_at


async def list_entries(url: str, *, done: bool, numbers: bool) -> list[str]:
    """Return the newest entries, about `MAX_ENTRIES`, as lines for people.

    Args:
        url: The database.
        done: The entries that are done, instead of those that wait.
        numbers: Whether to show complete numbers.

    Raises:
        StorageError: The database does not answer.
    """
    async with Database(url) as database:
        found = await Inbox(database).entries(done=done)
    return [_format_entry(entry, numbers=numbers) for entry in found]


async def close_entries(url: str, call_id: str, *, done_at: datetime | None) -> list[str]:
    """Mark what a call left as done or, without a moment, as waiting again.

    Returns:
        A line for each entry that this changed; empty if there was nothing to change.

    Raises:
        StorageError: The database does not answer.
    """
    state = "waits again" if done_at is None else "is done"
    async with Database(url) as database:
        inbox = Inbox(database)
        changed = [kind for kind in KINDS if await inbox.mark(kind, call_id, done_at=done_at)]
    return [f"the {kind} of call {call_id} {state}" for kind in changed]


def _format_entry(entry: InboxEntry, *, numbers: bool) -> str:
    """Return an entry as a line for the terminal; its number is masked unless `numbers`."""
    shown = entry.number if numbers else mask_number(entry.number)
    parts = [
        for_people(entry.at, "%Y-%m-%d %H:%M"),
        entry.kind,
        shown or "number withheld",
        "" if entry.length_s is None else f"{entry.length_s:.0f} s",
        f"campaign {entry.campaign} calls back" if entry.campaign else "",
        printable(entry.text)[:MAX_TEXT] or NO_TEXT[entry.kind],
        f"(call {entry.call_id})",
    ]
    return "  ".join(part for part in parts if part)
