"""Holds calls in every seat for half an hour, and looks for drift and lost turns.

    .venv/bin/python -m benchmarks.soak [--minutes 30] [--calls N] [--workers auto]
    .venv/bin/python -m benchmarks.soak --faults [--minutes 30] [--seed 1] [--out FOLDER]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
from rich.console import Console

from benchmarks import faulty_soak
from benchmarks.busy import busy
from benchmarks.callers import CallerPlan
from benchmarks.figures import NEVER_S, Slope, TurnFigures, seconds, slope, sum_up
from benchmarks.heard import judge_all
from benchmarks.load import (
    START_DELAY_S,
    Load,
    ResourceLog,
    crowds,
    follow,
    open_site,
    questions_of,
    script_for,
)
from benchmarks.usage import Shares, add_up
from lab.drill.servers import OURS, takes_workers
from operations.telemetry import logs
from runtime import clock

Points: TypeAlias = list[tuple[float, float]]

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "docs" / "capacity-results.json"
CAPACITY_SHARE: Final = 0.8  # of the measured capacity
TURNS: Final = 8  # of each call: a minute and a half
LAG_EVERY_S: Final = 1.0  # between two measurements of the lag
RESOURCES_EVERY_S: Final = 5.0  # between two measurements of memory and descriptors
ASK_S: Final = 30.0  # the longest wait for the answer to a health check
WARM_UP_SHARE: Final = 0.15  # of the time: the warm-up, in which caches fill
# Over the whole time, if the growth is significant; chosen.
ALLOWED_GROWTH: Final[Mapping[str, float]] = {
    "first word, s": 0.10,
    "lag, ms": 10.0,
    "memory, MB": 15.0,
    "descriptors": 5.0,
}


def main() -> int:
    """Measure and print; return 0, 1 if the target was missed, 2 without a number of calls."""
    options = _parse_options()
    logs.set_up(level="WARNING", folder=None)
    if options.faults:
        return faulty_soak.run(options)
    return asyncio.run(_measure_soak(options))


async def _measure_soak(options: argparse.Namespace) -> int:
    console = Console(soft_wrap=True, highlight=False)
    calls = options.calls or _share_of_capacity(console)
    if calls is None:
        return 2
    workers = options.workers if await takes_workers() else ""
    plan = Soak(
        side=OURS,
        workers=workers,
        calls=calls,
        minutes=options.minutes,
        turns=TURNS,
        delays=options.delays,
    )
    console.print(f"{calls} seats for {options.minutes:g} minutes, then the calls are judged")
    with tempfile.TemporaryDirectory() as folder:
        async with busy(options.busy):
            found = await soak(plan, folder=Path(folder) / "server")
    for line in lines(found):
        console.print(line)
    if options.json:
        text = json.dumps(as_json(found), indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if found.good else 1


def _share_of_capacity(console: Console) -> int | None:
    """Return four fifths of the calls that passed in `capacity.py`; `None` without its results."""
    try:
        runs: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError):
        console.print(f"--calls is not given, and {RESULTS} has no results; run capacity.py first")
        return None
    ours = [run for run in runs if run["side"] == "holdline"]
    kind = next((name for name in ("auto", "") if any(r["workers"] == name for r in ours)), "1")
    missed = [row["calls"] for row in ours if row["workers"] == kind and not row["holds"]]
    held = [
        row["calls"]
        for row in ours
        if row["workers"] == kind and row["calls"] < min(missed, default=math.inf)
    ]
    return max(1, math.floor(CAPACITY_SHARE * max(held, default=1)))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hold calls for a long time.")
    parser.add_argument("--minutes", type=float, default=30.0, help="default 30")
    parser.add_argument("--calls", type=int, help="at once; default 80 %% of the measured capacity")
    parser.add_argument("--workers", default="auto", help="1 or auto, default auto")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="other busy processes")
    parser.add_argument("--delays", choices=["quick", "usual"], default="quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="slopes, and every moment")
    parser.add_argument("--faults", action="store_true", help="two machines, a fault each minute")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="folder for records")
    return parser.parse_args()


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """Settings of the run.

    Attributes:
        calls: The number of seats. When a call is over, its caller calls again at once.
        turns: The number of turns in each call.
    """

    side: str
    workers: str
    calls: int
    minutes: float
    turns: int
    delays: str


@dataclass(slots=True, kw_only=True)
class SoakFindings:
    """Findings of the run.

    Attributes:
        points: The values of each measure, each with its time in seconds of the run.
        errors: Errors of calls that ended early or could not be made, each with its count.
    """

    minutes: float
    calls: int
    figures: TurnFigures
    points: Mapping[str, Points]
    shares: Mapping[str, float]
    errors: list[str] = field(default_factory=list[str])

    @property
    def slopes(self) -> dict[str, Slope | None]:
        """The slope of each measure after the warm-up; `None` if there are too few values."""
        found: dict[str, Slope | None] = {}
        for name, points in self.points.items():
            warm = [point for point in points if point[0] >= WARM_UP_SHARE * self.minutes * 60]
            found[name] = slope(warm) if len(warm) > 2 else None
        return found

    @property
    def drifting(self) -> tuple[str, ...]:
        """The measures that certainly grow by more than allowed, or have too few values."""
        return tuple(
            name
            for name, found in self.slopes.items()
            if found is None or found.drifts(self.minutes, allowed=ALLOWED_GROWTH[name])
        )

    @property
    def good(self) -> bool:
        """Whether no measure drifts, every turn was whole and every call succeeded."""
        return not (self.drifting or self.figures.not_whole or self.errors)


async def soak(plan: Soak, *, folder: Path) -> SoakFindings:
    """Hold calls for the planned time, then judge them."""
    over_s = plan.minutes * 60
    callers = [
        CallerPlan(
            number=number,
            rings_s=number * 0.7,
            questions=questions_of(number, plan.turns),
            until_s=over_s,
        )
        for number in range(plan.calls)
    ]
    load = Load(side=plan.side, workers=plan.workers, calls=plan.calls, turns=plan.turns)
    resources = ResourceLog()
    lag: Points = []
    async with open_site(
        plan.side, folder=folder, delays=plan.delays, options=load.options
    ) as site:
        started_at = clock.monotonic() + START_DELAY_S
        async with (
            crowds(script_for(site.agent.url), callers, start_at=started_at) as groups,
            follow(resources, site.agent.pid, every_s=RESOURCES_EVERY_S),
            _measure_lag(site.agent.url, lag),
        ):
            pids = {"server": site.agent.pid, "simulators": site.lab.pid}
            shares = Shares(pids | {f"callers-{at}": group.pid for at, group in enumerate(groups)})
            by_group = await asyncio.gather(*(group.calls() for group in groups))
            _, cores = await asyncio.to_thread(shares.until_now)
    held = [call for group in by_group for call in group]
    judged = await asyncio.to_thread(judge_all, held, started_at=started_at)
    turns = [turn for call in judged for turn in call.turns]
    heard = [(turn.at_s, turn.first_word_s) for turn in turns if turn.first_word_s < NEVER_S]
    samples = [(at - started_at, sample) for at, sample in resources.samples]
    samples = [sample for sample in samples if 0 <= sample[0] <= over_s]  # before callers leave
    return SoakFindings(
        minutes=plan.minutes,
        calls=len(held),
        figures=sum_up(turns, expected=plan.turns * sum(not call.refused for call in held)),
        points={
            "first word, s": [point for point in heard if point[0] <= over_s],
            "lag, ms": [(at - started_at, 1000 * took_s) for at, took_s in lag],
            "memory, MB": [(at_s, sample.memory_mb) for at_s, sample in samples],
            "descriptors": [(at_s, float(sample.descriptors)) for at_s, sample in samples],
        },
        shares=add_up(cores.items()),
        errors=[
            f"{times} of {len(held)}: {error}"
            for error, times in Counter(call.error for call in held if call.error).most_common()
        ],
    )


@asynccontextmanager
async def _measure_lag(url: str, lag: Points) -> AsyncIterator[None]:
    """Ask for the server's health repeatedly during the block; the delay shows its lag."""
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
        task = group.create_task(_ask_repeatedly(http, url, lag))
        try:
            yield
        finally:
            task.cancel()


