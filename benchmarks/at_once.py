"""Measures whether callers who speak at once all hear a whole answer when the first voice dies.

    .venv/bin/python -m benchmarks.at_once [--callers 8] [--runs 5] [--busy 1] [--beside ...]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import load
from benchmarks.busy import busy
from benchmarks.callers import CallerPlan
from benchmarks.figures import NEVER_S, seconds
from lab.drill.servers import OURS, takes_workers
from operations.telemetry import logs
from runtime import clock
from runtime.exits import CommandError

STOCK: Final = "stock-pipecat"
WITHIN_S: Final = 0.3  # all callers ring, and later speak, within this time
GREETING_S: Final = 1.5  # the limit for the slowest greeting, from the ring
SIGNAL_S: Final = 0.5  # from the fault to the first question: time to signal all callers
CUT: Final = {"fault": "cut", "after_words": 7}  # as in the drill's rows
FIRST_VOICE: Final = "cartesia"


def main() -> int:
    """Measure and print; return 0, or 1 if a run missed the target."""
    options = _parse_options()
    logs.set_up(level="WARNING", folder=None)
    return asyncio.run(_measure_runs(options))


async def _measure_runs(options: argparse.Namespace) -> int:
    """Play all runs, print each and the verdict, and write the JSON; return the exit code."""
    console = Console(soft_wrap=True, highlight=False)
    sides = (OURS, STOCK) if options.beside else (OURS,)
    workers = options.workers if await takes_workers() else ""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        async with busy(options.busy):
            for number in range(1, options.runs + 1):
                for side in sides:
                    kind = workers if side == OURS else ""
                    result = await _run_once(side, kind, options, folder=Path(folder) / "server")
                    found.append({"run": number, "side": side, "workers": kind, **result})
                    console.print(
                        f"run {number} {side}: {_describe_run(result, callers=options.callers)}"
                    )
                    for item in result["wrong"]:
                        console.print(f"    {item}")
    good = [_is_good(row, callers=options.callers) for row in found if row["side"] == OURS]
    beside = f", {options.busy} other busy processes" if options.busy else ""
    verdict = "met" if all(good) else "MISSED"
    console.print(
        f"{options.callers} callers within {WITHIN_S:g} s while the first voice dies{beside}: "
        f"each greeted within {GREETING_S:g} s and every word once in {sum(good)} of "
        f"{len(good)} runs: {verdict}"
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if all(good) else 1


def _is_good(result: dict[str, Any], *, callers: int) -> bool:
    return result["whole"] == callers and result["greeting_s"] <= GREETING_S


def _describe_run(result: dict[str, Any], *, callers: int) -> str:
    firsts = (
        f"first word p50 {seconds(result['p50_s'])}, worst {seconds(result['worst_s'])} "
        f"(any speech {seconds(result['speech_s'])})"
    )
    return (
        f"{result['whole']} of {callers} callers whole, "
        f"slowest greeting {seconds(result['greeting_s'])}, {firsts}, "
        f"longest gap {result['gap_s']:.2f} s, "
        f"{result['by_standby']} answers with the standby's words"
    )


async def _run_once(
    side: str, workers: str, options: argparse.Namespace, *, folder: Path
) -> dict[str, Any]:
    """Run once; return the figures over all callers."""
    step_s = WITHIN_S / max(1, options.callers - 1)
    callers = [
        CallerPlan(
            number=number,
            rings_s=number * step_s,
            questions=load.questions_of(number, 1),
            speaks_s=number * step_s,
        )
        for number in range(options.callers)
    ]
    settings = load.Load(
        side=side, workers=workers, calls=options.callers, turns=1, delays=options.delays
    )
    try:
        evidence = await load.put_load(
            settings, folder=folder, callers=callers, meanwhile=_break_voice
        )
    except CommandError as broken:
        nothing = {"greeting_s": NEVER_S, "p50_s": NEVER_S, "worst_s": NEVER_S}
        nothing |= {"speech_s": NEVER_S, "gap_s": 0.0}
        return {"whole": 0, **nothing, "by_standby": 0, "wrong": [str(broken)]}
    run, judged = await asyncio.to_thread(load.judge_run, settings, evidence)
    turns = [turn for call in judged for turn in call.turns]
    return {
        "whole": run.figures.turns - run.figures.not_whole if not run.refused else 0,
        "greeting_s": run.greeting_s,
        "p50_s": run.figures.first_word_p50_s,
        "worst_s": max((turn.first_word_s for turn in turns), default=NEVER_S),
        "speech_s": max((turn.first_sound_s for turn in turns), default=NEVER_S),
        "gap_s": max((turn.gap_s for turn in turns), default=0.0),
        "by_standby": sum("elevenlabs" in call.voices for call in judged),
        "wrong": [*run.wrong, *([run.error] if run.error else [])],
        "refused": run.refused,
        "shares": dict(run.shares),
        "callers_late_s": run.callers_late_s,
    }


async def _break_voice(site: Any, groups: Sequence[Any]) -> None:
    """Break the voice once all callers have been greeted, then let them speak."""

    await asyncio.gather(*(group.wait_until_greeted() for group in groups))
    await site.control.set_faults(FIRST_VOICE, [CUT])
    ask_at = clock.monotonic() + SIGNAL_S
    for group in groups:
        group.go(ask_at)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Callers at once while the first voice dies.")
    parser.add_argument("--callers", type=int, default=8, help="default 8")
    parser.add_argument("--runs", type=int, default=5, help="in a row, default 5")
    parser.add_argument("--workers", default="auto", help="1 or auto, default auto")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="other busy processes")
    parser.add_argument("--beside", choices=[STOCK], help="measure this, too, run by run")
    parser.add_argument("--delays", choices=["quick", "usual"], default="usual")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
