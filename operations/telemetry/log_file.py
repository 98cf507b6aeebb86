"""The log's file: of its owner only, shared by processes, and begun anew when it is large."""

import fcntl
import os
from io import FileIO
from pathlib import Path
from typing import Final

LARGEST_BYTES: Final = 20_000_000
KEPT: Final = 5  # earlier files: holdline.log.1 is the latest of them
OWNERS: Final = 0o600


class LogFile:
    """Appends to a file; another process may do the same, and may have begun it anew."""

    def __init__(self, path: Path, *, largest_bytes: int = LARGEST_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._largest_bytes = largest_bytes
        self._file = self._open()

    def write(self, text: str) -> None:
        """Append; blocks."""
        self._follow()
        if os.fstat(self._file.fileno()).st_size >= self._largest_bytes:
            self._begin_anew()
        self._append(memoryview(text.encode("utf-8", "backslashreplace")))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _append(self, rest: memoryview) -> None:
        """Write all of it or, on a disk that fills meanwhile, none."""
        number = self._file.fileno()
        fcntl.flock(number, fcntl.LOCK_EX)  # else somebody's line behind ours would be cut, too
        try:
            began = os.fstat(number).st_size
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                os.ftruncate(number, began)
                raise
        finally:
            fcntl.flock(number, fcntl.LOCK_UN)

    def _open(self) -> FileIO:
        # An object, not a number: a number that is closed twice is somebody else's file by then.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return FileIO(os.open(self._path, flags, OWNERS), "a")

    def _follow(self) -> None:
        """Go to the file that has the name now: somebody may have moved ours away."""
        try:
            there = self._path.stat().st_ino
        except FileNotFoundError:
            there = None
        if there != os.fstat(self._file.fileno()).st_ino:
            ours, self._file = self._file, self._open()
            ours.close()

    def _begin_anew(self) -> None:
        fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)  # of two processes one does it
        try:
            if self._path.stat().st_ino == os.fstat(self._file.fileno()).st_ino:
                for number in range(KEPT - 1, 0, -1):
                    if self._older(number).exists():
                        self._older(number).replace(self._older(number + 1))
                self._path.replace(self._older(1))
        finally:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)
        self._follow()

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
