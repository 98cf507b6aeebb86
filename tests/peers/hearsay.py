"""Whether an utterance was heard at the far end of a real line, word after word.

A telephone's sound passes resamplers, a codec and three buffers, and each may stretch or cut a
pause by a few hundredths of a second, so samples do not match from end to end. The utterance is
looked for in short pieces, each near its expected place.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 8_000
PIECE: Final = 2_000  # samples, a quarter of a second: a syllable or two
BLOCK: Final = 80  # samples between two looks
STRAYS: Final = 15  # blocks, 0.15 s, that a piece may be off its place
# Correlations over all pieces. A spoken text has 0.71 and more (the local voice does not say a
# text twice to the sample); another text reaches 0.42, unless it has the same words.
SAME: Final = 0.6

Pcm = NDArray[np.int16]


def times_heard(heard: Pcm, wanted: Pcm) -> int:
    """Return how often an utterance was heard whole, each piece in its place."""
    likeness = likeness_at(heard, wanted)
    found, at = 0, 0
    while (near := np.flatnonzero(likeness[at:] > SAME)).size:
        found += 1
        at += int(near[0]) + wanted.size // BLOCK
    return found


def likeness_at(heard: Pcm, wanted: Pcm) -> NDArray[np.float64]:
    """Return the likeness to the utterance that begins at each block, 0 to 1."""
    pieces = [wanted[at : at + PIECE] for at in range(0, wanted.size - PIECE + 1, PIECE)]
    blocks = (heard.size - wanted.size) // BLOCK
    if blocks <= 0 or not pieces:
        return np.zeros(0)
    total = np.zeros(blocks)
    for number, piece in enumerate(pieces):
        alike = _correlation(heard, piece)
        best = alike[: alike.size // BLOCK * BLOCK].reshape(-1, BLOCK).max(axis=1)
        room = np.pad(best, STRAYS, constant_values=0.0)
        near = np.lib.stride_tricks.sliding_window_view(room, 2 * STRAYS + 1).max(axis=1)
        first = number * PIECE // BLOCK
        total += near[first : first + blocks]
    return total / len(pieces)


def _correlation(heard: Pcm, piece: Pcm) -> NDArray[np.float64]:
    """Return the likeness to a piece from each sample on, whatever its loudness."""
    a, b = heard.astype(np.float64), piece.astype(np.float64)
    length = 1 << (a.size + b.size).bit_length()
    alike = np.fft.irfft(np.fft.rfft(a, length) * np.fft.rfft(b[::-1], length), length)
    sums = np.concatenate([[0.0], np.cumsum(a * a)])
    energy = (sums[b.size :] - sums[: -b.size]) * float(b @ b)
    return np.clip(alike[b.size - 1 : a.size] / np.sqrt(np.maximum(energy, 1.0)), 0.0, 1.0)
