"""The questions of the benchmark's caller: short sentences with short answers."""

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from scripts.caller_voice import Voices

# Voices and words. For each of these Smart Turn's probability of completeness is at least 0.92,
# whatever silence is around it (measured), and none has a pause that could be taken for its end.
ASKED: Final = (
    ("en-us+m3", "Good morning."),
    ("en-us+f3", "This is Maria."),
    ("en-us+m1", "Good morning."),
    ("en-us+m3", "This is Maria."),
    ("en-gb-x-rp+m1", "Good morning."),
    ("en-us+m1", "This is Maria."),
)
WORDS_A_MINUTE: Final = 150
RMS: Final = 0.1 * 32768  # -20 dBFS, like the recorded callers


def render_phrases(rate_hz: int) -> list[NDArray[np.int16]]:
    """Return each phrase as 16-bit mono samples."""
    voices = Voices()
    rendered: list[NDArray[np.int16]] = []
    for voice, text in ASKED:
        sound = voices.say(text, voice=voice, words_a_minute=WORDS_A_MINUTE)
        sound = soxr.resample(sound, voices.rate_hz, rate_hz)
        sound *= RMS / np.sqrt(np.mean(np.square(sound)))
        rendered.append(np.clip(sound, -32768, 32767).astype(np.int16))
    return rendered
