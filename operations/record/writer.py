"""Writes the record: a batch is one transaction, and a repeated batch is written once.

If the database does not answer, it is not known whether it wrote a batch. So each process numbers
its batches, and stores the number with them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.known_calls import MAX_LIVE
from calls.resume import RESUMABLE_S
from calls.state import SAID_KEPT
from calls.verdict import CallerVerdict, severity_of
from operations.database.database import Database
from operations.database.storable import storable
from operations.database.tables import (
    BREAKER_MOVES,
    CALLBACKS,
    CALLS,
    FAILURES,
    HAPPENINGS,
    MESSAGES,
    RECORD_WRITERS,
    TURNS,
    VOICEMAILS,
    UtcDateTime,
)
from operations.record.fold_rules import ENDED_CALLS, RecordBatch, RecordRow, plus

# A call without a heartbeat for this long counts as cut: it can no longer be resumed
# (`RESUMABLE_S`), and three more heartbeats are missing.
CUT_S: Final = RESUMABLE_S + 15.0
FORGOTTEN_S: Final = 86_400.0  # a process that is silent for a day repeats no batch
MAX_EARLIER: Final = MAX_LIVE + ENDED_CALLS  # rows of calls; no others are written any more
APPENDED_TABLES: Final = (
    (MESSAGES, "messages"),
    (HAPPENINGS, "happenings"),
    (FAILURES, "failures"),
    (BREAKER_MOVES, "breaker_moves"),
)
INTERRUPTED: Final = {
    "state": "interrupted",
    "reason": "interrupted",
    "verdict": CallerVerdict.LOST.value,
    "why": "process_lost",
}
SUMMED_COLUMNS: Final = ("failovers", "failures", "cost")
LATE_COLUMNS: Final = ("outcome", "recording", "provider_call_id")  # no empty value overwrites them


class RecordWriter:
    """Writes the batches of one process; methods raise `StorageError` on failure."""

    def __init__(self, database: Database, *, holder: str) -> None:
        """Write to this database, as `holder`: the name of this process."""
        self.database = database
        self._holder = holder
        self._number_batch = self._number_statement()
        self._statements: dict[Table, Any] = {}  # by table, whose rows always have the same columns
        self._earlier: dict[str, RecordRow] = {}  # the calls' rows from other processes

    async def write(self, batch: RecordBatch, *, number: int, now: datetime) -> None:
        """Write a batch, unless it is already written.

        Args:
            batch: The rows.
            number: Increases with each batch; the same for a repeat.
            now: UTC; stored as the last heartbeat of the batch's calls.
        """

        def work(connection: Connection) -> None:
            if self._store_number(connection, number, now):
                self._write_rows(connection, batch, now)

        await self.database.transact(work)

    @property
    def lost_files(self) -> int:
        """How often the database's file was deleted or replaced while it was open."""
        return self.database.lost_files

    async def reach(self) -> None:
        """Run a query, to find out whether the database answers."""
        async with self.database.reading() as connection:
            await connection.execute(select(1))

    async def shared_moment(self, here: datetime) -> datetime:
        """Return the time on the clock of a database server, which machines share; else `here`."""
        if self.database.url.get_backend_name() == "sqlite":
            return here
        async with self.database.reading() as connection:
            return (await connection.execute(select(func.clock_timestamp()))).scalar_one()

    async def interrupt_cut(self, now: datetime) -> Sequence[RecordRow]:
        """Mark calls without a heartbeat for `CUT_S` as interrupted and lost; return their rows.

        The rows also have what the caller said last, and a wish to be called back. Batch numbers of
        processes that are silent for `FORGOTTEN_S` are deleted.

        If several processes check at once, each gets only the calls that it marked itself. If a
        process was only slow, its next heartbeat undoes the mark.
        """
        cut = (CALLS.c.state == "live") & (CALLS.c.seen_at < now - timedelta(seconds=CUT_S))
        old = RECORD_WRITERS.c.seen_at < now - timedelta(seconds=FORGOTTEN_S)
        marked: list[RecordRow] = []
        async with self.database.transaction(tries=1) as connection:
            rows = (await connection.execute(select(CALLS).where(cut))).mappings().all()
            for row in rows:
                seen_at = row["seen_at"]
                length_s = max(0.0, (seen_at - row["started_at"]).total_seconds())
                values = {**INTERRUPTED, "ended_at": seen_at, "length_s": length_s}
                values["hurt_at"] = row["hurt_at"] or seen_at
                statement = update(CALLS).where(CALLS.c.id == row["id"], cut)
                if (await connection.execute(statement.values(**values))).rowcount:
                    wishes = await _caller_wishes(connection, row["id"])
                    marked.append({**row, **values, **wishes})
            await connection.execute(delete(RECORD_WRITERS).where(old))
        return marked

    def _store_number(self, connection: Connection, number: int, now: datetime) -> bool:
        """Record the batch's number; return False if the batch is already written."""
        numbered = {"holder": self._holder, "batch": number, "seen_at": now}
        return connection.execute(self._number_batch, numbered).rowcount > 0

    def _number_statement(self) -> Any:
        """Return a statement that stores this process's batch number, unless it is older."""
        added = self.database.insert(RECORD_WRITERS)
        return added.on_conflict_do_update(
            index_elements=["holder"],
            set_={"batch": added.excluded.batch, "seen_at": added.excluded.seen_at},
            where=RECORD_WRITERS.c.batch < added.excluded.batch,
        )

    def _write_rows(self, connection: Connection, batch: RecordBatch, now: datetime) -> None:
        """Write a batch's rows; first make the calls that it took over from other processes ours.

        The `calls` row of one that another process has taken over meanwhile does not change.
        """
        self._earlier |= _read_earlier(connection, batch.taken_over, except_holder=self._holder)
        if batch.taken_over:
            taken = CALLS.c.id.in_(batch.taken_over)
            connection.execute(update(CALLS).where(taken).values(holder=self._holder))
        calls = [
            {**_merge_with_earlier(row, self._earlier.get(row["id"])), "seen_at": now}
            for row in batch.calls
        ]
        _drop_unused(self._earlier, used=[row["id"] for row in calls])
        self._replace_rows(connection, CALLS, calls, keep=LATE_COLUMNS)
        self._replace_rows(connection, TURNS, batch.turns)
        self._replace_rows(connection, VOICEMAILS, batch.voicemails, by=("call_id",))
        for table, name in APPENDED_TABLES:
            rows = as_rows(table, getattr(batch, name))
            if rows:
                connection.execute(insert(table), rows)
        for call_ref, outcome in batch.outcomes.items():
            statement = update(CALLS).where(CALLS.c.provider_call_id == call_ref)
            connection.execute(statement.values(outcome=outcome))
        if batch.live:
            connection.execute(self._heartbeat_statement(batch.live, now))

    def _heartbeat_statement(self, live: Iterable[str], now: datetime) -> Any:
        """Return what renews our live calls, and undoes a wrong mark as interrupted."""
        own_calls = (CALLS.c.holder == self._holder) & CALLS.c.id.in_(sorted(live))
        alive = {"seen_at": now, "ended_at": None, "length_s": None}
        alive |= {"state": "live", "reason": ""}
        marked = CALLS.c.state == INTERRUPTED["state"]  # its next change restores the verdict
        alive |= {
            name: case((marked, empty), else_=CALLS.c[name])
            for name, empty in (("verdict", ""), ("why", ""), ("hurt_at", None))
        }
        return update(CALLS).where(own_calls).values(alive)

    def _replace_rows(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[RecordRow],
        *,
        by: Sequence[str] = (),
        keep: Sequence[str] = (),
    ) -> None:
        """Replace rows; an empty value does not overwrite one in the `keep` columns.

        A table must always get the same columns, `by` and `keep`: its statement is kept.
        """
        if rows:
            statement = self._statements.get(table)
            if statement is None:
                statement = self._replace_statement(table, names=rows[0], by=by, keep=keep)
                self._statements[table] = statement  # building it takes as long as writing a batch
            connection.execute(statement, as_rows(table, rows))

    def _replace_statement(
        self, table: Table, *, names: Iterable[str], by: Sequence[str], keep: Sequence[str]
    ) -> Any:
        """Return a statement that inserts a row or replaces the one with the same keys.

        Columns in `keep` are not replaced by empty text.
        """
        keys = by or [item.name for item in table.primary_key]
        added = self.database.insert(table)
        new = {name: added.excluded[name] for name in names if name not in keys}
        for name in keep:
            new[name] = case((added.excluded[name] == "", table.c[name]), else_=new[name])
        # A process whose call another one has taken over does not get the row back.
        ours = table.c.holder == added.excluded.holder if table is CALLS else None
        return added.on_conflict_do_update(index_elements=list(keys), set_=new, where=ours)


