"""Compares a row's runs with its targets; pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lab.drill.rows import LOST, Row, Target

MEASURES: Final[Mapping[str, tuple[str, str]]] = {  # text and unit
    "first_word_s": ("first word", "s"),
    "first_speech_s": ("any speech", "s"),
    "gap_s": ("gap", "s"),
    "greeting_s": ("greeting", "s"),
    "silence_s": ("longest silence", "s"),
    "quiet_s": ("agent quiet", "s"),
    "lost_turns": ("turns not whole", ""),
    "misheard": ("wrong words sent to the model", ""),
    "switches": ("switches of voice", ""),
    "in_budget": ("turns in budget", ""),
    "standby_requests": ("requests to standbys", ""),
    "fillers": ("fillers", ""),
    "failures": ("failures counted", ""),
    "failures_after": ("failures counted after the barge-in", ""),
    "nothing_to_break": ("no speech to interrupt", ""),
    "words_missing": ("words not heard", ""),
    "words_twice": ("words heard twice", ""),
    "calls": ("calls in the record", ""),
    "barge_ins": ("interruptions", ""),
    "model_requests": ("requests to the model", ""),
    "spoken_over": ("pauses in which the agent spoke", ""),
    "voice_changed": ("voice changed in the call", ""),
    "next_turn_elsewhere": ("next turn not on the recovered provider", ""),
    "next_call_elsewhere": ("next call not on the recovered provider", ""),
    "closed": ("breakers closed by callers", ""),
    "reply_s": ("whole reply", "s"),
    "ahead_s": ("voice ahead of the caller", "s"),
    "given_s": ("speech sent to a voice in one request", "s"),
    "clips_heard": ("clips heard in the agent's voice", ""),
    "not_clips": ("other speech besides the reply", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run, as stored in the results.

    Attributes:
        row: Its row's name.
        side: The server's side.
        run: Its number.
        measures: By name.
        error: Why the run failed, if it did.
    """

    row: str
    side: str
    run: int
    measures: Mapping[str, float]
    error: str = ""

    def get(self, target: Target) -> float | None:
        """Return a target's measure; a failed run misses every target."""
        if self.error:
            return 0.0 if target.least else LOST
        return self.measures.get(target.measure)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFinding:
    """One target against the runs.

    Attributes:
        target: The target.
        values: The measure in each run, minus the reference; `LOST` stays as it is.
        met: Whether the target holds; `None` if it could not be judged.
    """

    target: Target
    values: tuple[float, ...]
    met: bool | None

    @property
    def p50(self) -> float | None:
        """The median of the runs."""
        return statistics.median(self.values) if self.values else None

    @property
    def worst(self) -> float | None:
        """The worst run; `None` without runs."""
        if not self.values:
            return None
        return min(self.values) if self.target.least else max(self.values)

    @property
    def words(self) -> str:
        """The target in words."""
        target = self.target
        name, unit = MEASURES.get(target.measure, (target.measure, ""))
        extra = "extra " if target.over else ""
        than = f" over {target.side}" if target.side else ""
        sign = "\u2265" if target.least else "\u2264"
        p50 = "" if target.p50 is None else f"p50 {sign} {target.p50:g}, worst "
        return f"{extra}{name}{than} {p50}{sign} {target.worst:g} {unit}".rstrip()


def findings(row: Row, side: str, runs: Sequence[Measured]) -> tuple[TargetFinding, ...]:
    """Return a finding for each target of a row, over all its runs on one side."""
    row_runs = [run for run in runs if run.row == row.name and run.side == side]
    return tuple(_target_finding(target, row_runs, runs, side=side) for target in row.targets)


def _target_finding(
    target: Target, row_runs: Sequence[Measured], runs: Sequence[Measured], *, side: str
) -> TargetFinding:
    """Compare runs with a target.

    It is not judged if no run has the measure, if there is no reference to subtract, or if the
    reference is this very side.
    """
    if target.side == side:  # a side is not compared with itself
        return TargetFinding(target=target, values=(), met=None)
    reference = _reference_value(target, runs, side=target.side or side)
    if reference is None or reference == LOST:  # nothing to compare with
        return TargetFinding(target=target, values=(), met=None)
    found = (value for run in row_runs if (value := run.get(target)) is not None)
    values = tuple(value if value == LOST else value - reference for value in found)
    return TargetFinding(
        target=target, values=values, met=_is_met(target, values) if values else None
    )


def _reference_value(target: Target, runs: Sequence[Measured], *, side: str) -> float | None:
    """Return the reference to subtract: the median of the compared runs; `None` if none exists."""
    if target.over is None:
        return 0.0
    row, measure = target.over
    values = [
        run.measures[measure]
        for run in runs
        if run.row == row and run.side == side and measure in run.measures
    ]
    return statistics.median(values) if values else None


def _is_met(target: Target, values: Sequence[float]) -> bool:
    """Return whether the values hold the target; a lower bound applies to the worst run only."""
    if target.least:
        return min(values) >= target.worst
    median_met = target.p50 is None or statistics.median(values) <= target.p50
    return max(values) <= target.worst and median_met


def passed(row: Row, side: str, runs: Sequence[Measured]) -> bool:
    """Return whether every judged target holds, and at least one was judged."""
    met = [finding.met for finding in findings(row, side, runs) if finding.met is not None]
    return bool(met) and all(met)


def extra_requests(row: Row, side: str, runs: Sequence[Measured]) -> float | None:
    """Return how many more requests a turn of this row made than a healthy turn.

    The medians of the runs are compared; `None` if one of the two was not run.
    """
    requests = _requests_per_turn(row.name, side, runs)
    reference = _requests_per_turn("healthy", side, runs)
    if not requests or not reference:
        return None
    return statistics.median(requests) - statistics.median(reference)


def _requests_per_turn(row: str, side: str, runs: Sequence[Measured]) -> list[float]:
    """Return the requests for each turn, of each run of the row on this side that had turns."""
    return [
        run.measures["requests"] / run.measures["turns"]
        for run in runs
        if run.row == row and run.side == side and run.measures.get("turns")
    ]
