"""Formats what the callers of both sides heard as tables, verdicts and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.beside import SideFigures
from benchmarks.figures import BUDGET_S, NEVER_S, seconds
from benchmarks.read_clips import ClipVerdict
from lab.drill.servers import OURS, STOCK

MEDIAN: Final = 0.80  # times stock Pipecat's median first word, at most
SLOWEST: Final = 1.0  # times its 95th percentile, at most
EXTRA: Final = 0.25  # requests beyond one a turn, at most


def ratios(sides: Mapping[str, SideFigures]) -> tuple[float, float]:
    """Return our median and our 95th percentile, divided by stock Pipecat's."""
    ours, stock = sides[OURS].figures, sides[STOCK].figures
    return (
        ours.first_word_p50_s / stock.first_word_p50_s,
        ours.first_word_p95_s / stock.first_word_p95_s,
    )


def met(sides: Mapping[str, SideFigures]) -> bool:
    """Return whether ours is faster by the required ratios, with the allowed extra requests."""
    ours = sides[OURS]
    median, slowest = ratios(sides)
    heard = ours.figures.first_word_p95_s < NEVER_S and not ours.figures.not_whole
    return heard and median <= MEDIAN and slowest <= SLOWEST and ours.extra_requests <= EXTRA


def show(console: Console, sides: Mapping[str, SideFigures], *, delays: str) -> None:
    """Print the results of both sides with one set of delays."""
    table = Table(title=f"first word, simulators' delays {delays}")
    for column in ("side", "turns", "p50", "p95", "not whole", "torn", "requests", "extra"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, found in sides.items():
        figures = found.figures
        table.add_row(
            side,
            str(figures.turns),
            seconds(figures.first_word_p50_s),
            seconds(figures.first_word_p95_s),
            str(figures.not_whole),
            str(figures.torn),
            str(found.requests),
            f"{found.extra_requests:.0%}",
        )
    console.print(table)
    median, slowest = ratios(sides)
    verdict = "met" if met(sides) else "MISSED"
    console.print(
        f"ratio to stock, delays {delays}: p50 {median:.2f} (target {MEDIAN:.2f}), "
        f"p95 {slowest:.2f} (target {SLOWEST:.2f}), extra requests "
        f"{sides[OURS].extra_requests:.0%} (target {EXTRA:.0%}), every turn whole: {verdict}"
    )


def as_json(sides: Mapping[str, SideFigures]) -> dict[str, Any]:
    """Return the results of both sides as JSON values."""
    median, slowest = ratios(sides)
    results = {
        side: {**asdict(found), "extra_requests": found.extra_requests}
        for side, found in sides.items()
    }
    return {**results, "p50_ratio": median, "p95_ratio": slowest, "met": met(sides)}


def show_clips(console: Console, found: Mapping[str, Sequence[ClipVerdict]]) -> bool:
    """Print the result of each clip; return whether our side answered all in time, in one turn."""
    table = Table(title="people reading, one at a time", show_lines=False)
    table.add_column("clip")
    table.add_column("length", justify="right")
    for side in found:
        table.add_column(f"{side}: first word", justify="right")
        table.add_column("split")
        table.add_column("requests", justify="right")
    for item in zip(*found.values(), strict=True):
        cells = [item[0].name, f"{item[0].length_s:.1f} s"]
        for clip in item:
            cells += [seconds(clip.first_word_s), "yes" if clip.split else "", str(clip.requests)]
        table.add_row(*cells)
    console.print(table)
    for side, clips in found.items():
        good = sum(clip.good for clip in clips)
        split = sum(clip.split for clip in clips)
        console.print(
            f"{side}: {good} of {len(clips)} clips answered within {BUDGET_S:g} s with no turn "
            f"split ({split} split)"
        )
    return all(clip.good for clip in found[OURS])


def clips_as_json(found: Mapping[str, Sequence[ClipVerdict]]) -> dict[str, Any]:
    """Return the results of the clips as JSON values."""
    return {side: [asdict(clip) for clip in clips] for side, clips in found.items()}
