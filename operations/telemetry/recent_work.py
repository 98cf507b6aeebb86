"""What the rungs did for callers within the last quarter of an hour: a window that slides.

Each minute has its own counts, so that forgetting is dropping a minute. How soon answers began is
counted in steps of a twentieth: what several processes counted adds up exactly, and a percentile is
right to that step.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from calls.entry import Entry
from calls.events import AnswerHeard, CallEnded
from fallbacks.facts import AttemptFailed, AttemptStarted, AttemptWon, RungChosen
from operations.notify.asked_rung_rules import STAGES, AskedRungs
from operations.telemetry.live_calls import MOST_CALLS

WINDOW_S: Final = 900.0
SLICE_S: Final = 60.0
STEP: Final = 1.05  # from one count to the next
LEAST_S: Final = 0.001  # what is quicker counts as this
MOST_TURNS: Final = 600  # chosen: what a chart shows without a slow browser


@dataclass(slots=True)
class RungMinute:
    """What one rung did in one minute."""

    at_s: float  # its begin, seconds since 1970
    began: Counter[int] = field(default_factory=Counter[int])  # answers, by the step of their delay
    failures: int = 0
    left: int = 0  # failovers away from it
    touched: set[str] = field(default_factory=set[str])  # calls that met a failure of it


@dataclass(slots=True)
class RungWindow:
    """The minutes of one rung, and how it failed last."""

    minutes: deque[RungMinute] = field(default_factory=deque[RungMinute])
    last_failure: dict[str, str] | None = None

    def minute(self, at_s: float) -> RungMinute:
        """Return the minute that this moment belongs to; entries come in order, or nearly."""
        begin = at_s - at_s % SLICE_S
        if not self.minutes or self.minutes[-1].at_s < begin:
            self.minutes.append(RungMinute(begin))
        self.forget(at_s)
        return self.minutes[-1]

    def kept(self, now: float) -> Sequence[RungMinute]:
        """Return the minutes of the window."""
        self.forget(now)
        return self.minutes

    def forget(self, now: float) -> None:
        """Drop the minutes that lie behind the window."""
        while self.minutes and self.minutes[0].at_s + SLICE_S <= now - WINDOW_S:
            self.minutes.popleft()


class RecentWork:
    """Hears every entry of a process; what belongs to no call is a probe, and is not counted."""

    def __init__(self) -> None:
        self._rungs: dict[tuple[str, str], RungWindow] = {}
        self._turns: deque[tuple[float, float, str]] = deque(maxlen=MOST_TURNS)
        self._asked: dict[str, AskedRungs] = {}  # by call

    async def hear(self, entry: Entry) -> None:
        """Count one entry."""
        match entry.event:
            case AttemptStarted() as started if entry.call_id:
                self._of(entry.call_id).heed(started)
            case AttemptWon() as won if entry.call_id and won.stage in STAGES:
                self._of(entry.call_id).heed(won)
                self._minute(won.stage, won.provider, entry).began[step_of(won.after_s)] += 1
            case AttemptFailed() as failed if failed.stage in STAGES:
                self._fail(failed, entry)
            case RungChosen() as moved if entry.call_id:
                self._move(moved, entry)
            case AnswerHeard() as heard:
                self._turns.append((seconds_of(entry.at), heard.v2v_s, entry.call_id))
            case CallEnded():
                self._asked.pop(entry.call_id, None)
            case _:
                pass

    def rungs(self, now: float) -> list[dict[str, Any]]:
        """Return the rungs' counts as plain JSON values; `now` in seconds since 1970."""
        return [
            {"stage": stage, "name": name} | _counted(window, now)
            for (stage, name), window in self._rungs.items()
        ]

    def touched(self, now: float) -> dict[str, int]:
        """Return how often calls were moved to another rung, and how many calls met a failure."""
        minutes = [each for window in self._rungs.values() for each in window.kept(now)]
        callers = set[str]().union(*(each.touched for each in minutes))
        return {"failovers": sum(each.left for each in minutes), "callers": len(callers)}

    def turns(self, now: float) -> list[tuple[float, float, str]]:
        """Return the answers within the window: when, how long the caller waited, whose call."""
        return [each for each in self._turns if each[0] > now - WINDOW_S]

    def _minute(self, stage: str, provider: str, entry: Entry) -> RungMinute:
        window = self._rungs.setdefault((stage, provider), RungWindow())
        return window.minute(seconds_of(entry.at))

    def _of(self, call_id: str) -> AskedRungs:
        if call_id not in self._asked and len(self._asked) >= MOST_CALLS:
            del self._asked[next(iter(self._asked))]  # its end was lost
        return self._asked.setdefault(call_id, AskedRungs())

    def _move(self, moved: RungChosen, entry: Entry) -> None:
        minute = self._minute(moved.stage, moved.before, entry)
        minute.left += 1
        if self._of(entry.call_id).heed(moved):
            minute.touched.add(entry.call_id)

    def _fail(self, failed: AttemptFailed, entry: Entry) -> None:
        minute = self._minute(failed.stage, failed.provider, entry)
        if entry.call_id:
            minute.failures += 1
            minute.touched.add(entry.call_id)
        told = {"at": entry.at, "kind": str(failed.kind), "reason": failed.reason}
        self._rungs[failed.stage, failed.provider].last_failure = told


def _counted(window: RungWindow, now: float) -> dict[str, Any]:
    minutes = window.kept(now)
    began = sum((each.began for each in minutes), Counter[int]())
    return {
        "began": {str(step): times for step, times in began.items()},
        "failures": sum(each.failures for each in minutes),
        "failovers": sum(each.left for each in minutes),
        "callers": len(set[str]().union(*(each.touched for each in minutes))),
        "last_failure": window.last_failure,
    }


NOTHING: Final[Mapping[str, Any]] = {
    "answers": 0,
    "p50_s": None,
    "p95_s": None,
    "failures": 0,
    "failovers": 0,
    "callers_touched": 0,
    "last_failure": None,
}


def merge_recent(views: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one rung's window over all processes; a call is in one process only."""
    same = list(views)
    if not same:
        return dict(NOTHING)
    began = Counter[int]()
    for each in same:
        began.update({int(step): times for step, times in each["began"].items()})
    last = [each["last_failure"] for each in same if each["last_failure"]]
    return {
        "answers": began.total(),
        "p50_s": percentile(began, 0.5),
        "p95_s": percentile(began, 0.95),
        "failures": sum(each["failures"] for each in same),
        "failovers": sum(each["failovers"] for each in same),
        "callers_touched": sum(each["callers"] for each in same),
        "last_failure": max(last, key=lambda each: each["at"], default=None),
    }


def merge_turns(views: Sequence[Sequence[Sequence[Any]]]) -> list[list[Any]]:
    """Return all processes' answers in the order in which they were heard, the newest of them."""
    every = sorted(list(each) for view in views for each in view)
    return every[-MOST_TURNS:]


def step_of(after_s: float) -> int:
    """Return the step of a delay: its logarithm."""
    return round(math.log(max(after_s, LEAST_S) / LEAST_S, STEP))


def percentile(began: Mapping[int, int], share: float) -> float | None:
    """Return the delay that this share of the answers did not exceed; nearest rank."""
    wanted = math.ceil(share * sum(began.values()))
    for step in sorted(began):
        wanted -= began[step]
        if wanted <= 0:
            return round(LEAST_S * STEP**step, 3)
    return None


def seconds_of(at: str) -> float:
    """Return an entry's moment in seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()
