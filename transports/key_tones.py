"""DTMF tones for keypad digits, for a line that carries only audio.

Source: ITU-T Q.23 (11/1988) for the frequencies; Q.24 for the lengths of a tone and its pause.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

TONE_S: Final = 0.1  # receivers need 40 ms (Q.24), older ones more
PAUSE_S: Final = 0.1
LEVEL: Final = 6000  # of 32768, for each of the two frequencies: about -15 dBFS, as in telephones
ROWS_HZ: Final = (697, 770, 852, 941)
COLUMNS_HZ: Final = (1209, 1336, 1477, 1633)
KEYS: Final[Mapping[str, tuple[int, int]]] = {
    key: (row, column)
    for row, keys in zip(ROWS_HZ, ("123A", "456B", "789C", "*0#D"), strict=True)
    for key, column in zip(keys, COLUMNS_HZ, strict=True)
}
MAX_KEYS: Final = 32  # a card number has 19


def key_tones(keys: str, *, rate_hz: int) -> bytes | None:
    """Return the tones of digits as 16-bit PCM; `None` for none, too many or invalid ones."""
    if not keys or len(keys) > MAX_KEYS or any(key not in KEYS for key in keys):
        return None
    pause = bytes(round(PAUSE_S * rate_hz) * 2)  # 2 bytes a sample
    return b"".join(_make_tone(*KEYS[key], rate_hz=rate_hz) + pause for key in keys)


def _make_tone(low_hz: int, high_hz: int, *, rate_hz: int) -> bytes:
    """Return `TONE_S` of two frequencies as 16-bit PCM, without the pause after it."""
    t = np.arange(round(TONE_S * rate_hz)) / rate_hz
    wave = np.sin(2 * np.pi * low_hz * t) + np.sin(2 * np.pi * high_hz * t)
    return (LEVEL * wave).astype("<i2").tobytes()