async def _caller_wishes(connection: AsyncConnection, call_id: str) -> RecordRow:
    """Return the caller's last words (`said`), and the reason for calling back (`callback`)."""
    by_caller = (MESSAGES.c.call_id == call_id) & (MESSAGES.c.role == "caller")
    last = select(MESSAGES.c.text).where(by_caller).order_by(MESSAGES.c.id.desc()).limit(SAID_KEPT)
    said = (await connection.execute(last)).scalars().all()
    wish = select(CALLBACKS.c.reason).where(CALLBACKS.c.call_id == call_id)
    callback = (await connection.execute(wish)).scalar_one_or_none()
    return {"said": tuple(reversed(said)), "callback": callback}


def _read_earlier(
    connection: Connection, call_ids: Sequence[str], *, except_holder: str
) -> Mapping[str, RecordRow]:
    """Return the calls' rows that processes other than `except_holder` wrote."""
    if not call_ids:
        return {}
    found = select(CALLS).where(CALLS.c.id.in_(call_ids), CALLS.c.holder != except_holder)
    return {row["id"]: dict(row) for row in connection.execute(found).mappings()}


def _drop_unused(rows: dict[str, RecordRow], *, used: Iterable[str]) -> None:
    """Drop the rows that were used least recently, above `MAX_EARLIER`."""
    for call_id in used:
        if call_id in rows:
            rows[call_id] = rows.pop(call_id)
    while len(rows) > MAX_EARLIER:
        del rows[next(iter(rows))]


