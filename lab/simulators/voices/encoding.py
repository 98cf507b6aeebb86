"""Encodings of a provider's audio: linear PCM, float PCM, G.711, whole files."""

import io
from typing import Final

import numpy as np
import soundfile

from lab.simulators.samples import Samples

G711: Final = {"pcm_mulaw": "ULAW", "pcm_alaw": "ALAW"}  # our name: libsndfile's subtype
ENCODINGS: Final = ("pcm_s16le", "pcm_f32le", *G711)


def encode(samples: Samples, encoding: str) -> bytes:
    """Return raw audio.

    Args:
        samples: Mono, 16 bit.
        encoding: One of `ENCODINGS`.

    Raises:
        KeyError: Another encoding.
    """
    if encoding == "pcm_s16le":
        return samples.astype("<i2").tobytes()
    if encoding == "pcm_f32le":
        return (samples.astype("<f4") / np.float32(32768)).tobytes()
    raw = io.BytesIO()
    soundfile.write(raw, samples, 8000, format="RAW", subtype=G711[encoding])  # the rate is unused
    return raw.getvalue()


def as_file(samples: Samples, rate_hz: int, *, container: str) -> bytes:
    """Return a whole file: `wav` or `mp3`."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container.upper())
    return file.getvalue()


class Torn:
    """Bytes shifted by one: every message ends in the middle of a sample, but nothing is lost."""

    def __init__(self) -> None:
        self._kept = b""

    def pass_on(self, audio: bytes, *, tear: bool) -> bytes:
        """Return the next message; with `tear`, an even number of bytes becomes odd."""
        audio = self._kept + audio
        cut = len(audio) - (1 if tear and len(audio) % 2 == 0 else 0)
        self._kept = audio[cut:]
        return audio[:cut]
