"""Reads what a report needs from the database, and finds the outages; writes nothing."""

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
from operations.hurt_calls import HurtCall, hurt_calls
from operations.notify.alert_outbox import AlertHistory, SentAlert
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
    select_rows,
)


async def _opened_before(database: Database, at: datetime) -> Sequence[BreakerMoveRow]:
    """Return when and how each breaker opened that was not closed at `at`."""
    async with database.reading() as connection:
        return await select_rows(connection, _opening_moves(at), BreakerMoveRow)


def _opening_moves(at: datetime) -> Select[Any]:
    """Select the transition since which each breaker is not closed, for those not closed at `at`.

    That is its first transition after its last closing, or its first one ever. At most `MOST`.
    """
    moves = BREAKER_MOVES.c
    breaker = (moves.stage, moves.provider, moves.holder)
    last = select(*breaker, func.max(moves.at).label("closed_at")).group_by(*breaker)
    closed = last.where(moves.after == State.CLOSED.value, moves.at < at).subquery()
    same = and_(*(item == closed.c[item.name] for item in breaker))
    later = or_(closed.c.closed_at.is_(None), moves.at > closed.c.closed_at)
    first_ids = select(func.min(moves.id)).join_from(BREAKER_MOVES, closed, same, isouter=True)
    first = first_ids.where(moves.at < at, later).group_by(*breaker)
    return select(BREAKER_MOVES).where(moves.id.in_(first)).order_by(moves.at).limit(MOST)


QUIET_FOR: Final = timedelta(minutes=2)  # without failures, all breakers closed: it is over
MIN_COMPARED: Final = timedelta(minutes=5)  # the time compared before and after a short outage
DEAD_AFTER: Final = timedelta(seconds=30)  # without a heartbeat, which is due every 5 s
CLOSED: Final = State.CLOSED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An outage of one rung, from its first failure until all is quiet again (`QUIET_FOR`)."""

    stage: str
    provider: str
    began: datetime
    ended: datetime | None  # the last event; `None` if a breaker was not closed at the end
    failures: Sequence[FailureRow]
    opened: int  # times that a breaker opened, in all processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The delays of answers to callers."""

    turns: int  # all of them
    answered: int
    late: int  # of those, later than the budget
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None


@dataclass(slots=True)
class _RunningOutage:
    """An outage while it is being assembled."""

    began: datetime
    last: datetime
    failures: list[FailureRow] = field(default_factory=list[FailureRow])
    opened: int = 0
    open_in: set[str] = field(default_factory=set[str])  # processes with a breaker not closed

    def includes(self, at: datetime) -> bool:
        """Return whether an event at this moment still belongs to it."""
        return bool(self.open_in) or at - self.last <= QUIET_FOR


def close_for_dead_processes(
    transitions: Sequence[BreakerMoveRow], last_seen: Mapping[str, datetime], until: datetime
) -> Sequence[BreakerMoveRow]:
    """Return the transitions, with a closing added for each breaker of a dead process.

    Without it, the outage would never end. A process that stops normally records the closing
    itself.

    Args:
        transitions: In order of time.
        last_seen: When each process last wrote to the record.
        until: The end of the span.
    """
    latest: dict[tuple[str, str, str], BreakerMoveRow] = {}
    for transition in transitions:
        latest[transition.stage, transition.provider, transition.holder] = transition
    closings = [
        replace(
            transition,
            at=max(transition.at, at),
            before=transition.after,
            after=CLOSED,
            cause=PROCESS_GONE,
        )
        for transition in latest.values()
        if transition.after != CLOSED
        and (at := last_seen.get(transition.holder))
        and until - at > DEAD_AFTER
    ]
    return sorted([*transitions, *closings], key=lambda transition: transition.at)


