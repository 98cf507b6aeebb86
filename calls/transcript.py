"""Results of recognisers: one result in a stream, or the transcript of a whole recording."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardWord:
    """One word, with its times in the recogniser's stream or in the recording."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None  # 0 to 1; `None` if the recogniser reports none


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherReading:
    """An alternative transcript."""

    text: str
    confidence: float | None = None  # 0 to 1; `None` if the recogniser reports none


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One result of a recogniser, the same for all vendors.

    A vendor's service attaches it to its transcript frames as `result`, with the values that such a
    frame does not have: `final`, `end_s`, `words`, `confidence` and `others`.

    Attributes:
        text: The words; empty if there are none.
        final: Whether the words will not change.
        interim: Whether the frame is an interim one; it may still have a final result.
        flushed: Whether it is the response to our report that the caller has stopped.
        end_s: The end of the audio that it covers, silence included, in seconds of the recogniser's
            own stream. `None` if the recogniser does not report it.
        words: The words with their times in the recogniser's stream; empty if it reports none.
        confidence: 0 to 1; `None` if the recogniser reports none.
        others: Alternatives, the most likely one first.
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
        text: The best reading; empty if there are no words.
        provider: The rung that transcribed it.
        language: The language, as the recogniser names it; `None` if it reports none.
        language_confidence: 0 to 1; `None` if the language was not detected, but given.
        duration_s: The length of the recording.
        confidence: That of the best reading, 0 to 1; `None` if the recogniser reports none.
        alternatives: Other readings, the best one first.
        words: The words of the best reading; empty if the recogniser reports no times.
    """

    text: str
    provider: str
    language: str | None
    language_confidence: float | None
    duration_s: float
    confidence: float | None
    alternatives: tuple[OtherReading, ...] = ()
    words: tuple[HeardWord, ...] = ()
