"""Reads what there is of a span of time from the database; writes nothing there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from operations.notify.alert_history import AlertHistory, SentAlert
from operations.postmortem.opened_breakers import OpenedBreakers
from operations.record.reader import (
    BreakerMoveRow,
    CallRow,
    FailureRow,
    HappeningRow,
    RecordReader,
    TurnRow,
)

BEFORE: Final = timedelta(minutes=30)  # how things were before the first failure of the span
LONGEST_CALL: Final = timedelta(hours=4)  # a call that began earlier is missed
MOST_ROWS: Final = 200_000  # of one kind; what is more is left out, and that is said
OPERATORS: Final = ("ConfigurationReloaded", "OperatorActed")  # each is told once

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All that a report is made of, the oldest first."""

    since: datetime
    until: datetime
    calls: Sequence[CallRow]  # that were in progress at some time of the span
    turns: Sequence[TurnRow]  # from `BEFORE` the span on
    failures: Sequence[FailureRow]
    breaker_moves: Sequence[BreakerMoveRow]  # from `BEFORE` the span on, and how they began
    alerts: Sequence[SentAlert]
    operators: Sequence[HappeningRow]  # what they did
    seen: Mapping[str, datetime]  # when each process last wrote something
    cut: Sequence[str] = ()  # kinds of which there is more than can be told


async def gather(url: str, since: datetime, until: datetime) -> Gathered:
    """Return what happened from one moment to another.

    Raises:
        StorageError: The database does not answer.
    """
    reader, history, breakers = RecordReader(url), AlertHistory(url), OpenedBreakers(url)
    try:
        earlier = since - BEFORE
        calls = await _all(reader.calls_between, since - LONGEST_CALL, until, "started_at", "id")
        turns = await _all(reader.turns_between, earlier, until, "began_at", "call_id", "turn")
        failures = await _all(reader.failures, since, until, "at", "id")
        moves = await _all(reader.breaker_moves, earlier, until, "at", "id")
        theirs = partial(reader.happenings, kinds=OPERATORS)
        done = await _all(theirs, since, until, "at", "id")
        seen = await reader.last_seen()
        opened = _of_the_span(await breakers.before(earlier), moves, seen, earlier)
        alerts = await history.between(since.timestamp(), until.timestamp())
    finally:
        await asyncio.gather(reader.close(), history.close(), breakers.close())
    found = {"calls": calls, "turns": turns, "failures": failures, "breaker moves": moves}
    return Gathered(
        since=since,
        until=until,
        calls=[each for each in calls if (each.ended_at or each.seen_at) >= since],
        turns=turns,
        failures=failures,
        breaker_moves=[*opened, *moves],
        alerts=alerts,
        operators=done,
        seen=seen,
        cut=[name for name, rows in found.items() if len(rows) >= MOST_ROWS],
    )


def _of_the_span(
    opened: Sequence[BreakerMoveRow],
    moves: Sequence[BreakerMoveRow],
    seen: Mapping[str, datetime],
    since: datetime,
) -> Sequence[BreakerMoveRow]:
    """Return those of processes that were still there: one that ended open never closes."""
    there = {each.holder for each in moves} | {name for name, at in seen.items() if at >= since}
    return [each for each in opened if each.holder in there]


async def _all(
    ask: Callable[[datetime, datetime], Awaitable[Sequence[Row]]],
    since: datetime,
    until: datetime,
    moment: str,
    *key: str,
) -> Sequence[Row]:
    """Return all rows of a question that is answered with so many at most, answer by answer."""
    found: dict[tuple[Any, ...], Row] = {}
    while len(found) < MOST_ROWS:
        rows = await ask(since, until)
        fresh = {tuple(getattr(row, name) for name in key): row for row in rows}
        if fresh.keys() <= found.keys():
            break
        found |= fresh
        since = getattr(rows[-1], moment)  # which may have more rows than were told
    return list(found.values())
