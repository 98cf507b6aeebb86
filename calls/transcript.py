"""The transcript of a whole recording."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribedWord:
    """One word, with its place in the recording."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptReading:
    """One possible transcript of the whole recording."""

    text: str
    confidence: float | None  # 0 to 1; `None` if the recogniser gives none


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The transcript of a whole recording.

    Attributes:
        text: The best reading; empty if no word was heard.
        provider: The rung that transcribed it.
        language: As the recogniser names it; `None` if it does not say.
        language_confidence: 0 to 1; `None` if the language was given, not detected.
        duration_s: Of the recording.
        confidence: Of the best reading, 0 to 1.
        alternatives: Other readings, best first.
        words: Of the best reading; empty if the recogniser gives no times.
    """

    text: str
    provider: str
    language: str | None
    language_confidence: float | None
    duration_s: float
    confidence: float | None
    alternatives: tuple[TranscriptReading, ...] = ()
    words: tuple[TranscribedWord, ...] = ()
