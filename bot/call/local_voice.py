"""The local voice for what must be said at once: a text in, sound out, and no provider."""

from typing import Final

import numpy as np

from engines.espeak import UnknownVoiceError
from providers.espeak_words import Manner, names, pieces, speak
from providers.local_tts import VOICE
from providers.provider import RungSpec

KNOWN: Final = "en"  # what a language is spoken as that espeak-ng does not have


def say_locally(text: str, language: str, *, rate_hz: int, like: RungSpec | None = None) -> bytes:
    """Return a text as 16-bit mono sound; blocks for some milliseconds a sentence.

    Args:
        text: What is said.
        language: A tag such as `es-MX`.
        rate_hz: Of the sound.
        like: A local rung whose voice and manner are taken; the usual ones when None.
    """
    manner = Manner(**like.options) if like else Manner()
    voice = (like.voice if like else None) or VOICE
    try:
        spoken = [_speak(each, voice, language, manner, rate_hz) for each in pieces(text)]
    except UnknownVoiceError:
        spoken = [_speak(each, VOICE, KNOWN, manner, rate_hz) for each in pieces(text)]
    return np.concatenate(spoken).astype("<i2").tobytes() if spoken else b""


def _speak(sentence: str, voice: str, language: str, manner: Manner, rate_hz: int) -> np.ndarray:
    return speak(sentence, names(voice, language), manner=manner, rate_hz=rate_hz).samples