def find_outages(
    failures: Iterable[FailureRow], transitions: Iterable[BreakerMoveRow], since: datetime
) -> Sequence[Outage]:
    """Return the outages that were not over at `since`, the earliest first.

    `transitions` must close the breakers of dead processes: see `close_for_dead_processes`.
    """
    events: list[FailureRow | BreakerMoveRow] = sorted(
        [*failures, *transitions], key=lambda event: event.at
    )
    found: list[Outage] = []
    current: dict[tuple[str, str], _RunningOutage] = {}
    for event in events:
        rung = (event.stage, event.provider)
        running = current.get(rung)
        if running and not running.includes(event.at):
            found.append(_finished_outage(rung, current.pop(rung)))
            running = None
        if running is None:
            if not _begins_outage(event):
                continue
            running = current[rung] = _RunningOutage(event.at, event.at)
        _add_event(running, event)
    found += [_finished_outage(rung, running) for rung, running in current.items()]
    lasting = [outage for outage in found if outage.ended is None or outage.ended >= since]
    return sorted(lasting, key=lambda outage: (outage.began, outage.stage, outage.provider))


def latency_around(
    outage: Outage, turns: Sequence[TurnRow], until: datetime, *, budget_s: float
) -> dict[str, Latency]:
    """Return the delays of answers before, during and after an outage.

    Before and after cover as long as the outage, at least `MIN_COMPARED`; `after` has no turns if
    it goes on.
    """
    measure = partial(latency_of, budget_s=budget_s)
    ended = outage.ended or until
    compared = max(MIN_COMPARED, ended - outage.began)
    return {
        "before": measure(_turns_between(turns, outage.began - compared, outage.began)),
        "during": measure(_turns_between(turns, outage.began, ended)),
        "after": measure(_turns_between(turns, ended, ended + compared) if outage.ended else []),
    }


def latency_of(turns: Sequence[TurnRow], *, budget_s: float) -> Latency:
    """Return the delays of the answers in these turns; a greeting is not an answer."""
    asked = [turn for turn in turns if turn.turn]
    waits = sorted(turn.v2v_s for turn in asked if turn.v2v_s is not None)
    if not waits:
        return Latency(turns=len(asked), answered=0, late=0)
    return Latency(
        turns=len(asked),
        answered=len(waits),
        late=sum(wait > budget_s for wait in waits),
        p50_s=_nearest_rank(waits, 0.5),
        p95_s=_nearest_rank(waits, 0.95),
        max_s=waits[-1],
    )


def breaker_states(
    transitions: Sequence[BreakerMoveRow],
) -> Mapping[tuple[str, str], Sequence[tuple[datetime, str]]]:
    """Return for each rung when its breaker changed, and to what: the worst of all processes."""
    states_by_process: dict[tuple[str, str], dict[str, str]] = {}
    states: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for transition in transitions:
        rung = (transition.stage, transition.provider)
        process_states = states_by_process.setdefault(rung, {})
        process_states[transition.holder] = transition.after
        worst = max(process_states.values(), key=SEVERITY.index)
        changes = states.setdefault(rung, [])
        if not changes or changes[-1][1] != worst:
            changes.append((transition.at, worst))
    return states


SEVERITY: Final = (State.CLOSED.value, State.HALF_OPEN.value, State.OPEN.value)


def _begins_outage(event: FailureRow | BreakerMoveRow) -> bool:
    return isinstance(event, FailureRow) or event.after != CLOSED


def _add_event(running: _RunningOutage, event: FailureRow | BreakerMoveRow) -> None:
    """Add a failure or a breaker's move to an outage; counts the openings."""
    running.last = event.at
    if isinstance(event, FailureRow):
        running.failures.append(event)
    elif event.after == CLOSED:
        running.open_in.discard(event.holder)
    else:
        running.open_in.add(event.holder)
        running.opened += event.after == State.OPEN.value


def _finished_outage(rung: tuple[str, str], running: _RunningOutage) -> Outage:
    """Return an outage; it has no end while a process still has the breaker open."""
    return Outage(
        stage=rung[0],
        provider=rung[1],
        began=running.began,
        ended=None if running.open_in else running.last,
        failures=running.failures,
        opened=running.opened,
    )


def _turns_between(turns: Sequence[TurnRow], since: datetime, until: datetime) -> list[TurnRow]:
    return [turn for turn in turns if since <= turn.began_at < until]


def _nearest_rank(waits: Sequence[float], share: float) -> float:
    """Return the value that this share of all values does not exceed (nearest rank)."""
    return waits[max(0, math.ceil(share * len(waits)) - 1)]


