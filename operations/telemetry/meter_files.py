"""Room on the disk for what a process of a house counts, taken before it begins to count.

prometheus_client counts in files that it maps, and makes them of nothing: room is taken only as
pages are written. Where the disk is full by then the kernel ends the process (SIGBUS), and so each
that is started in its place. A file that is there already is used as it is.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

GROWING_BYTES: Final = 128 * 1024  # chosen: a call with eight rungs leaves 8 kB in each
LIVE_BYTES: Final = 64 * 1024  # what prometheus_client maps first; some ten values
ROOM: Final = {
    "counter": GROWING_BYTES,
    "histogram": GROWING_BYTES,
    "gauge_liveall": LIVE_BYTES,
    "gauge_livesum": LIVE_BYTES,
    "gauge_livemax": LIVE_BYTES,
}


def take_room(folder: Path, pid: int) -> bool:
    """Make the files in which a process is to count; False: there is no room, and none is made."""
    try:
        for path, size_bytes in _files(folder, pid):
            _fill(path, size_bytes)
    except OSError:
        for path, _ in _files(folder, pid):
            path.unlink(missing_ok=True)
        return False
    return True


def _files(folder: Path, pid: int) -> Iterator[tuple[Path, int]]:
    for kind, size_bytes in ROOM.items():
        yield folder / f"{kind}_{pid}.db", size_bytes  # as prometheus_client names them


def _fill(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        file.write(bytes(size_bytes))
        file.flush()
        os.fsync(file.fileno())  # some systems look for the room only then
