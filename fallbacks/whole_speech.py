"""Finds audio that is too short for its text although the utterance ended cleanly."""

from typing import Final

LETTER_S: Final = 0.025  # the least audio for a letter: speech takes 0.07 s, so less was cut off


def is_cut_short(text: str, *, audible_s: float) -> bool:
    """Return whether `audible_s` of audio is far too short for a text."""
    return audible_s < LETTER_S * sum(item.isalnum() for item in text)
