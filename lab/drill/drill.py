"""The drill: breaks everything on purpose, and reports what callers heard."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from rich.console import Console

from lab.drill import markdown, report
from lab.drill.results import DrillPass, Results
from lab.drill.rows import HEALTHY, LOST
from lab.drill.runner import Job, run_all
from lab.drill.selection import chosen
from lab.drill.servers import OURS, check_side, is_bot, title_of
from lab.drill.table import count_met, judge_passes, missed, table
from runtime.exits import DONE, FAILED

SMOKE: Final = "smoke"  # one run of each row says little on a shared machine: misses run again
Play: TypeAlias = Callable[[Job, Results], Awaitable[DrillPass]]

FILE_COLUMNS: Final = 150  # columns of a table in a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of the command line.

    Attributes:
        matrix: `full` or `smoke`.
        only: Names of rows; empty for the whole matrix.
        jobs: How many runs of a row go on at once.
        baseline: The other side to measure, if any.
        folder: For results and report.
        bots: The files of a developer's own bots, which are measured instead; the first is judged.
    """

    matrix: str
    only: Sequence[str]
    baseline: str | None
    jobs: int
    folder: Path
    bots: Sequence[str] = ()

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides to measure; the first is judged, the others are for comparison."""
        if self.bots:
            return tuple(dict.fromkeys(self.bots))
        return (OURS, self.baseline) if self.baseline else (OURS,)

    @property
    def options(self) -> str:
        """The options as kept with the results; without the folder, which may move."""
        only = f" --only {','.join(self.only)}" if self.only else ""
        baseline = f" --baseline {self.baseline}" if self.baseline else ""
        bots = f" --bot {','.join(self.bots)}" if self.bots else ""
        return f"--matrix {self.matrix}{only}{baseline}{bots} --jobs {self.jobs}"


def check_wanted(wanted: Wanted) -> None:
    """Check the options.

    Raises:
        UsageError: An unknown matrix, row or baseline, or a row that a bot cannot play.
    """
    for side in wanted.sides:
        check_side(side)
    chosen(wanted.matrix, wanted.only, for_bots=bool(wanted.bots))


async def drill(wanted: Wanted, *, play: Play = run_all) -> int:
    """Run the rows, print the table, write the report; a smoke drill repeats its missed rows.

    Args:
        wanted: Checked with `check_wanted`.
        play: Plays a job's rows once, as one pass.

    Returns:
        0, or 1 if a row of the first side missed a target in its newest pass.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_COLUMNS
    results = await asyncio.to_thread(Results, wanted.folder)
    has_healthy = all(results.of(HEALTHY, side) for side in wanted.sides)
    job = Job(
        rows=chosen(
            wanted.matrix, wanted.only, healthy_known=has_healthy, for_bots=bool(wanted.bots)
        ),
        sides=wanted.sides,
        folder=wanted.folder,
        jobs=wanted.jobs,
        options=wanted.options,
        emit=lambda entry: _print_entry(console, entry),
    )
    with _cancel_on_sigterm():
        await play(job, results)
        console.print(table(job.rows, results, sides=job.sides))
        if wanted.matrix == SMOKE and (again := missed(job.rows, results, job.sides[0])):
            await _play_again(console, job, results, again, play=play)
    return await _write_report(console, job, results)


async def _write_report(console: Console, job: Job, results: Results) -> int:
    """Write the report of all passes, and return the exit code."""
    rows = chosen("full", (), for_bots=is_bot(job.sides[0]))
    await asyncio.to_thread(markdown.write_markdown, rows, results, job.folder)
    await asyncio.to_thread(results.write_figures)
    pictures = await asyncio.to_thread(report.write_report, rows, results, job.folder)
    console.print(f"Waterfalls of the runs: {pictures}")
    judged, *others = job.sides
    for side in (*others, judged):
        if names := missed(job.rows, results, side):
            by = f" by {title_of(side)}" if is_bot(side) else ""
            if side == judged or is_bot(side):
                console.print(f"Missed{by}: {', '.join(names)}")
    return FAILED if missed(job.rows, results, judged) else DONE


async def _play_again(
    console: Console, job: Job, results: Results, names: Sequence[str], *, play: Play
) -> None:
    """Play missed rows once more, and print both passes' results."""
    listed = ", ".join(names)
    console.print(f"Missed: {listed}. Other load may be the reason, so they run once more.")
    rows = [row for row in job.rows if row.name in names]
    await play(replace(job, rows=rows, options=f"{job.options} (again: {listed})"), results)
    console.print(table(rows, results, sides=job.sides))
    for row in rows:
        passes = judge_passes(row, job.sides[0], results)
        each = ", ".join(f"pass {result.within.number} {result.verdict}" for result in passes[-2:])
        console.print(f"{row.name}: {each}; met in {count_met(passes)} passes of this folder")


@contextmanager
def _cancel_on_sigterm() -> Iterator[None]:
    """Stop servers and lab on SIGTERM, as on Ctrl-C."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task  # noqa: S101 - a coroutine runs in one
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _print_entry(console: Console, entry: dict[str, Any]) -> None:
    found = entry["measures"]
    measures = ", ".join(f"{name} {_short_value(name, value)}" for name, value in found.items())
    line = f"{entry['row']} {entry['side']} {entry['run']}: {entry.get('error') or measures}"
    console.print(line, soft_wrap=True)


def _short_value(name: str, value: float) -> str:
    return "never" if value == LOST and name.endswith("_s") else f"{value:.3g}"
