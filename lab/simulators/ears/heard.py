"""What the ears tell of a stream of audio; times are seconds from the stream's start."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeAlias

What: TypeAlias = Literal["speech_started", "interim", "final", "flushed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognisedWord:
    """One recognised word, in lower case.

    Attributes:
        confidence: The word's posterior in the recogniser's lattice, 0 to 1; in an interim result,
            which has no lattice yet, its acoustic score against the best one possible.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardAudio:
    """One fact about the audio from `start_s` to `end_s`.

    Attributes:
        what: `speech_started`; `interim`: the words so far, they may change; `final`: they will
            not; `flushed`: the final answer to a flush; `failed`: the stream cannot go on.
        others: Of a final: what may have been said instead, the likelier readings first.
        endpoint: The speaker paused at `end_s`.
        why: Of a failure, in words.
    """

    what: What
    start_s: float
    end_s: float
    words: tuple[RecognisedWord, ...] = field(default=())
    others: tuple[str, ...] = ()
    endpoint: bool = False
    why: str = ""

    def as_json(self) -> bytes:
        """Return the value as JSON text."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return what `as_json` made."""
        fields: dict[str, Any] = json.loads(text)
        words = tuple(RecognisedWord(**word) for word in fields.pop("words"))
        return cls(words=words, **{**fields, "others": tuple(fields["others"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingSettings:
    """How a stream is to be heard.

    Attributes:
        encoding: linear16, mulaw or alaw.
        rate_hz: Of the audio that comes in.
        endpoint_s: Silence after which an utterance is over; None: only at a flush, or when long.
        grammar: The only phrases there are; empty: the receptionist's language model.
        alternatives: How many readings of a final are wanted, the best one included.
    """

    encoding: str = "linear16"
    rate_hz: int = 16_000
    endpoint_s: float | None = 0.3
    grammar: tuple[str, ...] = ()
    alternatives: int = 1

    def as_json(self) -> bytes:
        """Return the value as JSON text."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return what `as_json` made."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "grammar": tuple(fields["grammar"])})
