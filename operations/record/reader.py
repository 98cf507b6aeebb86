"""Reads the record: calls and all their data, failures, breakers, costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Select, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.events import CallRecorded
from calls.verdict import CallerVerdict
from operations.database.database import Database
from operations.database.tables import (
    BREAKER_MOVES,
    CALL_RESULTS,
    CALLS,
    FAILURES,
    HAPPENINGS,
    MESSAGES,
    RECORD_WRITERS,
    TURNS,
)

MOST: Final = 10_000  # rows in one result; a busy hour has fewer failures
MAX_CALL: Final = timedelta(hours=4)  # longer calls may be missed


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """A call."""

    id: str
    holder: str
    transport: str
    direction: str
    agent: str
    caller: str
    called: str
    provider_call_id: str
    started_at: datetime
    ended_at: datetime | None
    state: str
    reason: str
    outcome: str
    length_s: float | None
    turns: int
    failovers: int
    failures: int
    cost: float | None
    currency: str
    seen_at: datetime
    recording: str
    verdict: str  # empty if the call was not judged
    why: str
    hurt_at: datetime | None  # when its caller was first hurt

    @property
    def machine(self) -> str:
        """The machine that serves it, and has its recording."""
        return machine_of(self.holder)


def machine_of(holder: str) -> str:
    """Return the machine of a process that records calls: `server.machine`, or its host name."""
    return holder.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """A turn of a call."""

    call_id: str
    turn: int
    began_at: datetime
    v2v_s: float | None
    parts: Mapping[str, float]
    stt: str
    llm: str
    tts: str
    prompt_tokens: int
    completion_tokens: int
    characters: int
    cost: float | None
    interrupted: bool
    verdict: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message of one side."""

    id: int
    call_id: str
    turn: int
    role: str
    text: str
    at: datetime
    spans: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HappeningRow:
    """An event in the timeline."""

    id: int
    call_id: str
    number: int
    at: datetime
    kind: str
    stage: str
    provider: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """A provider's failure."""

    id: int
    call_id: str
    turn: int | None
    at: datetime
    stage: str
    provider: str
    kind: str
    scope: str
    severity: str
    attempt: int
    permanent: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerMoveRow:
    """A breaker's change of state, in one process."""

    id: int
    call_id: str
    at: datetime
    holder: str
    stage: str
    provider: str
    before: str
    after: str
    cause: str
    after_s: float
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResultRow:
    """The result of a call."""

    campaign: str
    outcome: str
    summary: str
    callback_at_s: float | None
    notes: str
    made_by: str
    why: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPage:
    """All data about one call."""

    call: CallRow
    turns: Sequence[TurnRow]
    messages: Sequence[MessageRow]
    failures: Sequence[FailureRow]
    breaker_moves: Sequence[BreakerMoveRow]
    happenings: Sequence[HappeningRow]
    result: CallResultRow | None = None  # `None` if there is no result

    @property
    def recordings(self) -> Sequence[tuple[str, str]]:
        """The path and the machine of each file: each process that had the call writes one."""
        if not self.call.recording:
            return ()
        told = [item.data for item in self.happenings if item.kind == CallRecorded.__name__]
        files = {str(data["path"]): str(data.get("machine", "")) for data in told}
        files[self.call.recording] = files.get(self.call.recording) or self.call.machine
        return tuple(files.items())


Row = TypeVar("Row")


