"""What it costs to tell what happens: one fact, and ten calls with and without those who listen.

    .venv/bin/python benchmarks/telling.py [--calls N] [--windows N] [--seconds S] [--json FILE]

benchmarks/README.md tells what is measured and how.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

if TYPE_CHECKING:
    from benchmarks.telling_calls import Found, Window

ROOT: Final = Path(__file__).resolve().parent.parent  # a script's own folder is all Python looks in
TELL_P99_S: Final = 50e-6
CPU_SHARE: Final = 0.03
LAG_S: Final = 0.002


def main() -> int:
    """Measure, print, and return 0, or 1 when a target was missed."""
    options = _options()
    from telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        logs.set_up(level="INFO", folder=Path(folder) / "logs")
        from benchmarks import telling_calls  # noqa: PLC0415 - Pipecat, after the log's rules

        found = asyncio.run(
            telling_calls.measure(
                calls=options.calls,
                facts=options.facts,
                windows=options.windows,
                window_s=options.seconds,
                folder=Path(folder),
            )
        )
    figures = figures_of(found)
    show(console, figures, calls=options.calls)
    if options.json:
        told = {**figures, "windows": [asdict(each) for each in found.windows]}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0 if met(figures) else 1


def figures_of(found: "Found") -> dict[str, Any]:
    """Return the figures; what is compared stands next to each other in time, pair by pair."""
    tell, in_calls = sorted(found.tell_s), sorted(found.in_calls_s)
    pairs = [_pair(*found.windows[at : at + 2]) for at in range(0, len(found.windows), 2)]
    cores, without, lag, lag_without = (
        fmean(each[name] for each in pairs)
        for name in ("cores_told", "cores_untold", "lag_ms_told", "lag_ms_untold")
    )
    return {
        "tell_p50_us": tell[len(tell) // 2] * 1e6,
        "tell_p99_us": tell[int(len(tell) * 0.99)] * 1e6,
        "tell_in_calls": len(in_calls),
        "tell_in_calls_p50_us": in_calls[len(in_calls) // 2] * 1e6,
        "tell_in_calls_p99_us": in_calls[int(len(in_calls) * 0.99)] * 1e6,
        "cores_told": cores,
        "cores_untold": without,
        "cpu_share": median(each["cpu_share"] for each in pairs),
        "cpu_of_a_core": median(each["cores_told"] - each["cores_untold"] for each in pairs),
        "lag_p95_ms_told": lag,
        "lag_p95_ms_untold": lag_without,
        "lag_more_ms": median(each["lag_more_ms"] for each in pairs),
        "entries_a_second": fmean(each.entries for each in found.windows if each.told),
        "lost": found.lost,
        "recorded": found.recorded,
        "shown": found.shown,
        "pairs": pairs,
    }


def _pair(one: "Window", other: "Window") -> dict[str, float]:
    """Return two windows that follow each other, of which one was told."""
    told, untold = (one, other) if one.told else (other, one)
    return {
        "cores_told": told.cores,
        "cores_untold": untold.cores,
        "cpu_share": (told.cores - untold.cores) / told.cores,
        "lag_ms_told": told.lag_p95_s * 1e3,
        "lag_ms_untold": untold.lag_p95_s * 1e3,
        "lag_more_ms": (told.lag_p95_s - untold.lag_p95_s) * 1e3,
    }


def met(figures: dict[str, Any]) -> bool:
    """Return whether all three targets are, and whether everyone was there."""
    return (
        max(figures["tell_p99_us"], figures["tell_in_calls_p99_us"]) <= TELL_P99_S * 1e6
        and figures["cpu_share"] <= CPU_SHARE
        and figures["lag_more_ms"] <= LAG_S * 1e3
        and bool(figures["recorded"] and figures["shown"])
    )


def show(console: Console, figures: dict[str, Any], *, calls: int) -> None:
    """Print the figures beside their targets, and each pair, by which one sees what noise is."""
    it = figures
    for number, pair in enumerate(it["pairs"], 1):
        console.print(
            f"pair {number}: {pair['cores_told']:.3f} cores told, {pair['cores_untold']:.3f} "
            f"untold ({pair['cpu_share']:+.1%}); lag p95 {pair['lag_ms_told']:.2f} ms told, "
            f"{pair['lag_ms_untold']:.2f} ms untold ({pair['lag_more_ms']:+.2f} ms)"
        )
    console.print(
        f"tell(): p50 {it['tell_p50_us']:.1f} µs, p99 {it['tell_p99_us']:.1f} µs "
        f"(target {TELL_P99_S * 1e6:.0f}); in the calls, {it['tell_in_calls']} of them: "
        f"p50 {it['tell_in_calls_p50_us']:.1f} µs, p99 {it['tell_in_calls_p99_us']:.1f} µs"
    )
    console.print(
        f"{calls} calls, {it['entries_a_second']:.0f} entries a second, {it['lost']} lost, "
        f"{it['recorded']} in the record, {it['shown']} messages to the console: "
        f"{it['cores_told']:.3f} cores told, {it['cores_untold']:.3f} untold: "
        f"{it['cpu_share']:.1%} of what the process takes (target {CPU_SHARE:.0%}), "
        f"{it['cpu_of_a_core']:.1%} of a core"
    )
    console.print(
        f"loop lag p95: {it['lag_p95_ms_told']:.2f} ms told, {it['lag_p95_ms_untold']:.2f} ms "
        f"untold, {it['lag_more_ms']:+.2f} ms (target {LAG_S * 1e3:+.0f}); of all pairs the median"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what telling costs.")
    parser.add_argument("--calls", type=int, default=10, help="at once, default 10")
    parser.add_argument("--facts", type=int, default=4000, help="told one by one, default 4000")
    parser.add_argument("--windows", type=int, default=8, help="of each kind, default 8")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each window, default 8")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, window by window")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
