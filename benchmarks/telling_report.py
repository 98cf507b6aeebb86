"""Prints the measures of telling."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.telling_figures import (
    CPU_SHARE,
    LAG_S,
    TELL_P99_S,
    Estimate,
    Figures,
    Pair,
    lag_p95_s,
    pairs_of,
)
from benchmarks.telling_windows import Window

if TYPE_CHECKING:
    from benchmarks.telling_calls import Found


def lines(found: "Found", figures: Figures, *, calls: int) -> Iterator[str]:
    """Yield the lines: the measures pair by pair, then the figures."""
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


def _facts(found: "Found", figures: Figures) -> Iterator[str]:
    alone, in_calls = (
        sorted(item) for item in ([fact.wall_s for fact in found.facts], found.in_calls_s)
    )
    yield (
        f"tell(): p50 {alone[len(alone) // 2] * 1e6:.1f} µs; in the calls, {len(in_calls)} times: "
        f"p50 {in_calls[len(in_calls) // 2] * 1e6:.1f} µs"
    )
    controls = sorted(fact.control_s for fact in found.facts)
    yield (
        f"the control, without listeners: p50 {controls[len(controls) // 2] * 1e6:.1f} µs, "
        f"p99 {_between(figures.control, 1e6, 'µs')}"
    )
    slow = figures.slowest
    yield (
        f"tell() by its thread's own clock: p99 {_between(figures.tell_cpu, 1e6, 'µs')}; of the "
        f"{slow.facts} slowest {slow.without_processor} had lost the processor, "
        f"{slow.with_collection} had garbage collected"
    )


def _listeners(costs: dict[str, float]) -> Iterator[str]:
    dear = sorted(costs.items(), key=lambda each: -each[1])
    each = ", ".join(f"{name} {cost_s * 1e6:.0f}" for name, cost_s in dear)
    yield f"a fact costs those who listen, in µs of processor time: {each}"


def _calls(found: "Found", pairs: Sequence[Pair], *, calls: int) -> Iterator[str]:
    told, untold = [pair.told for pair in pairs], [pair.untold for pair in pairs]
    yield (
        f"{found.calls} of {calls} calls to the end, "
        f"{fmean(item.entries for item in told):.0f} entries a second, "
        f"{found.lost} lost, {found.recorded} in the record, {found.shown} messages to the console"
    )
    for name, windows in (("told", told), ("untold", untold)):
        yield f"{name}: {_sum(windows)}"


def _sum(windows: Sequence[Window]) -> str:
    young, middle, old = (sum(window.collections[at] for window in windows) for at in range(3))
    collecting = fmean(window.collecting_s / len(window.lags_s) for window in windows) * 100.0
    return (
        f"{fmean(window.cores for window in windows):.3f} cores, "
        f"{fmean(window.counted_cores for window in windows):.3f} counted as telling's; lag p95 "
        f"{lag_p95_s(windows) * 1e3:.2f} ms; garbage collected {young}, {middle} and {old} times "
        f"(young to old), {collecting:.1%} of a core"
    )


def _judged(figures: Figures) -> Iterator[str]:
    verdicts = figures.verdicts()
    tell_us, lag_ms = TELL_P99_S * 1e6, LAG_S * 1e3
    said = {
        "tell() alone": f"p99 {_between(figures.tell, 1e6, 'µs')} (target {tell_us:.0f})",
        "tell() in the calls": (
            f"p99 {_between(figures.tell_in_calls, 1e6, 'µs')} (target {tell_us:.0f})"
        ),
        "processor": (
            f"{_between(figures.counted_share, 100, '%')} of what the process takes, counted "
            f"(target {CPU_SHARE:.0%}); with against without "
            f"{_between(figures.cpu_share, 100, '%')}, "
            f"{_between(figures.cores_more, 100, '%')} of a core"
        ),
        "lag": (
            f"p95 at most {_between(figures.counted_lag_s, 1e3, 'ms')} more, counted "
            f"(target {lag_ms:.0f}); with against without {_between(figures.lag_more_s, 1e3, 'ms')}"
        ),
    }
    for name, verdict in verdicts.items():
        yield f"{name}: {said.get(name, '')}: {verdict}".replace(": : ", ": ")


def _between(it: Estimate, factor: float, unit: str) -> str:
    value, least, most = (item * factor for item in (it.value, it.least, it.most))
    return f"{value:.2f} [{least:.2f}, {most:.2f}] {unit}"
