"""Processor time and memory of a process, read from outside.

Only on Linux, from `/proc`: the measured process does nothing for it.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Resources that processes have used since their start.

    Attributes:
        cpu_s: Of all their threads, in and out of the kernel.
        loop_s: Of their first threads alone, in which the event loops run.
        memory_mib: Resident now.
    """

    cpu_s: float
    loop_s: float
    memory_mib: float

    def since(self, before: "Used") -> "Used":
        """Return the difference; memory is its growth."""
        return Used(
            cpu_s=self.cpu_s - before.cpu_s,
            loop_s=self.loop_s - before.loop_s,
            memory_mib=self.memory_mib - before.memory_mib,
        )


def used_by(pids: Iterable[int]) -> Used:
    """Return the sum over these processes."""
    found = [_used(pid) for pid in pids]
    return Used(
        cpu_s=sum(item.cpu_s for item in found),
        loop_s=sum(item.loop_s for item in found),
        memory_mib=sum(item.memory_mib for item in found),
    )


def with_children(said: str) -> tuple[int, ...]:
    """Return the process whose command line holds these words, and its descendants.

    Raises:
        LookupError: There is none.
    """
    parents = {int(path.name): _parent(path) for path in PROC.iterdir() if path.name.isdigit()}
    tree = [pid for pid in parents if pid != os.getpid() and said in _command(PROC / str(pid))]
    if not tree:
        raise LookupError(f"no process says {said!r}")
    for pid in tree:  # grows while it is walked
        tree += [child for child, parent in parents.items() if parent == pid and child not in tree]
    return tuple(tree)


def _used(pid: int) -> Used:
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3): exact, where /proc counts in ticks of 10 ms
    ran_ns = int((PROC / str(pid) / "schedstat").read_text(encoding="ascii").split()[0])
    pages = int((PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    return Used(
        cpu_s=time.clock_gettime(clock),
        loop_s=ran_ns / 1e9,
        memory_mib=pages * PAGE_BYTES / MIB,
    )


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
    except OSError:  # it has just ended
        return 0


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
