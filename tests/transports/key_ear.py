"""Decodes DTMF in a telephone's sound."""

import numpy as np
from numpy.typing import NDArray

from transports.key_tones import COLUMNS_HZ, KEYS, ROWS_HZ

RATE_HZ = 8_000
LOOK = 400  # samples: 50 ms


GROUPS = (ROWS_HZ, COLUMNS_HZ)
# All at once: piece by piece, half a minute of sound takes long enough to stall the agent.
TURNS = [
    np.exp(-2j * np.pi * np.outer(np.arange(LOOK) / RATE_HZ, group)) / LOOK for group in GROUPS
]
PURE = 0.7  # of the energy


def decode(pcm: NDArray[np.int16]) -> str:
    """Return the keys in a sound, by the strongest tone of each DTMF group, as a receiver does."""
    if pcm.size <= LOOK:
        return ""
    pieces = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float32), LOOK)
    pieces = pieces[: pcm.size - LOOK : LOOK // 4]
    loud = np.abs(pieces).max(axis=1) >= 2000
    powers = [np.abs(pieces @ turn.astype(np.complex64)) for turn in TURNS]
    # Two tones and almost nothing else; a voice, too, is sometimes strong at two of these pitches.
    pure = sum(2 * power.max(axis=1) ** 2 for power in powers) > PURE * (pieces**2).mean(axis=1)
    keys, last = "", ""
    for number in range(len(pieces)):
        now = _key(*(power[number] for power in powers)) if loud[number] and pure[number] else ""
        keys += now if now != last else ""
        last = now
    return keys


def _key(*powers: NDArray[np.float32]) -> str:
    pair = tuple(group[int(power.argmax())] for power, group in zip(powers, GROUPS, strict=True))
    if min(power.max() for power in powers) <= 1000:
        return "-"
    return next(key for key, tones in KEYS.items() if tones == pair)
