"""Hears the beep of a mailbox: one steady tone, and nothing else of a voice or of a line."""

from typing import Final

import numpy as np
import numpy.typing as npt

WINDOW_S: Final = 0.064  # 512 samples at 8 kHz: bins of 16 Hz keep 440 and 480 Hz apart
STEP_S: Final = 0.032  # a new window, which shares half of its sound with the one before
LOW_HZ: Final = 400.0  # mailboxes beep at 440 to 1400 Hz, most of them at 1000 (chosen bounds)
HIGH_HZ: Final = 2000.0
SHORTEST_S: Final = 0.2  # a shorter one is a key's echo, or a vowel that stood still
LONGEST_S: Final = 1.0  # a longer one is a fax, or a line that is out of order
PURE: Final = 0.9  # of all energy in the peak and the bins beside it (chosen)
RECORDER_HZ: Final = 1400.0  # the tone that warns of a recorder, about 0.2 s every 15 s
RECORDER_S: Final = 0.22  # no longer, with room for a device that is not exact
AUDIBLE_RMS: Final = 250.0  # of 32768, about -42 dBFS
DRIFT_HZ: Final = 35.0  # no more between two windows
SAMPLE_BYTES: Final = 2
_BESIDE: Final = 1  # bins either side of the peak: a Hann window spreads a tone over them


class BeepDetector:
    """Listens to sound as it comes, and says when a beep has ended."""

    def __init__(self, rate_hz: int) -> None:
        """Prepare.

        Args:
            rate_hz: Of the line; 8000 or more, for a tone of 2000 Hz to be in it.
        """
        self._rate_hz = rate_hz
        self._step_bytes = round(STEP_S * rate_hz) * SAMPLE_BYTES
        self._size = round(WINDOW_S * rate_hz)
        self._shape = np.hanning(self._size)
        self._rest = b""
        self._windows = 0  # of the tone so far
        self._hz = 0.0

    def hear(self, pcm: bytes) -> bool:
        """Return whether a beep ended in this piece.

        Args:
            pcm: 16-bit mono.
        """
        sound, size_bytes = self._rest + pcm, self._size * SAMPLE_BYTES
        ended = False
        while len(sound) >= size_bytes:
            window, sound = sound[:size_bytes], sound[self._step_bytes :]
            ended = self._hear_window(np.frombuffer(window, "<i2").astype(np.float64)) or ended
        self._rest = sound
        return ended

    def _hear_window(self, samples: npt.NDArray[np.float64]) -> bool:
        hz = self._tone_of(samples)
        steady = hz is not None and (not self._windows or abs(hz - self._hz) <= DRIFT_HZ)
        if hz is not None and steady:
            self._windows, self._hz = self._windows + 1, hz
            return False
        length_s = self._windows * STEP_S
        before_hz = self._hz
        self._windows = 0 if hz is None else 1
        self._hz = hz or 0.0
        # The first and the last windows of a tone are mixed with what is around it.
        warned = abs(before_hz - RECORDER_HZ) <= DRIFT_HZ and length_s <= RECORDER_S - STEP_S
        return not warned and SHORTEST_S - 2 * STEP_S <= length_s <= LONGEST_S + STEP_S

    def _tone_of(self, samples: npt.NDArray[np.float64]) -> float | None:
        """Return the frequency of a window that is one tone; None: it is anything else."""
        if np.sqrt(np.mean(np.square(samples))) < AUDIBLE_RMS:
            return None
        energy = np.square(np.abs(np.fft.rfft((samples - samples.mean()) * self._shape)))
        peak = int(energy.argmax())
        hz = peak * self._rate_hz / self._size
        near = energy[max(0, peak - _BESIDE) : peak + _BESIDE + 1]
        whole = float(energy.sum())
        pure = whole > 0 and float(near.sum()) / whole >= PURE
        return hz if pure and LOW_HZ <= hz <= HIGH_HZ else None
