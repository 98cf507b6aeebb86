"""Reads a span of time from the database; writes nothing there."""

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Select, and_, func, or_, select

from fallbacks.breaker import State
from operations.database.database import Database
from operations.database.tables import BREAKER_MOVES
from operations.notify.outbox import AlertHistory, SentAlert
from operations.record.fold_rules import PROCESS_GONE
from operations.record.reader import (
    MAX_CALL,
    MOST,
    BreakerMoveRow,
    CallRow,
    FailureRow,
    HappeningRow,
    RecordReader,
    TurnRow,
    ask,
)


async def _opened_before(database: Database, at: datetime) -> Sequence[BreakerMoveRow]:
    """Return, for each breaker that was not closed at a moment, how it left that state."""
    async with database.reading() as connection:
        return await ask(connection, _opening_moves(at), BreakerMoveRow)


def _opening_moves(at: datetime) -> Select[Any]:
    """Select each breaker's first move after its last closing, before a moment."""
    moves = BREAKER_MOVES.c
    breaker = (moves.stage, moves.provider, moves.holder)
    last = select(*breaker, func.max(moves.at).label("closed_at")).group_by(*breaker)
    closed = last.where(moves.after == State.CLOSED.value, moves.at < at).subquery()
    same = and_(*(item == closed.c[item.name] for item in breaker))
    later = or_(closed.c.closed_at.is_(None), moves.at > closed.c.closed_at)
    behind = select(func.min(moves.id)).join_from(BREAKER_MOVES, closed, same, isouter=True)
    first = behind.where(moves.at < at, later).group_by(*breaker)
    return select(BREAKER_MOVES).where(moves.id.in_(first)).order_by(moves.at).limit(MOST)


QUIET: Final = timedelta(minutes=2)  # without a failure, with all breakers closed: it is over
BESIDE: Final = timedelta(minutes=5)  # at least this much is compared before and after
# Without a sign of life: a process with an open breaker gives one every five seconds.
GONE: Final = timedelta(seconds=30)
CLOSED: Final = State.CLOSED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A rung's trouble, from its first failure until everything is quiet again."""

    stage: str
    provider: str
    began: datetime
    ended: datetime | None  # `None` if a breaker was not closed at the end of the span
    failures: Sequence[FailureRow]
    opened: int  # times that a breaker opened, in all processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The delays of the answers."""

    turns: int  # all of them
    answered: int
    late: int  # of those, later than the budget
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None


@dataclass(slots=True)
class _Trouble:
    """A rung's outage while it is being assembled."""

    began: datetime
    last: datetime
    failures: list[FailureRow] = field(default_factory=list[FailureRow])
    opened: int = 0
    open_at: set[str] = field(default_factory=set[str])  # the processes

    def goes_on(self, at: datetime) -> bool:
        """Return whether an event at this moment belongs to it."""
        return bool(self.open_at) or at - self.last <= QUIET


def with_ends(
    moves: Sequence[BreakerMoveRow], seen: Mapping[str, datetime], until: datetime
) -> Sequence[BreakerMoveRow]:
    """Return moves, with an end added for each process that died while its breaker was open.

    A process that is replaced writes that end itself.
    """
    last: dict[tuple[str, str, str], BreakerMoveRow] = {}
    for move in moves:
        last[move.stage, move.provider, move.holder] = move
    ends = [
        replace(move, at=max(move.at, at), before=move.after, after=CLOSED, cause=PROCESS_GONE)
        for move in last.values()
        if move.after != CLOSED and (at := seen.get(move.holder)) and until - at > GONE
    ]
    return sorted([*moves, *ends], key=lambda move: move.at)


def find_outages(
    failures: Iterable[FailureRow], moves: Iterable[BreakerMoveRow], since: datetime
) -> Sequence[Outage]:
    """Return every outage of the span, the earliest first; earlier ones are left out.

    Stopped processes have an end: see `with_ends`.
    """
    news: list[FailureRow | BreakerMoveRow] = sorted(
        [*failures, *moves], key=lambda event: event.at
    )
    found: list[Outage] = []
    now: dict[tuple[str, str], _Trouble] = {}
    for event in news:
        rung = (event.stage, event.provider)
        trouble = now.get(rung)
        if trouble and not trouble.goes_on(event.at):
            found.append(_outage(rung, now.pop(rung)))
            trouble = None
        if trouble is None:
            if not _begins(event):
                continue
            trouble = now[rung] = _Trouble(event.at, event.at)
        _enter(trouble, event)
    found += [_outage(rung, trouble) for rung, trouble in now.items()]
    lasting = [outage for outage in found if outage.ended is None or outage.ended >= since]
    return sorted(lasting, key=lambda outage: (outage.began, outage.stage, outage.provider))


def latency_beside(
    outage: Outage, turns: Sequence[TurnRow], until: datetime, *, budget_s: float
) -> dict[str, Latency]:
    """Return the delays of answers before, during and after an outage."""
    of = partial(latency_of, budget_s=budget_s)
    ended = outage.ended or until
    beside = max(BESIDE, ended - outage.began)
    return {
        "before": of(_began(turns, outage.began - beside, outage.began)),
        "during": of(_began(turns, outage.began, ended)),
        "after": of(_began(turns, ended, ended + beside) if outage.ended else []),
    }


