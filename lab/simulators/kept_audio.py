"""Keeps the simulated voices' sound, to judge what a caller heard."""

import collections
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lab.simulators.samples import Samples

SAMPLES_KEPT: Final = 24_000_000  # of all requests: 50 minutes at 8000 Hz, 48 MB


@dataclass(slots=True, kw_only=True)
class Take:
    """The sound of one request so far.

    Attributes:
        instance: The simulated provider's name.
        request: The request's number there.
        at_s: When its first piece was sent, in seconds after the lab's start.
        rate_hz: Of the samples.
    """

    instance: str
    request: int
    at_s: float
    rate_hz: int
    pieces: list[tuple[int, Samples]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """The number of samples from its first to its last."""
        return max((at + piece.size for at, piece in self.pieces), default=0)

    def samples(self) -> Samples:
        """Return it in one piece, with silence where nothing was sent."""
        whole = np.zeros(self.length, np.int16)
        for at, piece in self.pieces:
            whole[at : at + piece.size] = piece
        return whole

    def as_json(self) -> dict[str, Any]:
        """Return its description, without samples."""
        return {
            "instance": self.instance,
            "request": self.request,
            "at_s": self.at_s,
            "rate_hz": self.rate_hz,
            "samples": self.length,
        }


class KeptAudio:
    """The newest takes; none unless `limit` is raised above 0."""

    def __init__(self) -> None:
        self.limit = 0  # total samples
        self._takes: collections.OrderedDict[tuple[str, int], Take] = collections.OrderedDict()
        self._held = 0

    def add(self, take: Take, samples: Samples, *, start_s: float) -> None:
        """Keep a piece of a request's audio; drop the oldest request beyond the limit.

        Args:
            take: The request's; used if the request is new.
            samples: The piece.
            start_s: Its start in the request's audio.
        """
        if not self.limit:
            return
        kept = self._takes.setdefault((take.instance, take.request), take)
        kept.pieces.append((round(start_s * kept.rate_hz), samples))
        self._held += samples.size
        while self._held > self.limit and len(self._takes) > 1:
            _, oldest = self._takes.popitem(last=False)
            self._held -= sum(piece.size for _, piece in oldest.pieces)

    def takes(self) -> tuple[Take, ...]:
        """Return the kept takes, oldest first."""
        return tuple(self._takes.values())

    def take(self, instance: str, request: int) -> Take | None:
        """Return one request's take, if it is kept."""
        return self._takes.get((instance, request))
