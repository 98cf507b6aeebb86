"""Resources that processes use, read from /proc (Linux only)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.drill.runner import CpuTimes, read_cpu_times

PROC: Final = Path("/proc")
TICKS: Final = os.sysconf("SC_CLK_TCK")
TIMES: Final = slice(11, 15)  # fields after the name: its CPU times, those of ended children
PARENT: Final = 1  # the field after the name with the parent's pid


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldResources:
    """Resources that some processes hold at a moment.

    Attributes:
        memory_mb: Resident memory; a page that several of them share counts once.
        descriptors: Open files and sockets.
    """

    memory_mb: float
    descriptors: int


def family(pid: int) -> list[int]:
    """Return a process and its running descendants."""
    children: dict[int, list[int]] = {}
    for path in PROC.iterdir():
        if path.name.isdecimal() and (fields := _fields(int(path.name))):
            children.setdefault(int(fields[PARENT]), []).append(int(path.name))
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += children.get(current, [])
    return found


def spent_s(pid: int) -> float:
    """Return the CPU time of a process and its descendants, in seconds."""
    return sum(sum(map(int, _fields(number)[TIMES])) for number in family(pid)) / TICKS


def held_resources(pid: int) -> HeldResources:
    """Return the resources that a process and its descendants hold."""
    pids = family(pid)
    return HeldResources(
        memory_mb=sum(map(_memory_mb, pids)),
        descriptors=sum(map(_descriptors, pids)),
    )


def _fields(pid: int) -> list[str]:
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _memory_mb(pid: int) -> float:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208 - counted, not read
    except OSError:
        return 0


class Shares:
    """Measures which processes keep the machine busy between two moments."""

    def __init__(self, pids: dict[str, int]) -> None:
        """Start measuring.

        Args:
            pids: The processes to measure separately, by name.
        """
        self._pids = pids
        self._before = {name: spent_s(pid) for name, pid in pids.items()}
        self._machine = read_cpu_times()

    def add(self, pids: dict[str, int]) -> None:
        """Measure further processes separately, from now on."""
        self._pids = self._pids | pids
        self._before |= {name: spent_s(pid) for name, pid in pids.items()}

    def until_now(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return by name the CPU seconds used, and the cores kept busy, with `others` if known."""
        seconds = {name: spent_s(pid) - self._before[name] for name, pid in self._pids.items()}
        now = read_cpu_times()
        took_s = _took_s(self._machine, now)
        cores = {name: used / took_s for name, used in seconds.items()}
        if self._machine is not None and now is not None:
            machine = (now.machine_s - self._machine.machine_s) / took_s
            cores["others"] = max(0.0, machine - sum(cores.values()))
        return seconds, cores


def _took_s(before: CpuTimes | None, after: CpuTimes | None) -> float:
    return max(1e-3, after.at_s - before.at_s) if before and after else 1e-3


def add_up(shares: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return shares by name; those whose names differ only by a number (`callers-2`) are added."""
    found: dict[str, float] = {}
    for name, share in shares:
        group = name.partition("-")[0]
        found[group] = found.get(group, 0.0) + share
    return found
