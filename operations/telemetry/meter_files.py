"""Disk space for a process's counters, reserved before it starts to count.

prometheus_client counts in memory-mapped files, and creates them sparse: space is only allocated
as pages are written. If the disk is full by then, the kernel kills the process (SIGBUS), and each
of its replacements. Existing files are used as they are.

This module does not import prometheus_client, which decides on its first import whether it counts
in files: a worker must set their folder before.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

GROWING_BYTES: Final = 128 * 1024  # chosen: a call with eight rungs uses 8 kB in each
LIVE_BYTES: Final = 64 * 1024  # what prometheus_client maps first; about ten values
FILE_BYTES: Final = {
    "counter": GROWING_BYTES,
    "histogram": GROWING_BYTES,
    "gauge_liveall": LIVE_BYTES,
    "gauge_livesum": LIVE_BYTES,
    "gauge_livemax": LIVE_BYTES,
}


def take_room(folder: Path, pid: int) -> bool:
    """Create a process's counter files; return False, and leave none, if the disk is full; blocks.

    Files of an earlier process with this pid are replaced, and its counts are lost.
    """
    try:
        for path, size_bytes in _files_of_process(folder, pid):
            _allocate_file(path, size_bytes)
    except OSError:
        for path, _ in _files_of_process(folder, pid):
            path.unlink(missing_ok=True)
        return False
    return True


def _files_of_process(folder: Path, pid: int) -> Iterator[tuple[Path, int]]:
    for kind, size_bytes in FILE_BYTES.items():
        yield folder / f"{kind}_{pid}.db", size_bytes  # prometheus_client's own names


def _allocate_file(path: Path, size_bytes: int) -> None:
    """Create a file of zeros, and make sure that the disk has room for it."""
    with path.open("wb") as file:
        file.write(bytes(size_bytes))
        file.flush()
        os.fsync(file.fileno())  # some systems allocate the space only then
