"""In which encoding a file of contacts is written, by what its bytes look like.

A file that says so at its begin is believed. Everything that is UTF-8 to its end is UTF-8. Of the
encodings with a byte for each letter two are told apart: in cp1251 whole words are of bytes above
127, in the Western ones such a byte stands alone among ASCII.
"""

import codecs
from collections.abc import Iterable
from itertools import chain
from typing import Final

MARKS: Final = (  # the longer first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES: Final = 65_536
WIDE_SHARE: Final = 0.3  # of zero bytes at every second place: ASCII in UTF-16 has nearly half
IN_WORDS: Final = 0.6  # of bytes above 127 that stand beside one of their kind
UNUSED_IN_CP1252: Final = frozenset(b"\x81\x8d\x8f\x90\x9d")


def guess_encoding(pieces: Iterable[bytes]) -> str:
    """Return Python's name of the encoding; the pieces are those of the whole file."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    sample = b""
    # Behind the last piece comes an empty one: no letter may be unfinished by then.
    for piece in chain(filter(None, pieces), (b"",)):
        if len(sample) < SAMPLE_BYTES:
            sample += piece[: SAMPLE_BYTES - len(sample)]
            if told := _told(sample):
                return told
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            # The sample is to hold what is not UTF-8, and it may come late, or have begun before.
            # It may be in it twice then; no two of its letters are to become neighbours by that.
            late = error.object[error.start : error.start + SAMPLE_BYTES]
            return _single_byte(sample[: SAMPLE_BYTES // 2] + b"\n" + late)
    return "utf-8"


def _told(sample: bytes) -> str | None:
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    if len(sample) >= 4:
        half = len(sample) / 2
        if sample[1::2].count(0) > WIDE_SHARE * half and not sample[::2].count(0):
            return "utf-16-le"
        if sample[::2].count(0) > WIDE_SHARE * half and not sample[1::2].count(0):
            return "utf-16-be"
    return None


def _single_byte(sample: bytes) -> str:
    high = [index for index, byte in enumerate(sample) if byte > 127]
    places = set(high)
    beside = sum(1 for index in high if index - 1 in places or index + 1 in places)
    if high and beside > IN_WORDS * len(high):
        return "cp1251"
    return "latin-1" if UNUSED_IN_CP1252 & set(sample) else "cp1252"
