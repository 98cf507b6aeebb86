"""Runs rows, ours and stock Pipecat's, and stores the results."""

import asyncio
import itertools
import multiprocessing
import os
import platform
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from lab.callers import NotConnectedError
from lab.drill.bots import play_bot
from lab.drill.measured import MeasuredRun
from lab.drill.plans import play
from lab.drill.results import DrillPass, Results, turn_as_json
from lab.drill.rig import Rig, open_rig
from lab.drill.rows import CallPlan, Row
from lab.drill.servers import OURS, ROOT, is_bot
from lab.drill.sound import RATE_HZ
from lab.recording import write_recording
from runtime import clock
from runtime.exits import CommandError, UsageError

GIT_S: Final = 10.0
STAT: Final = Path("/proc/stat")
BUSY_COLUMNS: Final = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal
OWN_COLUMNS: Final = slice(11, 15)  # in /proc/PID/stat, after the name: own times, children's
UNKNOWN: Final = ""


def describe_machine() -> str:
    """Return a short description of the machine."""
    cores = os.cpu_count() or 1
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {cores} cores, Python {python}"


async def read_commit(folder: Path) -> str:
    """Return a checkout's commit, with `+` if tracked files differ; empty if there is none."""
    try:
        commit = await _git_output(folder, "rev-parse", "--short=10", "HEAD")
        changed = await _git_output(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, TimeoutError, ValueError):
        return UNKNOWN
    return f"{commit}+" if changed else commit