def latency_of(turns: Sequence[TurnRow], *, budget_s: float) -> Latency:
    """Return the delays of these turns' answers; a greeting is no answer."""
    asked = [turn for turn in turns if turn.turn]
    waits = sorted(turn.v2v_s for turn in asked if turn.v2v_s is not None)
    if not waits:
        return Latency(turns=len(asked), answered=0, late=0)
    return Latency(
        turns=len(asked),
        answered=len(waits),
        late=sum(wait > budget_s for wait in waits),
        p50_s=_rank(waits, 0.5),
        p95_s=_rank(waits, 0.95),
        max_s=waits[-1],
    )


def breaker_states(
    moves: Sequence[BreakerMoveRow],
) -> Mapping[tuple[str, str], Sequence[tuple[datetime, str]]]:
    """Return each rung's breaker states with their starts, the worst of all processes."""
    holders: dict[tuple[str, str], dict[str, str]] = {}
    states: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for move in moves:
        rung = (move.stage, move.provider)
        known = holders.setdefault(rung, {})
        known[move.holder] = move.after
        worst = max(known.values(), key=SEVERITY.index)
        told = states.setdefault(rung, [])
        if not told or told[-1][1] != worst:
            told.append((move.at, worst))
    return states


SEVERITY: Final = (State.CLOSED.value, State.HALF_OPEN.value, State.OPEN.value)


def _begins(news: FailureRow | BreakerMoveRow) -> bool:
    return isinstance(news, FailureRow) or news.after != CLOSED


def _enter(trouble: _Trouble, news: FailureRow | BreakerMoveRow) -> None:
    trouble.last = news.at
    if isinstance(news, FailureRow):
        trouble.failures.append(news)
    elif news.after == CLOSED:
        trouble.open_at.discard(news.holder)
    else:
        trouble.open_at.add(news.holder)
        trouble.opened += news.after == State.OPEN.value


def _outage(rung: tuple[str, str], trouble: _Trouble) -> Outage:
    return Outage(
        stage=rung[0],
        provider=rung[1],
        began=trouble.began,
        ended=None if trouble.open_at else trouble.last,
        failures=trouble.failures,
        opened=trouble.opened,
    )


def _began(turns: Sequence[TurnRow], since: datetime, until: datetime) -> list[TurnRow]:
    return [turn for turn in turns if since <= turn.began_at < until]


def _rank(waits: Sequence[float], share: float) -> float:
    """Return the value that this share of all does not exceed (nearest rank)."""
    return waits[max(0, math.ceil(share * len(waits)) - 1)]


BEFORE: Final = timedelta(minutes=30)  # the time before the first failure of the span
MAX_ROWS: Final = 200_000  # of one kind; the rest is left out, and the report says so
OPERATORS: Final = ("ConfigurationReloaded", "OperatorActed")  # each is reported once

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything that a report needs, the oldest first."""

    since: datetime
    until: datetime
    calls: Sequence[CallRow]  # in progress at some time of the span
    turns: Sequence[TurnRow]  # from `BEFORE` the span on
    failures: Sequence[FailureRow]
    breaker_moves: Sequence[BreakerMoveRow]  # from `BEFORE` the span on, with their first states
    alerts: Sequence[SentAlert]
    operators: Sequence[HappeningRow]  # their actions
    seen: Mapping[str, datetime]  # when each process last wrote something
    cut: Sequence[str] = ()  # kinds that have more rows than fit


async def gather(url: str, since: datetime, until: datetime) -> Gathered:
    """Return what happened from one moment to another.

    Raises:
        StorageError: The database does not answer.
    """
    async with Database(url) as database:
        reader, earlier = RecordReader(database), since - BEFORE
        calls = await _all(reader.calls_between, since - MAX_CALL, until, "started_at", "id")
        turns = await _all(reader.turns_between, earlier, until, "began_at", "call_id", "turn")
        failures = await _all(reader.failures, since, until, "at", "id")
        moves = await _all(reader.breaker_moves, earlier, until, "at", "id")
        theirs = partial(reader.happenings, kinds=OPERATORS)
        done = await _all(theirs, since, until, "at", "id")
        seen = await reader.last_seen()
        opened = _of_the_span(await _opened_before(database, earlier), moves, seen, earlier)
        alerts = await AlertHistory(database).between(since.timestamp(), until.timestamp())
    found = {"calls": calls, "turns": turns, "failures": failures, "breaker moves": moves}
    return Gathered(
        since=since,
        until=until,
        calls=[call for call in calls if (call.ended_at or call.seen_at) >= since],
        turns=turns,
        failures=failures,
        breaker_moves=[*opened, *moves],
        alerts=alerts,
        operators=done,
        seen=seen,
        cut=[name for name, rows in found.items() if len(rows) >= MAX_ROWS],
    )


def _of_the_span(
    opened: Sequence[BreakerMoveRow],
    moves: Sequence[BreakerMoveRow],
    seen: Mapping[str, datetime],
    since: datetime,
) -> Sequence[BreakerMoveRow]:
    """Return the moves of processes that were still there: one that ended open never closes."""
    there = {move.holder for move in moves} | {name for name, at in seen.items() if at >= since}
    return [breaker_move_row for breaker_move_row in opened if breaker_move_row.holder in there]


async def _all(
    ask: Callable[[datetime, datetime], Awaitable[Sequence[Row]]],
    since: datetime,
    until: datetime,
    moment: str,
    *key: str,
) -> Sequence[Row]:
    """Return all rows of a query with a row limit, page by page."""
    found: dict[tuple[Any, ...], Row] = {}
    while len(found) < MAX_ROWS:
        rows = await ask(since, until)
        fresh = {tuple(getattr(row, name) for name in key): row for row in rows}
        if fresh.keys() <= found.keys():
            break
        found |= fresh
        since = getattr(rows[-1], moment)  # which may have more rows than this page
    return list(found.values())
