"""Whether a voice that ended politely has said the whole text."""

from typing import Final

LETTER_S: Final = 0.025  # the least that a letter takes: speech takes 0.07 s, so less was cut off


def is_cut_short(text: str, *, audible_s: float) -> bool:
    """Say whether so much sound is far too little for a text."""
    return audible_s < LETTER_S * sum(item.isalnum() for item in text)