async def _git_output(folder: Path, *arguments: str) -> str:
    """Return what a git command prints.

    Raises:
        OSError: There is no git.
        TimeoutError: It takes longer than `GIT_S`.
        ValueError: It fails.
    """
    process = await asyncio.create_subprocess_exec(
        "git", *arguments,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(GIT_S):
        output, _ = await process.communicate()
    if process.returncode:
        raise ValueError(f"git {arguments[0]} ended with {process.returncode}")
    return output.decode().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """CPU time used up to a moment, in seconds.

    Attributes:
        at_s: The moment, on the monotonic clock.
        machine_s: By all processes.
        own_s: By this process and its children.
    """

    at_s: float
    machine_s: float
    own_s: float


def read_cpu_times() -> CpuTimes | None:
    """Return the current times; `None` if the system does not provide them."""
    try:
        first, *_ = STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    ticks = [int(word) for word in first.split()[1:]]
    machine_s = sum(ticks[index] for index in BUSY_COLUMNS) / os.sysconf("SC_CLK_TCK")
    return CpuTimes(at_s=clock.monotonic(), machine_s=machine_s, own_s=_own_cpu_s())


def others_cores(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """Return how many cores other processes used between two moments; `None` if unknown."""
    if before is None or after is None or after.at_s <= before.at_s:
        return None
    others_s = (after.machine_s - before.machine_s) - (after.own_s - before.own_s)
    return max(0.0, others_s / (after.at_s - before.at_s))


def _own_cpu_s() -> float:
    """Return the CPU time of this process and its children, those that still run included."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    running = (
        _child_cpu_s(active_child.pid)
        for active_child in multiprocessing.active_children()
        if active_child.pid
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in spent) + sum(running)


def _child_cpu_s(pid: int) -> float:
    """Return the CPU time of a child and of its ended children, in seconds; 0 if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    times = stat.rpartition(")")[2].split()[OWN_COLUMNS]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


RUN_S: Final = 150.0  # the longest that a run of an ordinary row can take
LONG_RUN_S: Final = 900.0  # of the rows that hold many turns
APART_S: Final = 3.0  # between simultaneous calls: a question and the wait for its answer
SETTLE_S: Final = 2.0  # a wait, because a server that has just started is still busy
LONG_PLANS: Final = (
    CallPlan.CHANCE,
    CallPlan.CLIPS,
    CallPlan.CROWD,
    CallPlan.ENDLESS,
    CallPlan.FLAPPING,
    CallPlan.RECOVERY,
)
RUN_FAILURES: Final = (
    aiohttp.ClientError,
    CommandError,
    ConnectionError,
    NotConnectedError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One pass of the drill.

    Attributes:
        rows: In this order.
        sides: Ours, and stock Pipecat's if it should be measured too; or developers' own bots.
        folder: For results and the servers' files.
        jobs: How many runs of a row take place at once; each has its own lab and server.
        options: Of the command line, for the record.
        emit: Called after each run.
    """

    rows: Sequence[Row]
    sides: Sequence[str]
    folder: Path
    jobs: int
    options: str
    emit: Callable[[dict[str, Any]], None]


async def run_all(job: Job, results: Results) -> DrillPass:
    """Run every row on every side as one pass, which is recorded before its first run.

    Each run is stored as soon as it is over. Stock Pipecat is measured only for rows that have no
    results of it yet; a developer changes their bots.

    Raises:
        UsageError: A bot cannot be measured.
    """
    rounds = [
        (row, side)
        for row, side in itertools.product(job.rows, job.sides)
        if side == OURS or is_bot(side) or not (row.ours_alone or results.of(row.name, side))
    ]
    begun = await asyncio.to_thread(results.begin, **await _describe_pass(job, rounds))
    folder = job.folder / "runs" / f"pass-{begun.number}"  # apart from earlier passes' files
    for row, side in rounds:
        at_once = 1 if row.alone else job.jobs
        for first in range(1, row.runs + 1, at_once):
            numbers = range(first, min(first + at_once, row.runs + 1))
            before = await asyncio.to_thread(read_cpu_times)
            entries = await _run_at_once(row, side, numbers, folder=folder)
            others = others_cores(before, await asyncio.to_thread(read_cpu_times))
            for item in entries:
                facts = {"pass": begun.number, "together": at_once, "others_cores": others}
                entry = facts | item
                await asyncio.to_thread(results.add, entry)
                job.emit(entry)
    return begun


async def _describe_pass(job: Job, rounds: Sequence[tuple[Row, str]]) -> dict[str, Any]:
    """Return what is recorded about a pass before its first run."""
    planned = {
        side: {row.name: row.runs for row, other in rounds if other == side} for side in job.sides
    }
    return {
        "began": clock.utc_now().isoformat(timespec="seconds"),
        "commit": await read_commit(ROOT),
        "options": job.options,
        "machine": describe_machine(),
        "planned": {side: rows for side, rows in planned.items() if rows},
    }


async def _run_at_once(
    row: Row, side: str, numbers: Sequence[int], *, folder: Path
) -> list[dict[str, Any]]:
    """Play some runs of a row at once, each starting `APART_S` after the one before.

    Raises:
        UsageError: A developer's bot cannot be measured.
    """
    # No call begins before all servers have started: starting one would disturb calls.
    ready = asyncio.Barrier(len(numbers))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    _play_run(row, side, number, folder=folder, ready=ready, after_s=after_s)
                )
                for number, after_s in zip(numbers, itertools.count(0.0, APART_S), strict=False)
            ]
    except ExceptionGroup as raised:
        unusable = raised.subgroup(UsageError)
        if unusable is None:
            raise
        raise next(_errors_in(unusable)) from None
    return [task.result() for task in tasks]


async def _play_run(
    row: Row, side: str, number: int, *, folder: Path, ready: asyncio.Barrier, after_s: float
) -> dict[str, Any]:
    """Play one run; return its entry, with an `error` for one of `RUN_FAILURES`."""
    files = folder / f"{row.name}-{side.replace('/', '_')}-{number}"
    entry: dict[str, Any] = {
        "at": clock.utc_now().isoformat(timespec="seconds"),
        "row": row.name,
        "side": side,
        "run": number,
        "measures": {},
        "turns": [],
    }
    run = MeasuredRun()
    try:
        async with asyncio.timeout(LONG_RUN_S if row.plan in LONG_PLANS else RUN_S):
            async with AsyncExitStack() as stack:
                rig = await _open_rig_together(
                    stack, row, side, number=number, folder=files, ready=ready
                )
                await asyncio.sleep(SETTLE_S + after_s)
                await (play_bot(rig, run, side) if is_bot(side) else play(rig, run))
    except RUN_FAILURES as broken:
        entry["error"] = f"{type(broken).__name__}: {broken}"
    except BaseExceptionGroup as group:
        known, other = group.split(RUN_FAILURES)
        if other is not None or known is None:
            raise
        errors = _errors_in(known)
        entry["error"] = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
    await asyncio.to_thread(_keep_sound, run, files)
    entry["measures"] = run.measures
    entry["turns"] = [turn_as_json(turn) for turn in run.turns]
    return entry


async def _open_rig_together(
    stack: AsyncExitStack, row: Row, side: str, *, number: int, folder: Path, ready: asyncio.Barrier
) -> Rig:
    """Start a lab and a server; even if that fails, wait until the other runs have theirs."""
    try:
        return await stack.enter_async_context(open_rig(row, side, run=number, folder=folder))
    finally:
        await ready.wait()


def _keep_sound(run: MeasuredRun, folder: Path) -> None:
    """Write each turn's recording, so that a person can check a verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, turn in enumerate(run.turns, start=1):
        write_recording(folder / f"turn-{number}.wav", turn.recording, rate_hz=RATE_HZ)


def _errors_in(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """Yield the exceptions of a group, also those in groups inside it."""
    for exception in group.exceptions:
        if isinstance(exception, BaseExceptionGroup):
            yield from _errors_in(exception)
        else:
            yield exception
