"""Statistics over many turns: percentiles, slopes, intervals, verdicts; pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

NEVER_S: Final = 99.0  # an answer that never came is later than any target
BUDGET_S: Final = 1.5  # latency.budget_s
TORN_S: Final = 0.2  # chosen: callers notice a longer silence in an answer, beyond its pauses
STANDARD_ERRORS: Final = 1.96  # on each side of the mean they hold 95 % of a normal distribution


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values, so no percentile")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardTurn:
    """What a caller heard of one answer; seconds from the end of the question.

    Attributes:
        call: The caller, counted from 0.
        at_s: When the caller stopped, in seconds of the run.
        first_word_s: When the first word of the answer began; `NEVER_S` if there was none.
        first_sound_s: The same for any sound.
        gap_s: The longest silence in the answer beyond its natural pauses.
        torn_words: How many words had holes, because the telephone's buffer ran dry inside them.
        missing: Words that were not heard.
        extra: Words that were heard too often or in the wrong place.
    """

    call: int
    at_s: float
    first_word_s: float
    first_sound_s: float
    gap_s: float
    torn_words: int = 0
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether each word was heard once, in order."""
        return self.first_word_s < NEVER_S and not self.missing and not self.extra

    @property
    def torn(self) -> bool:
        """Whether a word had holes, or the answer a silence longer than `TORN_S`."""
        return self.torn_words > 0 or self.gap_s > TORN_S

    @property
    def summary(self) -> str:
        """The problems of this turn, in words."""
        missing, extra = (" ".join(item) or "-" for item in (self.missing, self.extra))
        return (
            f"caller {self.call} at {self.at_s:.1f} s: first word {seconds(self.first_word_s)}, "
            f"longest gap {self.gap_s:.2f} s, torn words {self.torn_words}, "
            f"missing: {missing}, too much: {extra}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFigures:
    """Figures over turns; a turn that did not take place counts as never answered."""

    turns: int
    first_word_p50_s: float
    first_word_p95_s: float
    in_budget: float  # share of the turns
    not_whole: int
    torn: int  # turns, whole or not, with holes in words or an unexpected silence


def sum_up(turns: Sequence[HeardTurn], *, expected: int = 0) -> TurnFigures:
    """Return the figures over some turns.

    Args:
        turns: All turns that took place.
        expected: How many turns should have taken place.
    """
    lost = max(0, expected - len(turns))
    firsts = [turn.first_word_s for turn in turns] + [NEVER_S] * lost
    if not firsts:
        firsts = [NEVER_S]
    return TurnFigures(
        turns=len(turns) + lost,
        first_word_p50_s=percentile(firsts, 0.5),
        first_word_p95_s=percentile(firsts, 0.95),
        in_budget=sum(first <= BUDGET_S for first in firsts) / len(firsts),
        not_whole=sum(not turn.whole for turn in turns) + lost,
        torn=sum(turn.torn for turn in turns),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """The change of a measure over time, as a straight line.

    Attributes:
        a_minute: The change in a minute.
        give_or_take: Half of the 95 % confidence interval of that change.
        start: The value at the start.
    """

    a_minute: float
    give_or_take: float
    start: float

    def drifts(self, over_minutes: float, *, allowed: float) -> bool:
        """Return whether the measure certainly grows, and by more than `allowed` in this time.

        It certainly grows if the whole interval is above zero.
        """
        return self.a_minute > self.give_or_take and self.a_minute * over_minutes > allowed


def slope(points: Iterable[tuple[float, float]]) -> Slope:
    """Return the straight line through points of (seconds, value), by least squares.

    Raises:
        ValueError: There are fewer than three points, or all have the same time.
    """
    points = [(at_s / 60, value) for at_s, value in points]
    count = len(points)
    if count < 3:
        raise ValueError("a slope needs three points")
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("all points have the same time")
    a_minute = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    start = mean_y - a_minute * mean_x
    rest = sum((y - start - a_minute * x) ** 2 for x, y in points)
    error = math.sqrt(rest / (count - 2) / spread)
    return Slope(a_minute=a_minute, give_or_take=STANDARD_ERRORS * error, start=start)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """One run of `calls` calls at once on one server.

    Attributes:
        side: The server.
        workers: Its number of workers, `auto` for the default; empty if it has no such option.
        calls: How many callers rang.
        refused: How many callers were refused at once, because all seats were taken.
        figures: The figures of the turns in answered calls.
        greeting_s: The slowest greeting, from the ring; `NEVER_S` if a caller was not greeted.
        cores_a_call: The server's CPU time for each second of a call.
        memory_mb: The peak memory of the server's processes, shared pages counted once.
        shares: How many cores were kept busy by `server`, `simulators`, `callers` and `others`.
        callers_late_s: How late the callers sent: p95 of the worst delay in each second.
        simulators_late_s: How much longer than usual the simulated voices took to begin, p95.
        requests_a_turn: Requests to the model for each turn.
        wrong: Descriptions of the turns that were not whole.
        error: Why the run failed, if it did.
    """

    side: str
    workers: str
    calls: int
    refused: int = 0
    figures: TurnFigures
    greeting_s: float = NEVER_S
    cores_a_call: float = 0.0
    memory_mb: float = 0.0
    shares: Mapping[str, float]
    callers_late_s: float = 0.0
    simulators_late_s: float = 0.0
    requests_a_turn: float = 0.0
    wrong: tuple[str, ...] = ()
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether nobody was refused, no word was lost or doubled, and p95 is within the budget."""
        found = self.figures
        in_time = found.first_word_p95_s <= BUDGET_S
        return not self.error and not self.refused and in_time and not found.not_whole

    def as_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {**asdict(self), "holds": self.holds}


def most_calls(runs: Sequence[LoadRun], *, side: str, workers: str) -> LoadRun | None:
    """Return the largest run that holds, if all smaller ones hold as well; `None` if none does.

    A number of calls that was run several times holds if each of its runs does.
    """
    best: LoadRun | None = None
    candidates = [run for run in runs if (run.side, run.workers) == (side, workers)]
    for run in sorted(candidates, key=lambda run: run.calls):
        if not all(other.holds for other in candidates if other.calls == run.calls):
            break
        best = run
    return best


def reach(best: LoadRun, *, cores: int, machine_cores: int) -> int:
    """Return how many calls a machine with this many cores would hold, as a server only.

    It may be as busy as the measured machine was in its best run. Callers and simulators, which
    were on the measured machine, are not on this one.

    Args:
        best: The run with the most calls that held.
        cores: The cores of the machine in question.
        machine_cores: The cores of the measured machine.
    """
    busy = min(1.0, sum(best.shares.values()) / machine_cores)
    return math.floor(busy * cores / best.cores_a_call + 1e-9) if best.cores_a_call else 0


def seconds(value: float) -> str:
    """Return seconds as text; `never` for `NEVER_S`."""
    return "never" if value >= NEVER_S else f"{value:.2f} s"
