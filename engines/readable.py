"""Selects the characters that espeak-ng may read."""

import functools
import unicodedata
from collections.abc import Mapping
from typing import Final

SAID_SIGNS: Final = "°№"  # the two signs of category So that are read as words
BREAKS: Final = "\n\r\t"
UNREAD: Final = frozenset({"So", "Cc", "Cn", "Co", "Cs"})  # pictures, controls, unassigned
# Prefixes of Unicode names that every voice reads or spells.
EVERYWHERE: Final = ("LATIN", "CYRILLIC", "GREEK", "COMBINING")
_CHINESE: Final = ("CJK", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO")
_JAPANESE: Final = (*_CHINESE, "HIRAGANA", "KATAKANA", "HALFWIDTH")
# Prefixes that only some languages read, by espeak-ng's language names.
OWN: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("am", "ti"), ("ETHIOPIC",)),
    **dict.fromkeys(("ar", "fa", "sd", "ug", "ur"), ("ARABIC",)),
    **dict.fromkeys(("as", "bn", "bpy"), ("BENGALI", "DEVANAGARI DANDA")),
    **dict.fromkeys(("hi", "kok", "mr", "ne"), ("DEVANAGARI",)),
    **dict.fromkeys(("hy", "hyw"), ("ARMENIAN",)),
    **dict.fromkeys(("my", "shn"), ("MYANMAR",)),
    **dict.fromkeys(("cmn", "hak", "yue"), _CHINESE),
    "ja": _JAPANESE,
    "ko": (*_CHINESE, "HANGUL"),
    "chr": ("CHEROKEE",),
    "gu": ("GUJARATI",),
    "he": ("HEBREW",),
    "ka": ("GEORGIAN",),
    "kn": ("KANNADA",),
    "ml": ("MALAYALAM",),
    "or": ("ORIYA",),
    "pa": ("GURMUKHI",),
    "si": ("SINHALA",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
}


def readable(text: str, language: str) -> str:
    """Replace unreadable characters by blanks; the length of the text does not change.

    A voice spells out pictures and letters of other scripts, which does not help a caller. Some of
    them also overflow a buffer in espeak-ng 1.52: "⣟" crashes a process with an Arabic voice, and
    "J掤" with an Armenian exclamation mark one with a Spanish voice. A C string ends at NUL.

    Args:
        text: The text to be spoken.
        language: espeak-ng's language tag of the voice, such as `es-419`.
    """
    own = language.partition("-")[0]
    return "".join(item if _is_read(item, own) else " " for item in text)


@functools.lru_cache(maxsize=4096)  # characters; a reply has about fifty distinct ones
def _is_read(character: str, language: str) -> bool:
    """Return whether every voice reads a character, or those of this language do."""
    if character in SAID_SIGNS + BREAKS:
        return True
    if unicodedata.category(character) in UNREAD:
        return False
    if character < "\u0250" or "\u200b" <= character <= "\u22ff":  # Latin; signs, joiners
        return True
    return unicodedata.name(character, "").startswith(EVERYWHERE + OWN.get(language, ()))
