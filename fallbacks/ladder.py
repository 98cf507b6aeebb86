"""Which rung to ask, when to ask the next one as well, and how often that may be done.

The preferred rung comes first unless it is suspect, or too slow for what is left. The next one is
started at once after a failure; while the first is merely late, both run and the first to give
content wins. Such races, and second tries of a rung that let everybody wait, are extra work, and an
outage is the worst moment for that: a stage has an allowance, a tenth of its recent attempts.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind, Scope
from fallbacks.health import Standing

RETRY_WAIT_S: Final = 0.3  # the longest that a caller waits for a rate limit to pass inside a turn
SAME_RUNG: Final = 2  # second tries of one rung for one piece of work
RECENT: Final = 100  # attempts that "recent" means
FLOOR: Final = 3  # extra attempts that are always allowed: the first outage meets no history


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient a stage is with its rungs, in seconds."""

    late_min_s: float = 0.35  # nobody is called late before
    late_max_s: float = 0.8  # everybody is after
    gap_s: float = 0.4  # between two pieces of useful output, while work is owed
    silent_end_ok: bool = False  # a recogniser that heard a cough ends without a word


def rank(
    standings: Sequence[Standing], until: Deadline, *, now: float, stay_with: str | None = None
) -> tuple[str, ...]:
    """Return the rungs that may be asked, the one to ask first in front.

    `stay_with` is the rung that the caller knows: a voice that took over stays for the call, as
    long as it is not suspect itself. Empty means that the stage has nobody: hold the line.
    """
    left_s = until.left_s(now)
    places = {each.provider: place for place, each in enumerate(standings)}
    usable = [each for each in standings if each.usable]
    usable.sort(
        key=lambda each: (
            each.suspect,
            each.provider != stay_with,
            each.p50_s > left_s,
            places[each.provider],
        )
    )
    return tuple(each.provider for each in usable)


def late_after_s(standing: Standing | None, pace: Pace) -> float:
    """Return how long after its start a rung without useful output is late."""
    if standing is None:
        return pace.late_max_s
    return min(max(standing.p95_s, pace.late_min_s), pace.late_max_s)


def may_ask_again(
    failure: Failure | None, until: Deadline, *, now: float, tries: int
) -> float | None:
    """Say in how many seconds the same rung may be asked again, or None: not for this work.

    Args:
        failure: What it did wrong; None: it only let us wait.
        until: The deadline; nobody is asked twice after it.
        now: Monotonic, in seconds.
        tries: How often it was asked again already.
    """
    if until.passed(now) or tries >= SAME_RUNG:
        return None
    if failure is None:
        return 0.0
    if failure.permanent or not failure.same_rung or failure.scope is Scope.PAYLOAD:
        return None
    if failure.kind is not Kind.RATE_LIMITED:
        return 0.0
    wait_s = failure.retry_after_s
    fits = wait_s is not None and wait_s <= min(RETRY_WAIT_S, until.left_s(now))
    return wait_s if fits else None


class Allowance:
    """How many extra attempts a stage may make; shared by all calls.

    Every attempt is noted. An extra one is allowed while the extra ones among the recent are fewer
    than their share, or than the floor.
    """

    def __init__(self, *, share: float = 0.1, floor: int = FLOOR, recent: int = RECENT) -> None:
        self._share = share
        self._floor = floor
        self._recent: deque[bool] = deque(maxlen=recent)

    @property
    def spent(self) -> int:
        """The extra attempts among the recent ones."""
        return sum(self._recent)

    def note(self) -> None:
        """Count an ordinary attempt."""
        self._recent.append(False)

    def take(self) -> bool:
        """Count an extra attempt if it is allowed, and say whether it is."""
        allowed = self.spent < max(self._floor, int(self._share * len(self._recent)))
        if allowed:
            self._recent.append(True)
        return allowed
