"""Finds keys in a telephone's sound, as a receiver does."""

import numpy as np
from numpy.typing import NDArray

from transports.key_tones import COLUMNS_HZ, KEYS, ROWS_HZ

RATE_HZ = 8_000
LOOK = 400  # samples: 50 ms


def decode(pcm: NDArray[np.int16]) -> str:
    """Return the keys in a sound, as a receiver finds them: by the strongest of each group."""
    keys, last = "", ""
    for at in range(0, pcm.size - LOOK, LOOK // 4):
        now = _key(pcm[at : at + LOOK].astype(float))
        keys += now if now != last else ""
        last = now
    return keys


def _key(piece: NDArray[np.float64]) -> str:
    if np.abs(piece).max() < 2000:
        return ""
    low, high = (_strongest(piece, group) for group in (ROWS_HZ, COLUMNS_HZ))
    if not (low and high):
        return "-"
    return next(key for key, pair in KEYS.items() if pair == (low, high))


def _strongest(piece: NDArray[np.float64], group: tuple[int, ...]) -> int:
    t = np.arange(piece.size) / RATE_HZ
    power = {hz: abs(np.dot(piece, np.exp(-2j * np.pi * hz * t))) / piece.size for hz in group}
    best = max(power, key=lambda hz: power[hz])
    return best if power[best] > 1000 else 0
