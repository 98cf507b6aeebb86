"""Speech on its way out in pieces, and the way in which a provider's protocol carries them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from faultlab.admission import Admission
from faultlab.faults import Fault
from faultlab.samples import Samples
from faultlab.voices.voices import Speech, SpokenWord

CHUNK_S: Final = (0.04, 0.1)  # chosen: within the 20 to 100 ms that a streaming chunk carries


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPiece:
    """Audio that goes out at once.

    Attributes:
        samples: What is heard.
        start_s: Where it begins in the request's audio, in seconds.
        end_s: Where it ends there.
        speech: What it is a part of; None: a silence that nobody asked for.
        first: Its first sample in that speech.
        words: The words that begin in it, with their times in the request's audio.
    """

    samples: Samples
    start_s: float
    end_s: float
    speech: Speech | None = None
    first: int = 0
    words: tuple[SpokenWord, ...] = ()

    @property
    def last(self) -> int:
        """The sample of the speech before which it ends."""
        return self.first + len(self.samples)


PieceEnd: TypeAlias = Callable[[Speech, int], int]
"""Given a speech and the sample at which a piece of it begins: the sample at which it ends."""


def steady(admission: Admission) -> PieceEnd:
    """Return a rule for the ends of pieces: by time, a little uneven, blind to words."""
    dice = random.Random(admission.request.number)  # noqa: S311 - a simulation's dice

    def end(speech: Speech, start: int) -> int:
        return start + round(dice.uniform(*CHUNK_S) * speech.rate_hz)

    return end


def whole(speech: Speech, _start: int) -> int:
    """End the piece with the speech: for files that cannot be sent in parts."""
    return len(speech.samples)


class SpeechChannel(Protocol):
    """How one provider's protocol says it."""

    @property
    def piece_end(self) -> PieceEnd:
        """Where pieces end."""
        ...

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send audio; `fault` is for mistakes that only this protocol can make."""
        ...

    async def garbage(self) -> None:
        """Send what cannot be parsed."""
        ...

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Send the provider's own error, with or without the id of what failed."""
        ...

    async def quota(self, code: str | None) -> None:
        """Send the provider's own error for used-up credit."""
        ...

    async def close(self) -> None:
        """End the connection as if all were well."""
        ...

    def reset(self) -> None:
        """Break the connection."""
        ...
