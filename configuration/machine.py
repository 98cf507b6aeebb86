"""The cores and the memory that this machine or control group allows, and how many workers fit."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from configuration.settings import Settings
from runtime.exits import UsageError

MEGABYTE: Final = 2**20
# Measured without the files' own pages, which the kernel can drop: 48 MB for the supervisor; 257 MB
# for a worker without calls, and 2 to 4 MB for each call.
SUPERVISOR_BYTES: Final = 60 * MEGABYTE
WORKER_BYTES: Final = 300 * MEGABYTE
NEEDED_BYTES: Final = SUPERVISOR_BYTES + WORKER_BYTES
NO_LIMIT_BYTES: Final = 2**60  # version 1 writes a number of this size instead of "max"

PHYSICAL: Final = "physical memory"
# Of control groups of version 2 and 1: the limit and the events; the quota and its period, which
# are in one file in version 2.
MEMORY_FILES: Final = (
    ("memory.max", "memory.events"),
    ("memory.limit_in_bytes", "memory.oom_control"),
)
CPU_FILES: Final = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))

GROUPS: Final = Path("/sys/fs/cgroup")
PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimit:
    """How much memory all processes of a server may use together.

    Attributes:
        bytes: The smallest limit that applies.
        source: The control group's file, or `PHYSICAL`.
    """

    bytes: int
    source: str

    @property
    def workers(self) -> int:
        """How many workers fit; 0 if there is not enough memory for one."""
        return max(0, (self.bytes - SUPERVISOR_BYTES) // WORKER_BYTES)

    def __str__(self) -> str:
        return f"{self.bytes // MEGABYTE} MB ({self.source})"


def read_limit(*, groups: Path = GROUPS, proc: Path = PROC) -> MemoryLimit | None:
    """Return the smallest limit of the control groups and the machine; `None` if it is unknown.

    A limit of any group above ours applies, too. In a container, the path in `/proc/self/cgroup`
    may be the host's, while our own group is mounted at the root; so both places are read.
    """
    limits = [
        MemoryLimit(bytes=limit, source=str(folder / name))
        for folder, name, _ in _own_groups("memory", MEMORY_FILES, groups, proc)
        if (limit := _read_number(folder / name)) is not None and limit < NO_LIMIT_BYTES
    ]
    if physical := _physical_bytes(proc):
        limits.append(MemoryLimit(bytes=physical, source=PHYSICAL))
    return min(limits, key=lambda limit: limit.bytes, default=None)


def count_oom_kills(*, groups: Path = GROUPS, proc: Path = PROC) -> int | None:
    """Return how many processes were killed for memory; `None` if it is unknown.

    The count is that of our control group, or else of a group above it, or else of the machine.
    """
    files = [
        folder / events for folder, _, events in _own_groups("memory", MEMORY_FILES, groups, proc)
    ]
    counts = (_read_field(path, "oom_kill") for path in (*files, proc / "vmstat"))
    return next((count for count in counts if count is not None), None)


def killed_for_memory(kills_before: int | None) -> str:
    """Explain a SIGKILL that we did not send; empty if it had another cause than memory.

    Where the kernel counts such kills, a count that did not rise rules memory out. Where it does
    not, a limit on the group is taken for the cause.

    Args:
        kills_before: `count_oom_kills` when the process was started.
    """
    kills, limit = count_oom_kills(), read_limit()
    if kills is not None and kills_before is not None:
        found = kills > kills_before
    else:
        found = limit is not None and limit.source != PHYSICAL
    return f"had no memory left below the limit of {limit}" if found else ""


MIN_WORKERS: Final = 2  # chosen: with one, calls would wait 6 s for the replacement if it died


def own_cores(*, groups: Path = GROUPS, proc: Path = PROC) -> int:
    """Return how many whole cores this process may use, at least one.

    Beside the machine's, the smallest quota of processor time counts: of our control group or of
    any group above it, such as that of a container with `--cpus`.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quotas = [
        max(1, int(text[0]) // int(text[1]))
        for folder, *names in _own_groups("cpu", CPU_FILES, groups, proc)
        if (text := _read_words(folder, names)) and all(map(str.isdecimal, text))
    ]
    return min((cores, *quotas))


def worker_count(settings: Settings) -> int:
    """Return how many workers to run: as many as wanted, if the memory suffices; at least one.

    Without `server.workers`, one for each core is wanted, but no fewer than `MIN_WORKERS`.
    """
    wanted = settings.server.workers or max(MIN_WORKERS, own_cores())
    limit = read_limit()
    return wanted if limit is None else max(1, min(wanted, limit.workers))


def check_memory(settings: Settings) -> str:
    """Return a warning if fewer workers run than wanted; empty otherwise.

    Without `server.workers`, only fewer than `MIN_WORKERS` are worth a warning.

    Raises:
        UsageError: There is not enough memory for one worker.
    """
    limit, workers = read_limit(), worker_count(settings)
    if limit is None:
        return ""
    if limit.bytes < NEEDED_BYTES:
        raise UsageError(
            f"the memory limit is {limit}; a server needs {NEEDED_BYTES // MEGABYTE} MB, and "
            f"{WORKER_BYTES // MEGABYTE} MB more for each further worker"
        )
    wanted = settings.server.workers or MIN_WORKERS
    if workers >= wanted:
        return ""
    return (
        f"the memory limit is {limit}: running {workers} of {wanted} workers; for a further one it "
        f"needs {WORKER_BYTES // MEGABYTE} MB more"
    )


def _own_groups(
    controller: str, names: tuple[tuple[str, ...], tuple[str, ...]], groups: Path, proc: Path
) -> Iterator[tuple[Any, ...]]:
    """Yield our control groups, innermost first: the folder, and the names of its files.

    Args:
        controller: Its name in version 1.
        names: The files' names in version 2 and in version 1.
        groups: Where control groups are mounted.
        proc: Where the processes' files are.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, own_names = groups, names[0]
        elif controller in controllers.split(","):
            root, own_names = groups / controller, names[1]
        else:
            continue
        folder = root / path.lstrip("/")
        for place in dict.fromkeys((folder, *folder.parents)):
            if place.is_relative_to(root):
                yield place, *own_names


def _physical_bytes(proc: Path) -> int | None:
    """Return the machine's memory; `None` if the system does not say it."""
    kilobytes = _read_field(proc / "meminfo", "MemTotal:")
    if kilobytes is not None:
        return kilobytes * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _read_words(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the words of these files; empty if one cannot be read."""
    try:
        return [word for name in names for word in (folder / name).read_text().split()]
    except OSError:
        return []


def _read_number(path: Path) -> int | None:
    """Return the number in a file; `None` if it has none ("max": no limit) or cannot be read."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # "max": no limit


def _read_field(path: Path, name: str) -> int | None:
    """Return the number after `name` at the start of a line; `None` if there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    rows = (line.split() for line in lines)
    return next((int(row[1]) for row in rows if len(row) > 1 and row[0] == name), None)