def _merge_with_earlier(row: RecordRow, before: RecordRow | None) -> RecordRow:
    """Return a call's row merged with that of the process that had the call before, if any."""
    if before is None:
        return row
    sums = {name: plus(row[name], before[name]) for name in SUMMED_COLUMNS}
    worst = max(row, before, key=lambda part: severity_of(part["verdict"]))
    hurt_at = before["hurt_at"] or row["hurt_at"]
    return {**row, **sums, "verdict": worst["verdict"], "why": worst["why"], "hurt_at": hurt_at}


def as_rows(table: Table, rows: Iterable[RecordRow]) -> list[RecordRow]:
    """Return rows with values that the columns accept: moments, lengths, valid characters."""
    columns = conversions_of(table)
    return [{name: columns[name](value) for name, value in row.items()} for row in rows]


@cache
def conversions_of(table: Table) -> Mapping[str, Callable[[Any], Any]]:
    """Return the conversions that make values fit, by column."""
    return {column.name: _conversion_for_column(column) for column in table.columns}


def _conversion_for_column(column: Column[Any]) -> Callable[[Any], Any]:
    """Return what makes values fit a column: it cuts texts; NaN and infinity become `None`."""
    if isinstance(column.type, UtcDateTime):
        return _moment_from_text
    if isinstance(column.type, JSON):
        return _storable_json
    if isinstance(column.type, String):
        length = column.type.length
        return lambda text: storable(str(text))[:length]
    return lambda value: value if not isinstance(value, float) or math.isfinite(value) else None


def _moment_from_text(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _storable_json(value: Any) -> Any:
    """Return a value that any database accepts as JSON; NaN and the like become `None`."""
    match value:
        case str():
            return storable(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {storable(str(name)): _storable_json(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_storable_json(item) for item in value]
        case _:
            return value
