"""What a recogniser's frame says: words, how far they reach, whether more is to come."""

from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import InterimTranscriptionFrame, TranscriptionFrame

from fallbacks.replay import HeardWord


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One result.

    Attributes:
        text: Empty: it listens, and heard nothing to write down.
        final: These words will not change.
        flushed: It is the answer to our word that the caller has stopped.
        end_s: How far it reaches, in seconds of the recogniser's own stream; None: it does not say.
        words: With their times in the recogniser's stream; empty: it gives none.
    """

    text: str
    final: bool
    flushed: bool
    end_s: float | None
    words: tuple[HeardWord, ...]


def read(frame: TranscriptionFrame | InterimTranscriptionFrame) -> Reading:
    """Return what a frame says; a result in Deepgram's shape says more than a frame can."""
    final = isinstance(frame, TranscriptionFrame)
    return Reading(
        text=frame.text.strip(),
        final=final or bool(getattr(frame.result, "is_final", False)),
        flushed=final and frame.finalized,
        end_s=_end_s(frame.result),
        words=_words(frame.text.split(), frame.result),
    )


def _end_s(result: Any) -> float | None:
    start_s, length_s = getattr(result, "start", None), getattr(result, "duration", None)
    if isinstance(start_s, float | int) and isinstance(length_s, float | int):
        return start_s + length_s
    return None


def _words(written: list[str], result: Any) -> tuple[HeardWord, ...]:
    alternatives = getattr(getattr(result, "channel", None), "alternatives", None) or ()
    timed = [
        each
        for each in (getattr(alternatives[0], "words", None) or () if alternatives else ())
        if isinstance(each.start, float | int) and isinstance(each.end, float | int)
    ]
    if len(timed) != len(written):  # numerals, for one, are written in fewer words than spoken
        written = [str(getattr(each, "punctuated_word", None) or each.word) for each in timed]
    return tuple(
        HeardWord(text=text, start_s=each.start, end_s=each.end)
        for text, each in zip(written, timed, strict=True)
    )
