"""Tones for callers: to speak after, and while they wait for a person; 16-bit mono."""

from typing import Final

import numpy as np

from processors.holding.hold_rhythm_rules import TONE_EVERY_S

MESSAGE_TONE_HZ: Final = 1000  # inside the telephone band, and not a dial tone (chosen)
MESSAGE_TONE_S: Final = 0.3
MESSAGE_TONE_LEVEL: Final = 8000  # of 32768
HOLD_TONE_HZ: Final = 440.0
HOLD_TONE_S: Final = 0.4
HOLD_TONE_LEVEL: Final = 1500  # of 32768, about -27 dBFS: well below speech
FADE_S: Final = 0.05  # a tone without a fade clicks


def message_tone(rate_hz: int) -> bytes:
    """Return the tone that tells the caller to speak."""
    moments = np.arange(round(MESSAGE_TONE_S * rate_hz)) / rate_hz
    wave = MESSAGE_TONE_LEVEL * np.sin(2 * np.pi * MESSAGE_TONE_HZ * moments)
    return wave.astype("<i2").tobytes()


def hold_tone(rate_hz: int) -> bytes:
    """Return a soft tone and the pause after it."""
    moments = np.arange(round(HOLD_TONE_S * rate_hz)) / rate_hz
    fade = np.clip(np.minimum(moments, HOLD_TONE_S - moments) / FADE_S, 0.0, 1.0)
    tone = HOLD_TONE_LEVEL * fade * np.sin(2 * np.pi * HOLD_TONE_HZ * moments)
    pause = np.zeros(round(TONE_EVERY_S * rate_hz) - len(tone))
    return np.concatenate([tone, pause]).astype("<i2").tobytes()
