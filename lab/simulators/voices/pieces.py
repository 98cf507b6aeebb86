"""Speech on its way out in pieces, and the way in which a provider's protocol carries them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.faults import Fault
from lab.simulators.samples import Samples
from lab.simulators.voices.voices import LabWord, Speech

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
    words: tuple[LabWord, ...] = ()

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


def sample_limit(speech: Speech, fault: Fault | None, *, words_before: int) -> int | None:
    """Return the sample of a speech at which a fault ends it; None: not in this one.

    Args:
        speech: What is spoken.
        fault: What holds now.
        words_before: In the same utterance, before this speech.
    """
    if not isinstance(fault, faults.Cut | faults.Stall):
        return None
    whole_words = fault.after_words - words_before
    inside = isinstance(fault, faults.Cut) and fault.inside_word
    if whole_words < 0 or (whole_words == 0 and not inside):
        return 0
    if inside and whole_words < len(speech.words):
        word = speech.words[whole_words]
        return speech.index((word.start_s + word.end_s) / 2)
    if inside or whole_words > len(speech.words):
        return None
    return speech.index(speech.words[whole_words - 1].end_s)


def cut_piece(speech: Speech, first: int, end: int, *, start_s: float) -> AudioPiece:
    """Return the samples of a speech from `first` to `end`, with the words that begin in them.

    Args:
        speech: What is spoken.
        first: Index of a sample.
        end: Index of the sample behind the last.
        start_s: Where the piece begins in the utterance, in seconds.
    """
    total = len(speech.samples)
    base_s = start_s - first / speech.rate_hz
    until = end if end < total else total + 1  # a soundless token may stand at the very end
    begins = (word for word in speech.words if first <= speech.index(word.start_s) < until)
    return AudioPiece(
        samples=speech.samples[first:end],
        start_s=start_s,
        end_s=base_s + end / speech.rate_hz,
        speech=speech,
        first=first,
        words=tuple(word.later(base_s) for word in begins),
    )
