"""Recognition results of an audio stream; times are seconds from the stream's start."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeAlias

What: TypeAlias = Literal["speech_started", "interim", "final", "flushed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognisedWord:
    """One recognised word, in lower case.

    Attributes:
        confidence: The word's posterior in the recogniser's lattice, 0 to 1; in an interim result,
            which has no lattice yet, its acoustic score relative to the best possible one.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardAudio:
    """A result about the audio from `start_s` to `end_s`.

    Attributes:
        what: `speech_started`; `interim`: the words so far, which may change; `final`: words that
            will not change; `flushed`: the final answer to a flush; `failed`: the stream cannot go
            on.
        others: Of a final: other readings, the likelier ones first.
        endpoint: The speaker paused at `end_s`.
        why: The reason of a failure.
    """

    what: What
    start_s: float
    end_s: float
    words: tuple[RecognisedWord, ...] = field(default=())
    others: tuple[str, ...] = ()
    endpoint: bool = False
    why: str = ""

    def as_json(self) -> bytes:
        """Return the value as JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Parse the result of `as_json`."""
        fields: dict[str, Any] = json.loads(text)
        words = tuple(RecognisedWord(**word) for word in fields.pop("words"))
        return cls(words=words, **{**fields, "others": tuple(fields["others"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingSettings:
    """The settings for recognising a stream.

    Attributes:
        encoding: linear16, mulaw or alaw.
        rate_hz: Of the incoming audio.
        endpoint_s: Silence that ends an utterance; `None`: only a flush or its length does.
        grammar: The only phrases; empty for the receptionist's language model.
        alternatives: How many readings of a final to return, the best one included.
    """

    encoding: str = "linear16"
    rate_hz: int = 16_000
    endpoint_s: float | None = 0.3
    grammar: tuple[str, ...] = ()
    alternatives: int = 1

    def as_json(self) -> bytes:
        """Return the value as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Parse the result of `as_json`."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "grammar": tuple(fields["grammar"])})
