"""Plays sound to a telephone's user: in order, at its own pace, to the sample."""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from lab.simulators.carrier.sound_code import MULAW_CODE, SoundCode
from lab.simulators.mulaw import Pcm

RATE_HZ: Final = 8000
AUDIBLE: Final = 200  # of 32768, about -44 dBFS: line noise is below it
PAUSE_S: Final = 0.3  # a shorter pause belongs to the speech around it


@dataclass(slots=True)
class Burst:
    """A stretch of audible sound, in samples from the start of the call."""

    start: int
    end: int


class CarrierEar:
    """Plays what arrives and remembers when every sample was heard.

    Audio that arrives while the queue is empty is played at once, otherwise after the queue. All
    times are seconds from the start of the call.
    """

    def __init__(self, code: SoundCode = MULAW_CODE) -> None:
        """Play sound in a carrier's code."""
        self.code = code
        self.bursts: list[Burst] = []
        self._pieces: deque[tuple[int, bytes]] = deque()  # first sample, code
        self._dry_at = 0  # the sample when the queue will be empty
        self._marks: deque[tuple[int, str]] = deque()

    def hear(self, payload: bytes, at_s: float) -> None:
        """Queue audio that arrived at `at_s`."""
        start = max(self._dry_at, round(at_s * self.code.rate_hz))
        self._pieces.append((start, payload))
        samples = self.code.decode(payload)
        self._dry_at = start + samples.size
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
        if loud.size:
            self._burst(start + int(loud[0]), start + int(loud[-1]) + 1)

    def _burst(self, start: int, end: int) -> None:
        if self.bursts and start - self.bursts[-1].end < PAUSE_S * self.code.rate_hz:
            self.bursts[-1].end = end
        else:
            self.bursts.append(Burst(start, end))

    def mark(self, name: str) -> None:
        """Set a mark to echo when everything queued now was played."""
        self._marks.append((self._dry_at, name))

    def due(self, at_s: float) -> list[str]:
        """Return the marks reached since the last call."""
        now = round(at_s * self.code.rate_hz)
        names: list[str] = []
        while self._marks and self._marks[0][0] <= now:
            names.append(self._marks.popleft()[1])
        return names

    def clear(self, at_s: float) -> list[str]:
        """Drop what was not played by `at_s`; return the pending marks."""
        now = round(at_s * self.code.rate_hz)
        while self._pieces and self._pieces[-1][0] >= now:
            self._pieces.pop()
        if self._pieces:
            start, payload = self._pieces.pop()
            self._pieces.append((start, payload[: (now - start) * self.code.sample_bytes]))
        self._dry_at = min(self._dry_at, now)
        while self.bursts and self.bursts[-1].start >= now:
            self.bursts.pop()
        if self.bursts:
            self.bursts[-1].end = min(self.bursts[-1].end, now)
        names = [name for _, name in self._marks]
        self._marks.clear()
        return names

    def between(self, start: int, end: int) -> Pcm:
        """Return what is heard from one sample to another, with silence."""
        heard = np.zeros(end - start, dtype=np.int16)
        for first, payload in reversed(self._pieces):
            piece = self.code.decode(payload)
            if first + len(piece) <= start:
                break
            if first < end:
                piece = piece[max(0, start - first) : end - first]
                heard[max(0, first - start) :][: len(piece)] = piece
        return heard

    def recording(self, until_s: float) -> Pcm:
        """Return everything heard from the start of the call until `until_s`, with silence."""
        heard = np.zeros(max(0, round(until_s * self.code.rate_hz)), dtype=np.int16)
        for start, payload in self._pieces:
            piece = self.code.decode(payload)[: max(0, len(heard) - start)]
            heard[start : start + len(piece)] = piece
        return heard
