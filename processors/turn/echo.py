"""Recognises our own voice in the caller's audio, so that it does not interrupt the agent.

A line with an echo returns the audio that the caller hears, weaker and after a constant delay. To
the VAD this is speech like any other. So before the VAD may report that speech begins, the last
fifth of a second is compared with the audio sent to the line in the second before. If they match,
the delay is known, and audio that matches ours at that delay is not the caller's. A caller who
speaks over the echo is louder than the echo. Their audio then differs from ours, and they can
interrupt as on any other line.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]
Floats: TypeAlias = NDArray[np.float64]

COMPARED_S: Final = 0.19  # six of the VAD's windows: as many as begin speech
LATEST_S: Final = 1.0  # the longest delay of an echo: two mobile networks and a jitter buffer
ECHO_KEPT_S: Final = 2.0  # more than `COMPARED_S` plus `LATEST_S`
# Measured: other voices reach 0.6 in a fifth of a second, an echo at -24 dB through mu-law 0.97.
NEW_ECHO: Final = 0.85  # least correlation of an echo whose delay is unknown
KNOWN_ECHO: Final = 0.6  # least correlation of an echo at its known delay
DRIFT_S: Final = 0.004  # how much the delay may change between two windows
AUDIBLE: Final = 30.0  # root mean square, of 32768: the echo of a weaker sound is inaudible
FRESH_S: Final = 2.0  # for this long after an echo, the line counts as one with an echo


class Track:
    """The latest samples of one direction, by sample number."""

    def __init__(self, rate_hz: int) -> None:
        self.end = 0  # the number of the sample after the last one
        self._kept: Floats = np.zeros(round(ECHO_KEPT_S * rate_hz))

    def put(self, samples: Samples, start: int) -> None:
        """Add samples at number `start`, or at the end if that is later; a gap is silence."""
        start = max(start, self.end)
        if gap := min(start - self.end, self._kept.size):
            self._write_to_ring(np.zeros(gap), start - gap)
        self._write_to_ring(samples, start)
        self.end = start + samples.size

    def _write_to_ring(self, values: Samples | Floats, start: int) -> None:
        """Write into the ring at number `start`, over the oldest samples."""
        while values.size:
            place = start % self._kept.size
            length = min(values.size, self._kept.size - place)
            self._kept[place : place + length] = values[:length]
            values, start = values[length:], start + length

    def between(self, start: int, end: int) -> Floats:
        """Return samples; zeros where there are none, or where they were overwritten."""
        size, places = self._kept.size, np.arange(start, end)
        known = (places >= max(0, self.end - size)) & (places < self.end)
        return np.where(known, self._kept[places % size], 0.0)


class EchoEar:
    """Compares the two directions of one call.

    Attributes:
        delay: The echo's delay, in samples; `None` until an echo is recognised.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Create it for one call; `set_rate` must be called before any audio arrives.

        Args:
            clock: Monotonic, in seconds.
        """
        self.delay: int | None = None
        self._now = clock
        self._rate_hz = 0
        self._ours = Track(1)
        self._theirs = Track(1)
        self._offset_s = 0.0  # clock time of the caller's first sample: the smallest estimate
        self._last_at: float | None = None  # when an echo was last recognised

    def set_rate(self, rate_hz: int) -> None:
        """Set the sample rate of both directions, and clear the samples."""
        self._rate_hz = rate_hz
        self._ours, self._theirs = Track(rate_hz), Track(rate_hz)

    def hear_agent(self, pcm: bytes) -> None:
        """Record a piece of the agent's audio that is sent to the line now: 16-bit mono.

        Ignored before `set_rate`.
        """
        if self._rate_hz:
            samples = np.frombuffer(pcm, np.int16)
            self._ours.put(samples, round(self._now() * self._rate_hz))

    def hear_caller(self, samples: Samples) -> None:
        """Record the caller's next samples, and when they came.

        `_offset_s` is the moment of sample 0, by the earliest arrival since the last gap.
        """
        end = self._theirs.end + samples.size
        offset_s = self._now() - end / self._rate_hz
        has_gap = offset_s > self._offset_s + LATEST_S  # audio is missing, as in a replaced stream
        if self._theirs.end == 0 or has_gap or offset_s < self._offset_s:
            self._offset_s = offset_s
        self._theirs.put(samples, self._theirs.end)

    def heard_lately(self) -> bool:
        """Return whether an echo was recognised in the last `FRESH_S`."""
        return self._last_at is not None and self._now() - self._last_at <= FRESH_S

    def begins(self) -> bool:
        """Return whether the caller's latest audio is an echo; if so, store its delay and time."""
        size = round(COMPARED_S * self._rate_hz)
        theirs, latest = self._latest_from_caller(size), round(LATEST_S * self._rate_hz)
        ours = self._ours.between(self._end_for_agent() - size - latest, self._end_for_agent())
        found = match(theirs, ours)
        if found is None:
            return False
        offset, correlation = found
        if correlation < NEW_ECHO:
            return False
        self.delay = latest - offset
        self._last_at = self._now()
        return True

    def goes_on(self, size: int) -> bool:
        """Return whether the last `size` samples match ours at the known delay.

        If so, the delay is adjusted. False if no echo was found before.
        """
        if self.delay is None:
            return False
        theirs, drift = self._latest_from_caller(size), round(DRIFT_S * self._rate_hz)
        end = self._end_for_agent() - self.delay + drift
        found = match(theirs, self._ours.between(end - size - 2 * drift, end))
        if found is None:
            return False
        offset, correlation = found
        if correlation < KNOWN_ECHO:
            return False
        self.delay += drift - offset
        self._last_at = self._now()
        return True

    def _latest_from_caller(self, size: int) -> Floats:
        """Return the last `size` samples of the caller's audio."""
        return self._theirs.between(self._theirs.end - size, self._theirs.end)

    def _end_for_agent(self) -> int:
        """Return the end of the caller's audio as a sample number of the agent's."""
        return self._theirs.end + round(self._offset_s * self._rate_hz)


def match(theirs: Floats, ours: Floats) -> tuple[int, float] | None:
    """Return the offset in `ours` where `theirs` matches best, and the correlation, 0 to 1.

    `None` if either is silent, or if `ours` is quieter there: an echo is weaker than its source.
    """
    size = theirs.size
    energy = float(theirs @ theirs)
    padded = 1 << (ours.size + size - 1).bit_length()
    spectrum = np.fft.rfft(ours, padded) * np.conj(np.fft.rfft(theirs, padded))
    products = np.fft.irfft(spectrum, padded)[: ours.size - size + 1]
    sums = np.concatenate(([0.0], np.cumsum(ours * ours)))
    energies = sums[size:] - sums[:-size]
    audible = energies > size * AUDIBLE**2
    if energy <= 0.0 or not audible.any():
        return None
    correlations = np.where(
        audible, np.abs(products) / np.sqrt(np.maximum(energies, 1.0) * energy), 0.0
    )
    best = int(correlations.argmax())
    if energy > energies[best]:
        return None
    return best, float(correlations[best])
