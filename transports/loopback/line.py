"""Both directions of a telephone without a network: what is heard on it, what is yet to be said."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from transports.leg import Clock


class LoopbackLine:
    """What was heard on the line, sample by sample from the moment the call was answered."""

    def __init__(self, *, sample_rate_hz: int, clock: Clock) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.clock = clock
        self.started_at_s: float | None = None
        self.closed = False
        self.busy_until_s = 0.0  # when what was played so far has been heard
        self._pieces: list[tuple[int, NDArray[np.int16]]] = []

    def open(self) -> None:
        """Start the line's time."""
        self.started_at_s = self.clock()

    def play(self, at_s: float, samples: NDArray[np.int16]) -> None:
        """Keep samples that the caller hears from `at_s` on, a monotonic moment."""
        start_s = at_s - (self.started_at_s if self.started_at_s is not None else at_s)
        self.busy_until_s = at_s + samples.size / self.sample_rate_hz
        self._pieces.append((max(0, round(start_s * self.sample_rate_hz)), samples))

    def heard(self) -> NDArray[np.int16]:
        """Return all that was heard as one recording, silence where nothing was played."""
        length = max((start + each.size for start, each in self._pieces), default=0)
        whole = np.zeros(length, dtype=np.int16)
        for start, each in self._pieces:
            whole[start : start + each.size] = each
        return whole


class LoopbackMouth:
    """What the caller has yet to say, a frame at a time."""

    def __init__(self, samples: NDArray[np.int16], *, step: int) -> None:
        self._step = step
        self._silence = np.zeros(step, dtype=np.int16)
        self._rest = samples
        self._said = asyncio.Event()
        self._shut = False
        self.silent_frames = 0  # since the last voiced one

    def take(self, samples: NDArray[np.int16]) -> None:
        """Say these samples too."""
        self._rest = np.concatenate([self._rest, samples])
        self._said.clear()

    def next(self) -> NDArray[np.int16]:
        """Return the next frame: words, or silence when all was said."""
        piece, self._rest = self._rest[: self._step], self._rest[self._step :]
        if piece.size:
            self.silent_frames = 0
        else:
            self.silent_frames += 1
            self._said.set()
        return np.concatenate([piece, self._silence[piece.size :]])

    def shut(self) -> None:
        """Say no more."""
        self._shut = True
        self._said.set()

    async def empty(self) -> None:
        """Return when everything was said.

        Raises:
            ConnectionError: It never will be.
        """
        if not self._shut:
            await self._said.wait()
        if self._shut:
            raise ConnectionError("the caller has left the line")
