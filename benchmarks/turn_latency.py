"""Measures how long answers take: our own part, compared with stock Pipecat, on read clips.

    .venv/bin/python benchmarks/turn_latency.py [--only own,heard,read] [--turns N] [--beside-late]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import Console

ROOT: Final = Path(__file__).resolve().parent.parent  # a script imports from its own folder only
PARTS: Final = ("own", "heard", "read")
DELAYS: Final = ("usual", "quick")


def main() -> int:
    """Measure and print; return 0, or 1 if a target was missed."""
    options = _parse_options()
    from operations.telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    logs.set_up(level="WARNING", folder=None)
    console = Console(soft_wrap=True, highlight=False)
    measure = {"own": _measure_own, "heard": _measure_heard, "read": _measure_read}
    found: dict[str, Any] = {}
    good = True
    for part in options.only:
        met, found[part] = measure[part](console, options)
        good = good and met
        if options.json:
            options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if good else 1


def _measure_own(console: Console, options: argparse.Namespace) -> tuple[bool, Any]:
    """Measure how the time of a healthy answer is split; return whether the target was met."""
    from benchmarks import report, session  # noqa: PLC0415 - Pipecat, after the log's rules

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            session.measure(options.turns, folder=Path(folder), beside_late=options.beside_late)
        )
    if len(found.ours) < options.turns:
        console.print(f"only {len(found.ours)} of {options.turns} pairs of turns were healthy:")
        console.print("\n".join(f"  {n} x {why}" for why, n in found.aside.most_common()))
    if not found.ours:
        return False, {}
    versus = "late" if options.beside_late else "bare Pipecat"
    report.show(console, found.ours, found.theirs, aside=found.aside, beside=versus)
    fates = ", ".join(f"{how} {count}" for how, count in found.early.items())
    console.print(f"early answers: {fates}; extra requests {found.extra_share:.1%}")
    enough = len(found.ours) == options.turns
    everything = report.as_json(found.ours, found.theirs, aside=found.aside)
    return enough and report.within_target(found.ours, found.theirs), everything


def _measure_heard(console: Console, options: argparse.Namespace) -> tuple[bool, Any]:
    """Measure what callers of both sides hear; return whether the targets were met."""
    from benchmarks import beside, latency_report  # noqa: PLC0415 - after the log's rules

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for delays in options.delays:
            sides = asyncio.run(
                beside.compare_sides(options.turns, delays=delays, folder=Path(folder) / delays)
            )
            found[delays] = sides
            latency_report.show(console, sides, delays=delays)
    met = all(latency_report.met(sides) for sides in found.values())
    return met, {delays: latency_report.as_json(sides) for delays, sides in found.items()}


def _measure_read(console: Console, options: argparse.Namespace) -> tuple[bool, Any]:
    """Play recordings of people reading, as callers; return whether the targets were met."""
    from benchmarks import latency_report, read_clips  # noqa: PLC0415 - after the log's rules

    try:
        clips = read_clips.load_clips(options.clips or read_clips.FOLDER)
    except read_clips.NoClipsError as missing:
        console.print(f"read clips: {missing}")
        return False, {}
    with tempfile.TemporaryDirectory() as folder:
        calls = read_clips.call_with_clips(clips, folder=Path(folder), delays="quick")
        found = asyncio.run(calls)
    return latency_report.show_clips(console, found), latency_report.clips_as_json(found)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure turns.")
    parser.add_argument("--turns", type=int, default=100, help="of each side, default 100")
    parser.add_argument("--only", type=_part_names, default=PARTS, help="any of own,heard,read")
    parser.add_argument("--delays", type=_part_names, default=DELAYS, help="any of usual,quick")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="of people reading")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, part by part")
    parser.add_argument(
        "--beside-late",
        action="store_true",
        help="compare with Holdline without `latency.answer_early` and `speak_early`",
    )
    options = parser.parse_args()
    for given, valid in ((options.only, PARTS), (options.delays, DELAYS)):
        if unknown := set(given) - set(valid):
            parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(valid)}")
    return options


def _part_names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
