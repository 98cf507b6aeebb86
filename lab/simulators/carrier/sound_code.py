"""A carrier's encoding of sound on its websocket."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from lab.simulators import mulaw
from lab.simulators.mulaw import Pcm


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundCode:
    """Encodes and decodes mono sound.

    Attributes:
        rate_hz: Samples per second.
        sample_bytes: The size of a sample.
        silence: A silent sample.
        encode: Encodes samples.
        decode: Decodes bytes.
    """

    rate_hz: int
    sample_bytes: int
    silence: bytes
    encode: Callable[[Pcm], bytes]
    decode: Callable[[bytes], Pcm]


MULAW_CODE: Final = SoundCode(
    rate_hz=8000,
    sample_bytes=1,
    silence=bytes([mulaw.SILENCE]),
    encode=mulaw.encode,
    decode=mulaw.decode,
)


def plain_code(rate_hz: int, *, high_byte_first: bool = False) -> SoundCode:
    """Return a code for plain 16-bit samples."""
    order = ">i2" if high_byte_first else "<i2"
    return SoundCode(
        rate_hz=rate_hz,
        sample_bytes=2,
        silence=b"\0\0",
        encode=lambda samples: samples.astype(order).tobytes(),
        decode=lambda payload: np.frombuffer(payload, dtype=order).astype(np.int16),
    )
