"""Which characters of a text espeak-ng is given."""

import functools
import unicodedata
from collections.abc import Mapping
from typing import Final

SAID_SIGNS: Final = "°№"  # the two of Unicode's pictures that stand for a word of a sentence
BREAKS: Final = "\n\r\t"
UNREAD: Final = frozenset({"So", "Cc", "Cn", "Co", "Cs"})  # pictures, controls, nobody's
# By the beginnings of Unicode's names: what every voice reads or spells.
EVERYWHERE: Final = ("LATIN", "CYRILLIC", "GREEK", "COMBINING")
_CHINESE: Final = ("CJK", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO")
_JAPANESE: Final = (*_CHINESE, "HIRAGANA", "KATAKANA", "HALFWIDTH")
# What only some read; by espeak-ng's names of languages.
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
    """Return the text with blanks for what a voice is not to be given, so just as long.

    A voice spells pictures and letters of other scripts, which helps nobody, and espeak-ng 1.52 has
    too little room for some of it: one "⣟" ends a process in which an Arabic voice speaks, "J掤"
    with an Armenian exclamation mark one with a Spanish voice. A C string ends at NUL.

    Args:
        text: What is said.
        language: espeak-ng's tag of what the voice speaks, such as `es-419`.
    """
    own = language.partition("-")[0]
    return "".join(item if _is_read(item, own) else " " for item in text)


@functools.lru_cache(maxsize=4096)  # characters; a reply has some fifty different ones
def _is_read(character: str, language: str) -> bool:
    if character in SAID_SIGNS + BREAKS:
        return True
    if unicodedata.category(character) in UNREAD:
        return False
    if character < "\u0250" or "\u200b" <= character <= "\u22ff":  # Latin; signs, joiners
        return True
    return unicodedata.name(character, "").startswith(EVERYWHERE + OWN.get(language, ()))
