"""What a caller said, made harmless: bounded, without control characters, still theirs."""

import unicodedata
from typing import Final

LIMIT: Final = 2_000  # characters of one turn; at 150 words a minute that is over two minutes
_REMOVED: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories that nobody can say aloud: control, format, private, surrogate, unassigned."""
_JOINERS: Final = frozenset("\u200c\u200d")  # part of spelling in Persian, Hindi and others


def clean(text: str, limit: int = LIMIT) -> str:
    """Return `text` as one line of speech, never longer than `limit` characters.

    Control and format characters become spaces, so that no word can pose as a message's border,
    and runs of white space become one. What is left is data: it is neither escaped nor judged.
    """
    head = text[: 2 * limit]  # bounds the work: a recogniser gone mad may send megabytes
    spoken = "".join(each if _sayable(each) else " " for each in head)
    return " ".join(spoken.split())[:limit].rstrip()


def without_halves(text: str) -> str:
    """Return `text` without halves of characters: nothing that is sent as UTF-8 can hold one."""
    return text.encode("utf-8", "ignore").decode()


def _sayable(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _REMOVED
