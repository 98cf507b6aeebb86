"""Runs rows, one after the other, ours and stock Pipecat's, and keeps what they yield."""

import asyncio
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from bot import clock
from bot.drilling.measured import Run
from bot.drilling.places import RATE_HZ
from bot.drilling.plans import play
from bot.drilling.results import Results, turn_as_json
from bot.drilling.rows import Plan, Row
from bot.drilling.stage import staged
from bot.exits import CommandError
from bot.lab_callers import NotConnectedError
from bot.recording import write

RUN_S: Final = 150.0  # the longest that a run of an ordinary row can take
LONG_RUN_S: Final = 900.0  # of the rows that hold many turns
LONG: Final = (Plan.CHANCE, Plan.CROWD, Plan.FLAPPING, Plan.RECOVERY)
BROKEN: Final = (
    aiohttp.ClientError,
    CommandError,
    ConnectionError,
    NotConnectedError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one pass of the drill is to do.

    Attributes:
        rows: In this order.
        sides: Ours, and stock Pipecat's if it is to be measured too.
        folder: Where results and the servers' files go.
        tell: Told of each run when it is over.
    """

    rows: Sequence[Row]
    sides: Sequence[str]
    folder: Path
    tell: Callable[[dict[str, Any]], None]


async def run_all(job: Job, results: Results) -> None:
    """Run every row on every side; each run is kept as soon as it is over."""
    began = clock.utc_now().isoformat(timespec="seconds")
    for row in job.rows:
        for side in job.sides:
            for number in range(1, row.runs + 1):
                entry = await _run(row, side, number, folder=job.folder)
                entry = {"pass": began, "machine": machine(), **entry}
                await asyncio.to_thread(results.add, entry)
                job.tell(entry)


async def _run(row: Row, side: str, number: int, *, folder: Path) -> dict[str, Any]:
    files = folder / "runs" / f"{row.name}-{side}-{number}"
    entry: dict[str, Any] = {
        "at": clock.utc_now().isoformat(timespec="seconds"),
        "row": row.name,
        "side": side,
        "run": number,
        "measures": {},
        "turns": [],
    }
    run = Run()
    try:
        async with asyncio.timeout(LONG_RUN_S if row.plan in LONG else RUN_S):
            async with staged(row, side, run=number, folder=files) as stage:
                await play(stage, run)
    except BROKEN as broken:
        entry["error"] = f"{type(broken).__name__}: {broken}"
    except BaseExceptionGroup as group:
        known, other = group.split(BROKEN)
        if other is not None or known is None:
            raise
        entry["error"] = "; ".join(_leaves(known))
    await asyncio.to_thread(_keep_sound, run, files)
    entry["measures"] = run.measures
    entry["turns"] = [turn_as_json(each) for each in run.turns]
    return entry


def _keep_sound(run: Run, folder: Path) -> None:
    """Write what was heard in each turn, for whoever doubts a verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(run.turns, start=1):
        write(folder / f"turn-{number}.wav", each.recording, rate_hz=RATE_HZ)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[str]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield f"{type(each).__name__}: {each}"


def machine() -> str:
    """Return what the figures were measured on, in a few words."""
    cores = os.cpu_count() or 1
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {cores} cores, Python {python}"
