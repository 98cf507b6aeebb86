"""What every voice's answer to a whole text must be: sound, all of it, and no half samples."""

from typing import Final

import numpy as np

from fallbacks.failure import Kind
from fallbacks.symptoms import Symptom
from fallbacks.whole_speech import is_cut_short
from providers.batch.post import BatchAnswer, trouble
from providers.provider import RungSpec

AUDIBLE: Final = 164  # of 32768, about -46 dBFS
NO_SOUND: Final = ("text/", "application/json")  # content types of pages and of explanations
LETTER_S: Final = 0.1  # for a letter to be spoken and sent; speech takes 0.07 s, so slower is late


def patience_s(rung: RungSpec, text: str) -> float:
    """Return how long a rung may take for a whole text."""
    return rung.timeout_s + LETTER_S * len(text)


def check_sound(answer: BatchAnswer, rung: RungSpec, text: str) -> bytes:
    """Return an answer's samples if they are what was asked for.

    Args:
        answer: Whose body is linear, 16 bit, little-endian, mono, at the rung's rate.
        rung: Whose answer it is.
        text: What was to be said.

    Raises:
        ServiceError: They are not: no sound, half of it, silence.
    """
    pcm = answer.body
    if answer.content_type.startswith(NO_SOUND):
        raise trouble(Symptom.GARBAGE, rung, "an answer that is no sound")
    if len(pcm) % 2:
        raise trouble(Symptom.ODD_AUDIO, rung, "half a sample")
    if not pcm:
        raise trouble(Symptom.NO_AUDIO, rung, "no sound")
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > AUDIBLE)
    if not loud.size:
        raise trouble(Symptom.ZERO_AUDIO, rung, "silence")
    if is_cut_short(text, audible_s=float(loud[-1] - loud[0]) / rung.sample_rate_hz):
        raise trouble(Kind.CUT, rung, "far too short for its text")
    return pcm
