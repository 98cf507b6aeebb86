"""When each rung was in trouble, and how long callers waited before, meanwhile and after."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from fallbacks.breaker import State
from operations.record.reader import BreakerMoveRow, FailureRow, TurnRow

QUIET: Final = timedelta(minutes=2)  # without a failure, with all breakers closed: it is over
BESIDE: Final = timedelta(minutes=5)  # at least so long is looked at before and after
GONE: Final = timedelta(minutes=5)  # without a word: a process probes each minute
PROCESS_GONE: Final = "process_gone"
CLOSED: Final = State.CLOSED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A rung was in trouble, from its first failure until all is quiet again."""

    stage: str
    provider: str
    began: datetime
    ended: datetime | None  # None: a breaker was not closed at the end of the span
    failures: Sequence[FailureRow]
    opened: int  # times that a breaker opened, over all processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How soon answers were heard."""

    turns: int  # all of them
    answered: int
    within_budget: int
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None


@dataclass(slots=True)
class _Trouble:
    """What one rung's outage is put together from."""

    began: datetime
    last: datetime
    failures: list[FailureRow] = field(default_factory=list[FailureRow])
    opened: int = 0
    open_at: set[str] = field(default_factory=set[str])  # the processes

    def goes_on(self, at: datetime) -> bool:
        """Return whether what happens then belongs to it."""
        return bool(self.open_at) or at - self.last <= QUIET


def with_ends(
    moves: Sequence[BreakerMoveRow], seen: Mapping[str, datetime], until: datetime
) -> Sequence[BreakerMoveRow]:
    """Return moves with the ends of those processes that went away before they could tell of it.

    A deploy, too, takes processes away whose breakers are open.
    """
    last: dict[tuple[str, str, str], BreakerMoveRow] = {}
    for each in moves:
        last[each.stage, each.provider, each.holder] = each
    ends = [
        replace(each, at=max(each.at, at), before=each.after, after=CLOSED, cause=PROCESS_GONE)
        for each in last.values()
        if each.after != CLOSED and (at := seen.get(each.holder)) and until - at > GONE
    ]
    return sorted([*moves, *ends], key=lambda each: each.at)


def find_outages(
    failures: Iterable[FailureRow], moves: Iterable[BreakerMoveRow], since: datetime
) -> Sequence[Outage]:
    """Return every outage of the span, the earliest first; what was over before it is left out.

    A process that is gone has told the end of what it saw: see `with_ends`.
    """
    news: list[FailureRow | BreakerMoveRow] = sorted([*failures, *moves], key=lambda each: each.at)
    found: list[Outage] = []
    now: dict[tuple[str, str], _Trouble] = {}
    for each in news:
        rung = (each.stage, each.provider)
        trouble = now.get(rung)
        if trouble and not trouble.goes_on(each.at):
            found.append(_outage(rung, now.pop(rung)))
            trouble = None
        if trouble is None:
            if not _begins(each):
                continue
            trouble = now[rung] = _Trouble(each.at, each.at)
        _enter(trouble, each)
    found += [_outage(rung, trouble) for rung, trouble in now.items()]
    lasting = [each for each in found if each.ended is None or each.ended >= since]
    return sorted(lasting, key=lambda each: (each.began, each.stage, each.provider))


def latency_beside(outage: Outage, turns: Sequence[TurnRow], until: datetime) -> dict[str, Latency]:
    """Return how soon answers were heard before, during and after an outage."""
    ended = outage.ended or until
    beside = max(BESIDE, ended - outage.began)
    return {
        "before": latency_of(_began(turns, outage.began - beside, outage.began)),
        "during": latency_of(_began(turns, outage.began, ended)),
        "after": latency_of(_began(turns, ended, ended + beside) if outage.ended else []),
    }


def latency_of(turns: Sequence[TurnRow]) -> Latency:
    """Return how soon the answers of these turns were heard."""
    waits = sorted(each.v2v_s for each in turns if each.v2v_s is not None)
    within = sum(each.within_budget for each in turns if each.v2v_s is not None)
    if not waits:
        return Latency(turns=len(turns), answered=0, within_budget=0)
    return Latency(
        turns=len(turns),
        answered=len(waits),
        within_budget=within,
        p50_s=_rank(waits, 0.5),
        p95_s=_rank(waits, 0.95),
        max_s=waits[-1],
    )


def breaker_states(
    moves: Sequence[BreakerMoveRow],
) -> Mapping[tuple[str, str], Sequence[tuple[datetime, str]]]:
    """Return since when each rung's breaker was how, the worst of all processes counting."""
    holders: dict[tuple[str, str], dict[str, str]] = {}
    states: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for each in moves:
        rung = (each.stage, each.provider)
        known = holders.setdefault(rung, {})
        known[each.holder] = each.after
        worst = max(known.values(), key=SEVERITY.index)
        told = states.setdefault(rung, [])
        if not told or told[-1][1] != worst:
            told.append((each.at, worst))
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
    return [each for each in turns if since <= each.began_at < until]


def _rank(waits: Sequence[float], share: float) -> float:
    """Return the value that so large a share of all does not exceed (nearest rank)."""
    return waits[max(0, math.ceil(share * len(waits)) - 1)]