@dataclass(slots=True)
class RecordReader:
    """The record; methods raise `StorageError` when the database does not answer.

    Of the rows between two moments, only the first `MOST` are returned; read on from the last one.
    """

    database: Database

    async def calls(
        self, *, limit: int = 50, before: datetime | None = None, live: bool | None = None
    ) -> Sequence[CallRow]:
        """Return calls, the newest first.

        Args:
            limit: At most this many, and those that began at the same time as the last one.
            before: Only calls that began earlier, for the next page; `None` for the newest.
            live: Only calls in progress, or only ended ones; `None` for both.
        """
        query = select(CALLS)
        if before is not None:
            query = query.where(CALLS.c.started_at < before)
        if live is not None:
            query = query.where((CALLS.c.state == "live") if live else (CALLS.c.state != "live"))
        newest = newest_of(query, CALLS.c.started_at, limit).order_by(CALLS.c.id)
        async with self.database.reading() as connection:
            return await select_rows(connection, newest, CallRow)

    async def call(self, call_id: str) -> CallPage | None:
        """Return a call with all its data; `None` if it does not exist."""
        async with self.database.reading() as connection:
            found = await select_rows(
                connection, select(CALLS).where(CALLS.c.id == call_id), CallRow
            )
            if not found:
                return None
            return CallPage(
                call=found[0],
                turns=await select_rows(
                    connection, _select_of_call(TURNS, call_id, "turn"), TurnRow
                ),
                messages=await select_rows(
                    connection, _select_of_call(MESSAGES, call_id), MessageRow
                ),
                failures=await select_rows(
                    connection, _select_of_call(FAILURES, call_id), FailureRow
                ),
                breaker_moves=await select_rows(
                    connection, _select_of_call(BREAKER_MOVES, call_id), BreakerMoveRow
                ),
                happenings=await select_rows(
                    connection, _select_of_call(HAPPENINGS, call_id), HappeningRow
                ),
                result=next(
                    iter(await select_rows(connection, _result_of(call_id), CallResultRow)), None
                ),
            )

    async def failures(self, since: datetime, until: datetime) -> Sequence[FailureRow]:
        """Return providers' failures from one moment to another, the oldest first."""
        async with self.database.reading() as connection:
            return await select_rows(
                connection, _select_between(FAILURES, "at", since, until), FailureRow
            )

    async def breaker_moves(self, since: datetime, until: datetime) -> Sequence[BreakerMoveRow]:
        """Return breakers' transitions from one moment to another, the oldest first."""
        async with self.database.reading() as connection:
            query = _select_between(BREAKER_MOVES, "at", since, until)
            return await select_rows(connection, query, BreakerMoveRow)

    async def happenings(
        self, since: datetime, until: datetime, *, kinds: Sequence[str] = ()
    ) -> Sequence[HappeningRow]:
        """Return the timeline between two moments, the oldest first; all kinds by default."""
        query = _select_between(HAPPENINGS, "at", since, until)
        if kinds:  # a busy installation has two million events a day
            query = query.where(HAPPENINGS.c.kind.in_(kinds))
        async with self.database.reading() as connection:
            return await select_rows(connection, query, HappeningRow)

    async def calls_between(self, since: datetime, until: datetime) -> Sequence[CallRow]:
        """Return the calls that began between two moments, the oldest first."""
        async with self.database.reading() as connection:
            return await select_rows(
                connection, _select_between(CALLS, "started_at", since, until), CallRow
            )

    async def turns_between(self, since: datetime, until: datetime) -> Sequence[TurnRow]:
        """Return the turns that began between two moments, the oldest first."""
        async with self.database.reading() as connection:
            return await select_rows(
                connection, _select_between(TURNS, "began_at", since, until), TurnRow
            )

    async def cost_since(self, at: datetime) -> float:
        """Return the cost of the calls that began since `at`, as far as prices are known."""
        query = select(func.coalesce(func.sum(CALLS.c.cost), 0.0)).where(CALLS.c.started_at >= at)
        async with self.database.reading() as connection:
            return float((await connection.execute(query)).scalar_one())

    async def figures_since(self, at: datetime) -> Mapping[str, int]:
        """Return how many calls since `at` have each verdict, and the sum of their `failovers`.

        Calls that were in progress at `at` count, too, unless they began over `MAX_CALL` before it.
        """
        lasted = (CALLS.c.state == "live") | (CALLS.c.ended_at >= at)
        query = (
            select(CALLS.c.verdict, func.count(), func.sum(CALLS.c.failovers))
            .where(CALLS.c.started_at >= at - MAX_CALL, lasted)
            .group_by(CALLS.c.verdict)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).all()
        found = {verdict: count for verdict, count, _ in rows}
        figures = {verdict.value: found.get(verdict.value, 0) for verdict in CallerVerdict}
        return figures | {"failovers": int(sum(failovers for *_, failovers in rows))}

    async def last_seen(self) -> Mapping[str, datetime]:
        """Return when each process last wrote; processes that ended long ago are missing."""
        query = select(RECORD_WRITERS.c.holder, RECORD_WRITERS.c.seen_at)
        async with self.database.reading() as connection:
            return {row.holder: row.seen_at for row in await connection.execute(query)}


def _select_of_call(table: Table, call_id: str, order: str = "id") -> Select[Any]:
    return select(table).where(table.c.call_id == call_id).order_by(table.c[order])


def _result_of(call_id: str) -> Select[Any]:
    return select(CALL_RESULTS).where(CALL_RESULTS.c.call_id == call_id)


def _select_between(table: Table, name: str, since: datetime, until: datetime) -> Select[Any]:
    at = table.c[name]
    return select(table).where(at >= since, at < until).order_by(at).limit(MOST)


def newest_of(query: Select[Any], at: Column[datetime], limit: int) -> Select[Any]:
    """Return `limit` rows of a query, the newest first, and all of the same moment as the last one.

    So the rows from before that moment are exactly those that this page does not have.
    """
    newest = query.order_by(at.desc())
    last = newest.with_only_columns(at).offset(limit - 1).limit(1).correlate(None).scalar_subquery()
    return newest.where(last.is_(None) | (at >= last))


async def select_rows(
    connection: AsyncConnection, query: Select[Any], kind: type[Row]
) -> Sequence[Row]:
    """Run a query; return its rows as instances of `kind`, which has a field for each column."""
    names = [field_.name for field_ in fields(kind)]  # type: ignore[arg-type]
    found = (await connection.execute(query)).mappings()
    return [kind(**{name: row[name] for name in names}) for row in found]
