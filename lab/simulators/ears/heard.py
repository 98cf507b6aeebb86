"""Recognition results of an audio stream; times are seconds from the stream's start."""

import io
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from lab.simulators.samples import Samples

MODEL_HZ: Final = 16_000  # pocketsphinx's en-us model
RATES_HZ: Final = range(8000, 48_001)
ENCODINGS: Final = {"linear16": 2, "mulaw": 1, "alaw": 1}  # bytes a sample
_SUBTYPES: Final = {"mulaw": "ULAW", "alaw": "ALAW"}  # libsndfile's names for G.711


def _decoding_table(encoding: str) -> Samples:
    """Return the 256 values of a G.711 code."""
    codes = io.BytesIO(bytes(range(256)))
    samples, _ = soundfile.read(
        codes, dtype="int16", format="RAW", subtype=_SUBTYPES[encoding], channels=1, samplerate=8000
    )
    return samples.astype(np.int16)


class Intake:
    """Converts bytes into 16 kHz samples, in pieces of any size."""

    def __init__(self, *, encoding: str, rate_hz: int) -> None:
        """Create a converter for one stream.

        Args:
            encoding: A key of `ENCODINGS`.
            rate_hz: In `RATES_HZ`.

        Raises:
            ValueError: The encoding or rate is not supported.
        """
        if encoding not in ENCODINGS:
            raise ValueError(f"encoding is {encoding!r}; it takes {', '.join(ENCODINGS)}")
        if rate_hz not in RATES_HZ:
            raise ValueError(f"rate_hz is {rate_hz}; it takes 8000 to 48000")
        self._table = None if encoding == "linear16" else _decoding_table(encoding)
        self._half_sample = b""
        self._rate_hz = rate_hz
        self._resampler = self._new_resampler()

    def take(self, audio: bytes) -> Samples:
        """Return the complete samples; half a sample waits for its second byte."""
        samples = self._linear_samples(audio)
        if self._resampler is None:
            return samples
        return _as_int16(self._resampler.resample_chunk(samples.astype(np.float32)))

    def drain(self) -> Samples:
        """Return the last milliseconds, which the resampler otherwise holds back."""
        if self._resampler is None:
            return np.zeros(0, np.int16)
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._resampler = self._new_resampler()
        return _as_int16(rest)

    def _new_resampler(self) -> soxr.ResampleStream | None:
        if self._rate_hz == MODEL_HZ:
            return None
        # As floats: soxr dithers integers, with a memory address as seed. The same audio would give
        # different samples in every process, and sometimes a different word.
        return soxr.ResampleStream(self._rate_hz, MODEL_HZ, 1, dtype="float32", quality="LQ")

    def _linear_samples(self, audio: bytes) -> Samples:
        """Return bytes as samples; half a sample is kept for the next piece."""
        if self._table is not None:
            return self._table[np.frombuffer(audio, np.uint8)]
        audio = self._half_sample + audio
        whole = len(audio) - len(audio) % 2
        self._half_sample = audio[whole:]
        return np.frombuffer(audio[:whole], "<i2").astype(np.int16)


def _as_int16(samples: NDArray[np.float32]) -> Samples:
    return samples.round().clip(-32768, 32767).astype(np.int16)


What: TypeAlias = Literal["speech_started", "interim", "final", "flushed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognisedWord:
    """One recognised word, in lower case.

    Attributes:
        confidence: From 0 to 1: the word's posterior in the recogniser's lattice; in an interim
            result, which has no lattice yet, its acoustic score relative to the best possible one.
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
            will not change; `flushed`: the final result that answers a flush; `failed`: the stream
            cannot continue.
        others: Other readings of a final result, the likelier ones first.
        endpoint: Whether the speaker paused at `end_s`.
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
        endpoint_s: Silence that ends an utterance; `None`: only a flush or its length ends it.
        grammar: The only phrases to recognise; empty for the receptionist's language model.
        alternatives: How many readings of a final result to return, including the best one.
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
