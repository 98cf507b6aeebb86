"""Converts callers' audio to the format of the recogniser's model."""

import io
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from lab.simulators.samples import Samples

MODEL_HZ: Final = 16_000  # pocketsphinx's en-us model
RATES_HZ: Final = range(8000, 48_001)
ENCODINGS: Final = {"linear16": 2, "mulaw": 1, "alaw": 1}  # bytes a sample
_SUBTYPES: Final = {"mulaw": "ULAW", "alaw": "ALAW"}  # libsndfile's names for G.711


def _table(encoding: str) -> Samples:
    """Return the 256 values of a G.711 code."""
    codes = io.BytesIO(bytes(range(256)))
    samples, _ = soundfile.read(
        codes, dtype="int16", format="RAW", subtype=_SUBTYPES[encoding], channels=1, samplerate=8000
    )
    return samples.astype(np.int16)


class Intake:
    """Converts bytes into 16 kHz samples, in pieces of any size."""

    def __init__(self, *, encoding: str, rate_hz: int) -> None:
        """Prepare for one stream.

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
        self._table = None if encoding == "linear16" else _table(encoding)
        self._torn = b""
        self._rate_hz = rate_hz
        self._resampler = self._fresh()

    def take(self, audio: bytes) -> Samples:
        """Return the complete samples; half a sample waits for its second byte."""
        samples = self._linear(audio)
        if self._resampler is None:
            return samples
        return _whole(self._resampler.resample_chunk(samples.astype(np.float32)))

    def drain(self) -> Samples:
        """Return the last milliseconds, which the resampler holds back until more arrives."""
        if self._resampler is None:
            return np.zeros(0, np.int16)
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._resampler = self._fresh()
        return _whole(rest)

    def _fresh(self) -> soxr.ResampleStream | None:
        if self._rate_hz == MODEL_HZ:
            return None
        # As floats: soxr dithers integers with a seed made from an address, so the same audio would
        # give different samples in every process, and a borderline word another word.
        return soxr.ResampleStream(self._rate_hz, MODEL_HZ, 1, dtype="float32", quality="LQ")

    def _linear(self, audio: bytes) -> Samples:
        if self._table is not None:
            return self._table[np.frombuffer(audio, np.uint8)]
        audio = self._torn + audio
        whole = len(audio) - len(audio) % 2
        self._torn = audio[whole:]
        return np.frombuffer(audio[:whole], "<i2").astype(np.int16)


def _whole(samples: NDArray[np.float32]) -> Samples:
    return samples.round().clip(-32768, 32767).astype(np.int16)
