"""A caller's message on the disk: written as it comes, and under its own name only when whole."""

import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

from loguru import logger

PART: Final = ".part"  # behind the name of what is not whole yet
LEFT_S: Final = (
    600.0  # a message takes two minutes at most: after so long nobody writes it any more
)
HEADER: Final = struct.Struct(
    "<4sI4s4sIHHIIHH4sI"
)  # RIFF, WAVE, fmt and data (Microsoft RIFF, 1991)
SAMPLE_BYTES: Final = 2


class MessageFile:
    """One message, or a call: 16-bit sound, in a `.wav.part` until `finish`. All of it blocks.

    Raises:
        OSError: From each method; the disk did not take it.
    """

    def __init__(self, path: Path, *, rate_hz: int, channels: int = 1) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._part = path.with_name(path.name + PART)
        self._rate_hz = rate_hz
        self._channels = channels
        self.length_bytes = 0
        """How much of the sound the disk has."""
        self._file = os.open(
            self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )
        try:
            self._put(self._head(), at=0)
        except OSError:  # there is nobody yet who could drop it
            self.drop()
            raise

    def add(self, pcm: bytes) -> None:
        """Write a piece behind the others."""
        self._put(pcm, at=HEADER.size + self.length_bytes)
        self.length_bytes += len(pcm)

    def finish(self) -> None:
        """Have all of it on the disk, and only then give it its name."""
        self._put(self._head(), at=0)
        os.fsync(self._file)
        self._close()
        self._part.replace(self._path)
        _sync_folder(self._path.parent)

    def leave(self) -> None:
        """Let go of it as it is: it gets its name at the next look."""
        self._close()

    def drop(self) -> None:
        """Leave nothing."""
        self._close()
        self._part.unlink(missing_ok=True)

    def _head(self) -> bytes:
        return _header(self._rate_hz, self.length_bytes, channels=self._channels)

    def _put(self, content: bytes, *, at: int) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def finish_left(folder: Path, *, utc_s: float) -> int:
    """Give their names to messages whose process died over them; return how many; blocks.

    Another process of the house may do the same in the same folder.
    """
    return sum(_finish_left(each, utc_s - LEFT_S) for each in folder.glob(f"*.wav{PART}"))


def _finish_left(part: Path, until_s: float) -> bool:
    try:
        stat = part.stat()
        if stat.st_mtime >= until_s:
            return False
        with part.open("r+b") as file:
            whole = _write_head(file, max(0, stat.st_size - HEADER.size))
        if not whole:
            part.unlink()
            return False
        part.replace(part.with_name(part.name.removesuffix(PART)))
    except FileNotFoundError:  # another process was faster
        return False
    except OSError as error:  # it is looked at again, and holds up no other
        logger.error("what a dead process has left cannot be finished: {}", error)
        return False
    return True


def _write_head(file: BinaryIO, length_bytes: int) -> bool:
    """Write how long the sound in a file is; False: there is none in it."""
    head = file.read(HEADER.size)
    if len(head) < HEADER.size or not length_bytes:
        return False
    channels, rate_hz = HEADER.unpack(head)[6:8]
    whole_bytes = length_bytes - length_bytes % (SAMPLE_BYTES * max(1, channels))
    file.seek(0)
    file.write(_header(rate_hz, whole_bytes, channels=channels))
    return True


def _header(rate_hz: int, length_bytes: int, *, channels: int) -> bytes:
    pcm, moment_bytes = 1, channels * SAMPLE_BYTES
    return HEADER.pack(
        b"RIFF", HEADER.size - 8 + length_bytes, b"WAVE",
        b"fmt ", 16, pcm, channels, rate_hz, rate_hz * moment_bytes, moment_bytes, 8 * SAMPLE_BYTES,
        b"data", length_bytes,
    )  # fmt: skip


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
