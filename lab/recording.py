"""Reads and writes sound files; an unreadable file is reported in one line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

MAX_S: Final = 3600.0  # an hour; a longer file is a mistake
RATES_HZ: Final = (8_000, 192_000)
SUBTYPES: Final = ("PCM_16", "PCM_U8", "PCM_S8", "FLOAT", "ULAW", "ALAW")
CHANNELS: Final = (1, 2)


class UnreadableAudioError(Exception):
    """A file that cannot be used as a caller; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded caller: 16-bit mono samples at `rate_hz`."""

    samples: NDArray[np.int16]
    rate_hz: int

    @property
    def length_s(self) -> float:
        """The length in seconds."""
        return self.samples.size / self.rate_hz


def read_recording(path: Path, *, rate_hz: int | None = None) -> Recording:
    """Return a recorded caller at `rate_hz`, or at a telephone rate.

    A file at 8 kHz stays at 8 kHz, any other becomes 16 kHz. Two channels are mixed to one.

    Raises:
        UnreadableAudioError: Missing, empty, truncated, too long, not audio, or in a format that is
            not supported, such as 24-bit samples.
    """
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableAudioError(f"{path}: empty, no bytes")
    try:
        file = soundfile.info(str(path))
        _check_format(path, file)
        samples, found_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as broken:
        reason = "no such file" if not path.exists() else "not audio that can be read"
        raise UnreadableAudioError(f"{path}: {reason} ({broken.error_string})") from broken
    if not samples.shape[0]:
        raise UnreadableAudioError(f"{path}: empty, no samples")
    if samples.shape[0] < file.frames or _promises_more(path, samples.shape[0]):
        raise UnreadableAudioError(f"{path}: truncated, shorter than its header says")
    target_hz = rate_hz or (8_000 if found_hz == 8_000 else 16_000)
    mono = samples.mean(axis=1)
    if found_hz != target_hz:
        mono = soxr.resample(mono, found_hz, target_hz)
    return Recording(np.clip(mono * 32768.0, -32768, 32767).astype(np.int16), target_hz)


def write_recording(path: Path, samples: NDArray[np.int16], *, rate_hz: int) -> None:
    """Write 16-bit mono samples as a wav file."""
    soundfile.write(str(path), samples, rate_hz, subtype="PCM_16")


def _check_format(path: Path, file: object) -> None:
    """Raise `UnreadableAudioError` for a format, rate or length that is not supported."""
    subtype = getattr(file, "subtype", "")
    channels = getattr(file, "channels", 0)
    rate_hz = getattr(file, "samplerate", 0)
    if subtype not in SUBTYPES:
        raise UnreadableAudioError(
            f"{path}: {subtype} samples; make it 16-bit, for instance: sox IN -b 16 OUT"
        )
    if channels not in CHANNELS:
        raise UnreadableAudioError(f"{path}: {channels} channels; it must have one or two")
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise UnreadableAudioError(f"{path}: {rate_hz} Hz; it must have 8000 to 192000 Hz")
    if getattr(file, "duration", 0.0) > MAX_S:
        raise UnreadableAudioError(f"{path}: longer than {MAX_S:g} s")


def _promises_more(path: Path, frames: int) -> bool:
    """Return whether a RIFF file's data chunk announces more bytes than the file holds."""
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    at = head.find(b"data")
    if not head.startswith(b"RIFF") or at < 0 or not frames:
        return False
    announced = int.from_bytes(head[at + 4 : at + 8], "little")
    # Programs that stream to a pipe write 0xFFFFFFFF or 0.
    return announced not in (0, 0xFFFFFFFF) and at + 8 + announced > path.stat().st_size
