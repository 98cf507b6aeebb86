"""Speech in pieces, and the interface of a provider's protocol for them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.faults import Fault
from lab.simulators.samples import Samples
from lab.simulators.voices.voices import LabWord, Speech

CHUNK_S: Final = (0.04, 0.1)  # chosen: within the usual 20 to 100 ms of a streaming chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPiece:
    """Audio that is sent at once.

    Attributes:
        samples: The sound.
        start_s: Its start in the request's audio, in seconds.
        end_s: Its end there.
        speech: The speech that it belongs to; `None` for an unrequested silence.
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
        """The index after its last sample in the speech."""
        return self.first + len(self.samples)


PieceEnd: TypeAlias = Callable[[Speech, int], int]
"""Takes a speech and the first sample of a piece; returns the sample where it ends."""


def steady(admission: Admission) -> PieceEnd:
    """Return a rule for the ends of pieces: by time, slightly irregular, independent of words."""
    dice = random.Random(admission.request.number)  # noqa: S311 - a simulation's dice

    def end(speech: Speech, start: int) -> int:
        return start + round(dice.uniform(*CHUNK_S) * speech.rate_hz)

    return end


def whole(speech: Speech, _start: int) -> int:
    """End the piece with the speech: for files that cannot be split."""
    return len(speech.samples)


class SpeechChannel(Protocol):
    """A provider's protocol for speech."""

    @property
    def piece_end(self) -> PieceEnd:
        """The rule for the ends of pieces."""
        ...

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send audio; `fault` is for mistakes that only this protocol can make."""
        ...

    async def garbage(self) -> None:
        """Send invalid data."""
        ...

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Send the provider's own error, with or without the id of the failed request."""
        ...

    async def quota(self, code: str | None) -> None:
        """Send the provider's own error for an account without credit."""
        ...

    async def close(self) -> None:
        """End the connection cleanly."""
        ...

    def reset(self) -> None:
        """Break the connection."""
        ...


def sample_limit(speech: Speech, fault: Fault | None, *, words_before: int) -> int | None:
    """Return the sample where a fault ends a speech; `None` if not in this one.

    Args:
        speech: The speech.
        fault: The current fault.
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
        speech: The speech.
        first: Index of a sample.
        end: Index after the last sample.
        start_s: The piece's start in the utterance, in seconds.
    """
    total = len(speech.samples)
    base_s = start_s - first / speech.rate_hz
    until = end if end < total else total + 1  # a silent token may be at the very end
    begins = (word for word in speech.words if first <= speech.index(word.start_s) < until)
    return AudioPiece(
        samples=speech.samples[first:end],
        start_s=start_s,
        end_s=base_s + end / speech.rate_hz,
        speech=speech,
        first=first,
        words=tuple(word.later(base_s) for word in begins),
    )