async def _ask_repeatedly(http: aiohttp.ClientSession, url: str, lag: Points) -> None:
    while True:
        asked_at = clock.monotonic()
        try:
            async with http.get(f"{url}/healthz") as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            pass  # the time until the failure counts
        lag.append((asked_at, clock.monotonic() - asked_at))
        await asyncio.sleep(LAG_EVERY_S)


def lines(found: SoakFindings) -> Iterator[str]:
    """Yield the findings as lines of text, the verdict last."""
    figures = found.figures
    yield (
        f"{found.calls} calls, {figures.turns} turns, {figures.not_whole} lost or not whole, "
        f"{figures.torn} torn; first word p50 {seconds(figures.first_word_p50_s)}, "
        f"p95 {seconds(figures.first_word_p95_s)}, {figures.in_budget:.1%} within budget"
    )
    yield "cores: " + ", ".join(f"{name} {share:.2f}" for name, share in found.shares.items())
    for name, trend in found.slopes.items():
        allowed = ALLOWED_GROWTH[name]
        yield f"{name}: {_describe_slope(trend, minutes=found.minutes, allowed=allowed)}"
    yield from (f"calls that ended early, {line}" for line in found.errors)
    drifting = ", ".join(found.drifting) or "nothing"
    yield f"drifting: {drifting}; turns lost: {figures.not_whole}: {_verdict_word(good=found.good)}"


def _describe_slope(found: Slope | None, *, minutes: float, allowed: float) -> str:
    if found is None:
        return "too few measurements"
    change = f"{found.a_minute:+.4f} a minute, give or take {found.give_or_take:.4f}"
    over = f"{found.a_minute * minutes:+.2f} in {minutes:g} minutes (limit {allowed:g})"
    return f"from {found.start:.2f}, {change}; {over}"


def _verdict_word(*, good: bool) -> str:
    return "met" if good else "MISSED"


def as_json(found: SoakFindings) -> dict[str, Any]:
    """Return the findings as JSON values."""
    slopes = {name: asdict(each) if each else None for name, each in found.slopes.items()}
    return {**asdict(found), "slopes": slopes, "drifting": list(found.drifting)}


if __name__ == "__main__":
    sys.exit(main())
