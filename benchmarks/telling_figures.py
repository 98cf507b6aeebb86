"""Figures on the cost of events: confidence intervals, verdicts, and the printed lines.

A window is *told* if the calls' events were emitted in it, and *untold* if not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.telling_windows import BEAT_S, EmittedEvent, Found, Window

TELL_P99_S: Final = 50e-6
CPU_SHARE: Final = 0.03
LAG_S: Final = 0.002

DRAWS: Final = 2_000  # resamples of the measurements
INTERVAL_PERCENTILES: Final = (2.5, 97.5)  # percentiles of the resamples: a 95 % interval
BLOCK: Final = 100  # consecutive events, resampled together: a disturbance affects neighbours
LOST_S: Final = 5e-6  # if wall time exceeds the thread's CPU time by this, it lost the processor

MET, MISSED, CANNOT_TELL = "met", "missed", "cannot tell"

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    least: float
    most: float

    def verdict(self, target: float) -> str:
        """Return the verdict on a target: unknown unless the interval lies on one side of it."""
        if self.most <= target:
            return MET
        return MISSED if self.least > target else CANNOT_TELL


def estimate(
    blocks: Sequence[Any], figure: Callable[[Sequence[Any]], float], *, seed: int = 1
) -> Estimate:
    """Return a figure over some blocks, with its bootstrap interval.

    Args:
        blocks: Groups of measurements that are resampled as a whole.
        figure: Computes the figure from any choice of blocks.
        seed: Makes the interval reproducible.
    """
    dice = np.random.default_rng(seed)
    drawn = dice.integers(len(blocks), size=(DRAWS, len(blocks)))
    found = [figure([blocks[item] for item in draw]) for draw in drawn]
    least, most = np.percentile(found, INTERVAL_PERCENTILES)
    return Estimate(value=figure(blocks), least=float(least), most=float(most))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two adjacent windows, one of each kind."""

    told: Window
    untold: Window


def pairs_of(windows: Sequence[Window]) -> list[Pair]:
    """Return adjacent windows in pairs of a told and an untold one."""
    found = zip(windows[::2], windows[1::2], strict=True)
    return [Pair(*sorted(item, key=lambda window: not window.told)) for item in found]


def cpu_share(pairs: Sequence[Pair]) -> float:
    """Return the share of CPU time that events take, by comparing all windows.

    A median over the pairs would miss rare expensive work.
    """
    told = sum(pair.told.cores for pair in pairs)
    return (told - sum(pair.untold.cores for pair in pairs)) / told


def cores_more(pairs: Sequence[Pair]) -> float:
    """Return how many more cores are used with events than without, as the mean over the pairs."""
    return float(np.mean([pair.told.cores - pair.untold.cores for pair in pairs]))


def counted_share(pairs: Sequence[Pair]) -> float:
    """Return the share of the told windows' CPU time that `Account` attributes to events.

    Garbage is collected in any step, so the additional collection time is added.
    """
    counted = sum(pair.told.counted_cores + _garbage_more(pair) for pair in pairs)
    return counted / sum(pair.told.cores for pair in pairs)


def _garbage_more(pair: Pair) -> float:
    """Return how many more cores garbage collection takes in the told window."""
    told, untold = (window.collecting_s / len(window.lags_s) for window in (pair.told, pair.untold))
    return (told - untold) / BEAT_S


def counted_lag_s(pairs: Sequence[Pair]) -> float:
    """Return by how much the lag's p95 in the told windows would be lower without events.

    This is an upper bound, because all work of threads is subtracted.
    """
    told = [pair.told for pair in pairs]
    without = [
        np.subtract(item.lags_s, item.owed_s) if len(item.owed_s) else np.asarray(item.lags_s)
        for item in told
    ]
    return lag_p95_s(told) - _percentile(np.concatenate(without), 95)


def lag_more_s(pairs: Sequence[Pair]) -> float:
    """Return by how much the lag's p95 is higher in told windows than in untold ones."""
    return lag_p95_s([pair.told for pair in pairs]) - lag_p95_s([pair.untold for pair in pairs])


def lag_p95_s(windows: Sequence[Window]) -> float:
    """Return the lag's p95 over all ticks of these windows."""
    return _percentile(np.concatenate([window.lags_s for window in windows]), 95)


