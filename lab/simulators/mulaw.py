"""G.711 mu-law, the telephone's 8-bit code for sound, as two tables.

Source: ITU-T G.711 (11/1988), table 2a: 8 segments, each twice as coarse as the one before, with
all bits inverted.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

SILENCE: Final = 0xFF  # the code of zero
_BIAS: Final = 33  # makes each segment start at a power of two
_CLIP: Final = 8158  # of 8192: the largest 14-bit magnitude that has a code


def _samples_from_codes(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 16-bit values of codes."""
    bits = ~codes & 0xFF
    segment, step = (bits >> 4) & 7, bits & 15
    magnitude = ((2 * step + _BIAS) << segment) - _BIAS
    return np.where(bits & 0x80, -magnitude, magnitude) * 4  # 14 bits in 16


def _codes_from_samples(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes of 16-bit values."""
    magnitude = np.minimum(np.abs(samples) >> 2, _CLIP) + _BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int64) - 5
    step = (magnitude >> (segment + 1)) & 15
    sign = np.where(samples < 0, 0x80, 0)
    return ~(sign | (segment << 4) | step) & 0xFF


_TO_LINEAR: Final = _samples_from_codes(np.arange(256)).astype(np.int16)
_TO_CODE: Final = _codes_from_samples(np.arange(-32768, 32768)).astype(np.uint8)


def decode(payload: bytes) -> Pcm:
    """Return mu-law bytes as 16-bit samples, one for each byte."""
    return _TO_LINEAR[np.frombuffer(payload, dtype=np.uint8)]


def encode(samples: Pcm) -> bytes:
    """Return 16-bit samples as mu-law bytes, one for each sample."""
    return _TO_CODE[samples.astype(np.int32) + 32768].tobytes()
