"""The circumstances of a measurement: code, machine, and other load."""

import asyncio
import multiprocessing
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot import clock

GIT_S: Final = 10.0
STAT: Final = Path("/proc/stat")
BUSY: Final = (0, 1, 2, 5, 6, 7)  # in its first line: user, nice, system, irq, softirq, steal
OWN: Final = slice(11, 15)  # in /proc/PID/stat after the name: its own times, and its children's
UNKNOWN: Final = ""


def describe_machine() -> str:
    """Return a short description of the machine."""
    cores = os.cpu_count() or 1
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {cores} cores, Python {python}"


async def read_commit(folder: Path) -> str:
    """Return a checkout's commit, with `+` if files differ; empty if there is none."""
    try:
        commit = await _git(folder, "rev-parse", "--short=10", "HEAD")
        changed = await _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, TimeoutError, ValueError):
        return UNKNOWN
    return f"{commit}+" if changed else commit


async def _git(folder: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "git", *arguments,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(GIT_S):
        told, _ = await process.communicate()
    if process.returncode:
        raise ValueError(f"git {arguments[0]} ended with {process.returncode}")
    return told.decode().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """The processors' work up to a moment, in seconds.

    Attributes:
        at_s: The moment.
        machine_s: Of all processes.
        own_s: Of this process and its children.
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
    machine_s = sum(ticks[index] for index in BUSY) / os.sysconf("SC_CLK_TCK")
    return CpuTimes(at_s=clock.monotonic(), machine_s=machine_s, own_s=_own_s())


def others_cores(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """Return how many cores other processes used between two moments; `None` if unknown."""
    if before is None or after is None or after.at_s <= before.at_s:
        return None
    others_s = (after.machine_s - before.machine_s) - (after.own_s - before.own_s)
    return max(0.0, others_s / (after.at_s - before.at_s))


def _own_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    running = (
        _spent_s(active_child.pid)
        for active_child in multiprocessing.active_children()
        if active_child.pid
    )
    return sum(item.ru_utime + item.ru_stime for item in spent) + sum(running)


def _spent_s(pid: int) -> float:
    """Return the CPU time of a running child."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    times = told.rpartition(")")[2].split()[OWN]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