def p99_s(took_s: Sequence[float]) -> Estimate:
    """Return the p99 of how long events took; the times are in the order of the events."""
    blocks = [np.asarray(took_s[at : at + BLOCK]) for at in range(0, len(took_s), BLOCK)]
    return estimate(blocks, lambda drawn: _percentile(np.concatenate(drawn), 99))


def _percentile(numbers: Numbers, percent: float) -> float:
    return float(np.percentile(numbers, percent, method="higher"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowest:
    """How often the slowest hundredth of the events had certain causes."""

    facts: int
    without_processor: int  # another thread or process had the processor meanwhile
    with_collection: int  # garbage was collected meanwhile


def slowest(facts: Sequence[EmittedEvent]) -> Slowest:
    """Return the causes of the slowest hundredth; events without either had cold caches."""
    last = sorted(facts, key=lambda fact: fact.wall_s)[-max(1, len(facts) // 100) :]
    return Slowest(
        facts=len(last),
        without_processor=sum(fact.wall_s - fact.cpu_s > LOST_S for fact in last),
        with_collection=sum(fact.collected for fact in last),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The judged figures, and others that are only printed."""

    emit: Estimate
    control: Estimate  # p99 of a computation without listeners, between the events
    tell_cpu: Estimate  # p99 of the thread's CPU time
    tell_in_calls: Estimate
    cpu_share: Estimate
    cores_more: Estimate
    lag_more_s: Estimate
    counted_share: Estimate
    counted_lag_s: Estimate
    slowest: Slowest
    complete: bool  # all calls lasted, record and console received events, no listener lost any

    def verdicts(self) -> dict[str, str]:
        """Return the result of each target."""
        return {
            "emit() alone": self._verdict_alone(),
            "emit() in the calls": self.tell_in_calls.verdict(TELL_P99_S),
            "processor": self._combined_verdict(self.cpu_share, self.counted_share, CPU_SHARE),
            "lag": self._combined_verdict(self.lag_more_s, self.counted_lag_s, LAG_S),
            "everyone was told": MET if self.complete else MISSED,
        }

    def _verdict_alone(self) -> str:
        """Return the verdict on single events; a miss is uncertain if the control misses, too."""
        verdict = self.emit.verdict(TELL_P99_S)
        disturbed = self.control.verdict(TELL_P99_S) != MET
        return CANNOT_TELL if verdict == MISSED and disturbed else verdict

    def _combined_verdict(self, compared: Estimate, counted: Estimate, target: float) -> str:
        """Return the verdict of the count, unless the comparison of windows certainly fails.

        A count of zero means that counting failed; then the comparison decides.
        """
        verdict = compared.verdict(target)
        if verdict == MISSED or self.counted_share.value <= 0:
            return verdict
        return counted.verdict(target)

    def as_json(self) -> dict[str, Any]:
        """Return the figures and their verdicts as plain values."""
        return {**asdict(self), "verdicts": self.verdicts()}


def figures_of(found: Found) -> Figures:
    """Return the figures of a run."""
    pairs = pairs_of(found.windows)
    return Figures(
        emit=p99_s([fact.wall_s for fact in found.facts]),
        control=p99_s([fact.control_s for fact in found.facts]),
        tell_cpu=p99_s([fact.cpu_s for fact in found.facts]),
        tell_in_calls=p99_s(found.in_calls_s),
        cpu_share=estimate(pairs, cpu_share),
        cores_more=estimate(pairs, cores_more),
        lag_more_s=estimate(pairs, lag_more_s),
        counted_share=estimate(pairs, counted_share),
        counted_lag_s=estimate(pairs, counted_lag_s),
        slowest=slowest(found.facts),
        complete=bool(found.recorded and found.shown and found.on_the_line and not found.lost),
    )


# -- report


def lines(found: Found, figures: Figures, *, calls: int) -> Iterator[str]:
    """Yield the printed lines: the measurements pair by pair, then the figures."""
    pairs = pairs_of(found.windows)
    for number, pair in enumerate(pairs, 1):
        yield _pair(number, pair)
    yield from _facts(found, figures)
    yield from _listeners(found.listeners)
    yield from _calls(found, pairs, calls=calls)
    yield from _judged(figures)


def _pair(number: int, pair: Pair) -> str:
    told, untold = pair.told, pair.untold
    share = (told.cores - untold.cores) / told.cores
    late_ms, less_late_ms = lag_p95_s([told]) * 1e3, lag_p95_s([untold]) * 1e3
    return (
        f"pair {number}: {told.cores:.3f} cores told, {untold.cores:.3f} untold ({share:+.1%}); "
        f"lag p95 {late_ms:.2f} ms told, {less_late_ms:.2f} ms untold"
    )


def _facts(found: Found, figures: Figures) -> Iterator[str]:
    alone, in_calls = (
        sorted(item) for item in ([fact.wall_s for fact in found.facts], found.in_calls_s)
    )
    yield (
        f"emit(): p50 {alone[len(alone) // 2] * 1e6:.1f} µs; in the calls, {len(in_calls)} times: "
        f"p50 {in_calls[len(in_calls) // 2] * 1e6:.1f} µs"
    )
    controls = sorted(fact.control_s for fact in found.facts)
    yield (
        f"the control, without listeners: p50 {controls[len(controls) // 2] * 1e6:.1f} µs, "
        f"p99 {_format(figures.control, 1e6, 'µs')}"
    )
    slow = figures.slowest
    yield (
        f"emit() by its thread's own clock: p99 {_format(figures.tell_cpu, 1e6, 'µs')}; of the "
        f"{slow.facts} slowest {slow.without_processor} had lost the processor, "
        f"{slow.with_collection} had garbage collected"
    )


def _listeners(costs: dict[str, float]) -> Iterator[str]:
    by_cost = sorted(costs.items(), key=lambda each: -each[1])
    each = ", ".join(f"{name} {cost_s * 1e6:.0f}" for name, cost_s in by_cost)
    yield f"an event costs each listener, in µs of CPU time: {each}"


def _calls(found: Found, pairs: Sequence[Pair], *, calls: int) -> Iterator[str]:
    told, untold = [pair.told for pair in pairs], [pair.untold for pair in pairs]
    yield (
        f"{found.calls} of {calls} calls to the end, "
        f"{fmean(window.entries for window in told):.0f} entries a second, "
        f"{found.lost} lost, {found.recorded} in the record, {found.shown} messages to the console"
    )
    for name, windows in (("told", told), ("untold", untold)):
        yield f"{name}: {_sum(windows)}"


def _sum(windows: Sequence[Window]) -> str:
    young, middle, old = (sum(window.collections[at] for window in windows) for at in range(3))
    collecting = fmean(window.collecting_s / len(window.lags_s) for window in windows) * 100.0
    return (
        f"{fmean(window.cores for window in windows):.3f} cores, "
        f"{fmean(window.counted_cores for window in windows):.3f} counted for events; lag p95 "
        f"{lag_p95_s(windows) * 1e3:.2f} ms; garbage collected {young}, {middle} and {old} times "
        f"(young to old), {collecting:.1%} of a core"
    )


def _judged(figures: Figures) -> Iterator[str]:
    verdicts = figures.verdicts()
    tell_us, lag_ms = TELL_P99_S * 1e6, LAG_S * 1e3
    texts = {
        "emit() alone": f"p99 {_format(figures.emit, 1e6, 'µs')} (target {tell_us:.0f})",
        "emit() in the calls": (
            f"p99 {_format(figures.tell_in_calls, 1e6, 'µs')} (target {tell_us:.0f})"
        ),
        "processor": (
            f"{_format(figures.counted_share, 100, '%')} of what the process takes, counted "
            f"(target {CPU_SHARE:.0%}); with against without "
            f"{_format(figures.cpu_share, 100, '%')}, "
            f"{_format(figures.cores_more, 100, '%')} of a core"
        ),
        "lag": (
            f"p95 at most {_format(figures.counted_lag_s, 1e3, 'ms')} more, counted "
            f"(target {lag_ms:.0f}); with against without {_format(figures.lag_more_s, 1e3, 'ms')}"
        ),
    }
    for name, verdict in verdicts.items():
        yield f"{name}: {texts.get(name, '')}: {verdict}".replace(": : ", ": ")


def _format(figure: Estimate, factor: float, unit: str) -> str:
    value, least, most = (number * factor for number in (figure.value, figure.least, figure.most))
    return f"{value:.2f} [{least:.2f}, {most:.2f}] {unit}"
