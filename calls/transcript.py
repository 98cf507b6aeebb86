"""Results of recognisers: one about a stream, or the transcript of a whole recording."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardWord:
    """One word, with its place in the recogniser's stream or in the recording."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None  # 0 to 1; `None` if the recogniser gives none


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherReading:
    """An alternative transcript."""

    text: str
    confidence: float | None = None  # 0 to 1; `None` if the recogniser gives none


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One result of a recogniser, whichever vendor's it is.

    A vendor's service puts it into its transcript frames as `result`, with what such a frame does
    not say itself: `final`, `end_s`, `words`, `confidence` and `others`.

    Attributes:
        text: The words; empty if it heard none.
        final: These words will not change.
        interim: It came as an interim result, to be replaced; a final one may come so, too.
        flushed: It answers our report that the caller has stopped.
        end_s: How much sound it covers, silence included, in seconds of the recogniser's own
            stream; not the end of its last word. `None` if the recogniser does not say.
        words: With their times in the recogniser's stream; empty if it gives none.
        confidence: 0 to 1; `None` if the recogniser gives none.
        others: Alternatives, most likely first.
    """

    text: str = ""
    final: bool = False
    interim: bool = False
    flushed: bool = False
    end_s: float | None = None
    words: tuple[HeardWord, ...] = ()
    confidence: float | None = None
    others: tuple[OtherReading, ...] = ()


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
    alternatives: tuple[OtherReading, ...] = ()
    words: tuple[HeardWord, ...] = ()
