"""What a recording was found to say."""

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
    """One way to understand the whole recording."""

    text: str
    confidence: float | None  # 0 to 1; None: the recogniser does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A whole recording in words.

    Attributes:
        text: The best reading; empty when no word was heard.
        provider: The rung that heard it.
        language: As the recogniser names it; None: it does not say.
        language_confidence: 0 to 1; None: the language was given, not detected.
        duration_s: Of the recording.
        confidence: Of the best reading, 0 to 1.
        alternatives: Other readings, the better ones first.
        words: Of the best reading; empty where the recogniser gives no times.
    """

    text: str
    provider: str
    language: str | None
    language_confidence: float | None
    duration_s: float
    confidence: float | None
    alternatives: tuple[TranscriptReading, ...] = ()
    words: tuple[TranscribedWord, ...] = ()
