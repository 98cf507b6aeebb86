"""The times of each character of a spoken text."""

from dataclasses import dataclass

from lab.simulators.voices.pieces import AudioPiece
from lab.simulators.voices.voices import Speech


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """A character of the text with its start and end, in seconds from the speech's start."""

    text: str
    start_s: float
    end_s: float


def characters(speech: Speech) -> tuple[Character, ...]:
    """Return every character of the text, including blanks, in order and without gaps.

    The letters of a word share its time evenly; a blank takes its pause.
    """
    found: list[Character] = []
    heard_s, at = 0.0, 0
    for word in speech.words:
        found += _spread(speech.text[at : word.at], heard_s, word.start_s)
        found += _spread(word.text, word.start_s, word.end_s)
        heard_s, at = word.end_s, word.at + len(word.text)
    return (*found, *_spread(speech.text[at:], heard_s, speech.duration_s))


def of_piece(piece: AudioPiece, found: tuple[Character, ...]) -> tuple[Character, ...]:
    """Return the characters that begin in a piece, with times from the piece's start.

    The last one lasts until the piece ends, so that the times of successive pieces add up.
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


def _spread(text: str, start_s: float, end_s: float) -> list[Character]:
    step_s = (end_s - start_s) / max(len(text), 1)
    return [
        Character(text=char, start_s=start_s + i * step_s, end_s=start_s + (i + 1) * step_s)
        for i, char in enumerate(text)
    ]
