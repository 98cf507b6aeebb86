"""What the benchmark's caller says: short questions with short answers."""

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from scripts.caller_voice import Voices

ASKED: Final = (
    "Good morning.",
    "Hi, is anybody there?",
    "My name is Anna.",
    "Good morning, can you hear me?",
)
VOICE: Final = "en-us+f3"
WORDS_A_MINUTE: Final = 150
RMS: Final = 0.1 * 32768  # -20 dBFS, as the recorded callers


def spoken(rate_hz: int) -> list[NDArray[np.int16]]:
    """Return each phrase as 16-bit mono samples."""
    voices = Voices()
    said: list[NDArray[np.int16]] = []
    for text in ASKED:
        sound = voices.say(text, voice=VOICE, words_a_minute=WORDS_A_MINUTE)
        sound = soxr.resample(sound, voices.rate_hz, rate_hz)
        sound *= RMS / np.sqrt(np.mean(np.square(sound)))
        said.append(np.clip(sound, -32768, 32767).astype(np.int16))
    return said