BEFORE_SPAN: Final = timedelta(minutes=30)  # also read, to compare with and to find open breakers
MAX_ROWS: Final = 200_000  # of one kind; the rest is left out, and the report says so
OPERATOR_EVENTS: Final = ("ConfigurationReloaded", "OperatorActed")  # recorded once for each action

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """Everything that a report needs, the oldest first."""

    since: datetime
    until: datetime
    calls: Sequence[CallRow]  # in progress at some time of the span
    hurt: Sequence[HurtCall]  # of these, those whose callers got no answer
    turns: Sequence[TurnRow]  # also from `BEFORE_SPAN` earlier
    failures: Sequence[FailureRow]
    breaker_moves: Sequence[
        BreakerMoveRow
    ]  # also from `BEFORE_SPAN` earlier, and what was not closed then
    alerts: Sequence[SentAlert]
    operators: Sequence[HappeningRow]  # what operators did
    seen: Mapping[str, datetime]  # when each process last wrote something
    cut: Sequence[str] = ()  # kinds that have more rows than fit


async def gather(url: str, since: datetime, until: datetime) -> ReportInput:
    """Return what happened from one moment to another.

    Raises:
        StorageError: The database does not answer.
    """
    async with Database(url) as database:
        reader, earlier = RecordReader(database), since - BEFORE_SPAN
        calls = await _read_all(reader.calls_between, since - MAX_CALL, until, "started_at", "id")
        turns = await _read_all(reader.turns_between, earlier, until, "began_at", "call_id", "turn")
        failures = await _read_all(reader.failures, since, until, "at", "id")
        transitions = await _read_all(reader.breaker_moves, earlier, until, "at", "id")
        operator_events = partial(reader.happenings, kinds=OPERATOR_EVENTS)
        actions = await _read_all(operator_events, since, until, "at", "id")
        seen = await reader.last_seen()
        before = await _opened_before(database, earlier)
        opened = _by_living_processes(before, transitions, seen, earlier)
        alerts = await AlertHistory(database).between(since.timestamp(), until.timestamp())
        lived = {call.id: call for call in calls if (call.ended_at or call.seen_at) >= since}
        async with database.reading() as connection:
            hurt = await hurt_calls(connection, since - MAX_CALL)
    found = {
        "calls": calls,
        "turns": turns,
        "failures": failures,
        "breaker transitions": transitions,
    }
    return ReportInput(
        since=since,
        until=until,
        calls=list(lived.values()),
        hurt=[call for call in hurt if call.id in lived],
        turns=turns,
        failures=failures,
        breaker_moves=[*opened, *transitions],
        alerts=alerts,
        operators=actions,
        seen=seen,
        cut=[name for name, rows in found.items() if len(rows) >= MAX_ROWS],
    )


def _by_living_processes(
    opened: Sequence[BreakerMoveRow],
    transitions: Sequence[BreakerMoveRow],
    last_seen: Mapping[str, datetime],
    since: datetime,
) -> Sequence[BreakerMoveRow]:
    """Return only the transitions of processes that still lived after `since`."""
    alive = {transition.holder for transition in transitions} | {
        name for name, at in last_seen.items() if at >= since
    }
    return [transition for transition in opened if transition.holder in alive]


async def _read_all(
    read_page: Callable[[datetime, datetime], Awaitable[Sequence[Row]]],
    since: datetime,
    until: datetime,
    moment: str,
    *key: str,
) -> Sequence[Row]:
    """Return all rows of a query with a row limit, page by page; stop at `MAX_ROWS` or more.

    Each page begins at the moment of the last row of the page before, because further rows may have
    the same moment; a page without new rows is the last.

    Args:
        read_page: Returns the first rows between two moments, in order.
        since: The first moment.
        until: The last moment.
        moment: The name of the rows' moment.
        key: The names of the values that identify a row.
    """
    found: dict[tuple[Any, ...], Row] = {}
    while len(found) < MAX_ROWS:
        rows = await read_page(since, until)
        fresh = {tuple(getattr(row, name) for name in key): row for row in rows}
        if fresh.keys() <= found.keys():
            break
        found |= fresh
        since = getattr(rows[-1], moment)
    return list(found.values())
