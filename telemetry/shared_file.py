"""A log file that several processes write: each line at once, and only one of them rotates it."""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

ROTATE_BYTES: Final = 20 * 1000 * 1000  # as a process alone does it
KEEP: Final = 5  # older files


class SharedFile:
    """Appends lines; notices when another process has put the file aside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._number = 0  # of the file behind the name, when it was opened

    def write(self, line: str) -> None:
        """Append a line in one call, so that no line of another process stands in it."""
        if self._file is None or self._number_now() != self._number:
            self._reopen()
        if self._file is not None:
            os.write(self._file, line.encode())

    def _number_now(self) -> int:
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return 0

    def _reopen(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._number = os.fstat(self._file).st_ino


def rotate(path: Path, now: datetime) -> None:
    """Put a log aside that has grown too long, and delete the oldest of those; blocks."""
    try:
        if path.stat().st_size < ROTATE_BYTES:
            return
    except FileNotFoundError:
        return
    at = now.strftime("%Y-%m-%d_%H-%M-%S_%f")
    path.rename(path.with_name(f"{path.stem}.{at}{path.suffix}"))
    for old in sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"))[:-KEEP]:
        with suppress(FileNotFoundError):
            old.unlink()
