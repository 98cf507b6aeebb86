"""Speech cut into pieces, and the interface of a provider's protocol for sending them."""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import soundfile

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
        samples: The audio.
        start_s: Its start in the request's audio, in seconds.
        end_s: Its end there.
        speech: The speech that it belongs to; `None` for silence that nothing asked for.
        first: The index of its first sample in that speech.
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


def uneven_ends(admission: Admission) -> PieceEnd:
    """Return a rule that ends pieces at slightly irregular times, independent of words."""
    dice = random.Random(admission.request.number)  # noqa: S311 - a simulation's dice

    def end(speech: Speech, start: int) -> int:
        return start + round(dice.uniform(*CHUNK_S) * speech.rate_hz)

    return end


def one_piece(speech: Speech, _start: int) -> int:
    """Return the end of the speech, for formats that cannot be split."""
    return len(speech.samples)


class SpeechChannel(Protocol):
    """A provider's protocol for speech."""

    @property
    def piece_end(self) -> PieceEnd:
        """The rule for the ends of pieces."""
        ...

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send audio; `fault` may demand a mistake that only this protocol can make."""
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
    """Return the sample where a fault ends this speech; `None` if it does not.

    Args:
        speech: The speech.
        fault: The current fault.
        words_before: The number of words in the same utterance before this speech.
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
    until = end if end < total else total + 1  # include a silent token at the very end
    begins = (word for word in speech.words if first <= speech.index(word.start_s) < until)
    return AudioPiece(
        samples=speech.samples[first:end],
        start_s=start_s,
        end_s=base_s + end / speech.rate_hz,
        speech=speech,
        first=first,
        words=tuple(word.shifted(base_s) for word in begins),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """A character of the text with its start and end, in seconds from the speech's start."""

    text: str
    start_s: float
    end_s: float


def characters(speech: Speech) -> tuple[Character, ...]:
    """Return every character of the text, including blanks, with times that leave no gaps.

    The letters of a word share its time evenly; a blank takes the pause between two words.
    """
    found: list[Character] = []
    heard_s, at = 0.0, 0
    for word in speech.words:
        found += _spread_characters(speech.text[at : word.at], heard_s, word.start_s)
        found += _spread_characters(word.text, word.start_s, word.end_s)
        heard_s, at = word.end_s, word.at + len(word.text)
    return (*found, *_spread_characters(speech.text[at:], heard_s, speech.duration_s))


def characters_in_piece(piece: AudioPiece, found: tuple[Character, ...]) -> tuple[Character, ...]:
    """Return the characters that begin in a piece, with times from the piece's start.

    The last character lasts until the piece ends, so that the times of successive pieces add up.
    """
    if piece.speech is None:
        return ()
    total, rate_hz = len(piece.speech.samples), piece.speech.rate_hz
    until = piece.last if piece.last < total else total + 1
    begin = [char for char in found if piece.first <= piece.speech.index(char.start_s) < until]
    base_s, length_s = piece.first / rate_hz, len(piece.samples) / rate_hz
    starts = [max(char.start_s - base_s, 0.0) for char in begin]
    ends = [*starts[1:], length_s]
    return tuple(
        Character(text=char.text, start_s=start_s, end_s=end_s)
        for char, start_s, end_s in zip(begin, starts, ends, strict=False)
    )


def _spread_characters(text: str, start_s: float, end_s: float) -> list[Character]:
    """Return a text's characters, each as long as the others, from `start_s` to `end_s`."""
    step_s = (end_s - start_s) / max(len(text), 1)
    return [
        Character(text=char, start_s=start_s + i * step_s, end_s=start_s + (i + 1) * step_s)
        for i, char in enumerate(text)
    ]


G711: Final = {"pcm_mulaw": "ULAW", "pcm_alaw": "ALAW"}  # our name: libsndfile's subtype
ENCODINGS: Final = ("pcm_s16le", "pcm_f32le", *G711)


def encode(samples: Samples, encoding: str) -> bytes:
    """Return samples as raw audio in an encoding.

    Args:
        samples: Mono, 16 bit.
        encoding: One of `ENCODINGS`.

    Raises:
        KeyError: Another encoding.
    """
    if encoding == "pcm_s16le":
        return samples.astype("<i2").tobytes()
    if encoding == "pcm_f32le":
        return (samples.astype("<f4") / np.float32(32768)).tobytes()
    raw = io.BytesIO()
    soundfile.write(raw, samples, 8000, format="RAW", subtype=G711[encoding])  # the rate is unused
    return raw.getvalue()


def as_file(samples: Samples, rate_hz: int, *, container: str) -> bytes:
    """Return the samples as a complete file, `wav` or `mp3`."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container.upper())
    return file.getvalue()


class ByteShift:
    """Holds back the last byte of messages that are to end inside a sample; no byte is lost."""

    def __init__(self) -> None:
        self._kept = b""

    def pass_on(self, audio: bytes, *, tear: bool) -> bytes:
        """Return the next message's bytes; with `tear`, an odd number of them."""
        audio = self._kept + audio
        cut = len(audio) - (1 if tear and len(audio) % 2 == 0 else 0)
        self._kept = audio[cut:]
        return audio[:cut]
