"""What a voice is probed with, and when its answer counts as sound."""

import base64
from typing import Final

WORDS: Final = "One moment."


def audible(encoded: object) -> bool:
    """Say whether a base64 piece of 16-bit audio holds more than digital silence."""
    if not isinstance(encoded, str):
        return False
    try:
        return any(base64.b64decode(encoded))
    except ValueError:
        return False
