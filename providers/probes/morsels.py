"""The content of probes: two words to synthesise, half a second of speech to recognise."""

import base64
import functools
import wave
from pathlib import Path
from typing import Final

WORDS: Final = "One moment."
SPEECH: Final = Path(__file__).parent.parent / "data" / "probe_speech.wav"


@functools.cache
def speech() -> tuple[bytes, int]:
    """Return recorded speech as 16-bit samples, and its rate in Hz."""
    with wave.open(str(SPEECH), "rb") as recording:
        return recording.readframes(recording.getnframes()), recording.getframerate()


def audible(encoded: object) -> bool:
    """Return whether a base64 piece of 16-bit audio holds more than digital silence."""
    if not isinstance(encoded, str):
        return False
    try:
        return any(base64.b64decode(encoded))
    except ValueError:
        return False
