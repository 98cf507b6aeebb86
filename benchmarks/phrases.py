"""What the benchmark's caller says: short questions with short answers."""

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from scripts.caller_voice import Voices

ASKED: Final = (
    "Good morning.",
    "This is Maria.",
    "Good morning, this is Maria.",
    "Hello, my name is Maria.",
)
# In this voice Smart Turn is at least 0.95 sure that each of these is complete, whatever silence
# stands around it (measured); a turn that it takes for unfinished is not a healthy one.
VOICE: Final = "en-us+m3"
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
