"""Finds the encoding of a text file from its bytes.

A byte order mark decides. A file that is valid UTF-8 to its end is UTF-8. Any other file is decoded
with every encoding that is common in offices, and the one with the fewest odd words wins: a word is
odd if it mixes alphabets, has a symbol inside, or changes to capitals in its middle. In a short
file several encodings often tie; then the country decides: first that of the file's owner, then
those of the telephone numbers in the file.
"""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from fallbacks.data_files import read_data

MARKS: Final = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ENCODING_SAMPLE_BYTES: Final = 65_536
WIDE_SHARE: Final = 0.3  # of zeros among every second byte; in ASCII text as UTF-16 nearly all are
MAX_WORDS: Final = 400  # judged for each encoding
MAX_SHOWN: Final = 3  # cells in a sample for the user
SHOWN_LENGTH: Final = 40  # characters of such a cell
MANY: Final = 3  # words without an ASCII letter that suggest another alphabet (chosen)

OFFICES: Final[Mapping[str, Sequence[str]]] = read_data(__name__, "text_encoding.yaml")
OF_REGION: Final = {region: names for key, names in OFFICES.items() for region in key.split()}
EVERYWHERE: Final = ("cp1252", "latin-1", "cp1251", "cp1250", "cp932", "gb18030", "cp949")
INVALID: Final = "\ufffd"  # a decoder's replacement for invalid bytes
INSIDE: Final = frozenset("'’ʼ·.-‐‑–—")  # noqa: RUF001 - allowed inside a name
PLUS: Final = re.compile(r"(?:\+|\b00)(\d{6,15})")
EASTERN: Final = frozenset(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "FULLWIDTH"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoding:
    """A text encoding.

    Attributes:
        name: Python's name for it.
        sample: A few cells that other encodings read differently; empty if the encoding is certain.
    """

    name: str
    sample: tuple[str, ...] = ()


def guess_encoding(pieces: Iterable[bytes], *, region: str = "") -> TextEncoding:
    """Guess the encoding of a file.

    Args:
        pieces: The bytes of the whole file. All are checked for UTF-8; a guess is based on at most
            about `ENCODING_SAMPLE_BYTES` of them.
        region: The country of the file's owner, ISO 3166-1; empty if unknown.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    sample = b""
    # The final empty piece makes an incomplete character at the end an error.
    for piece in chain(filter(None, pieces), (b"",)):
        if len(sample) < ENCODING_SAMPLE_BYTES:
            sample += piece[: ENCODING_SAMPLE_BYTES - len(sample)]
            if name := _obvious_encoding(sample):
                return TextEncoding(name=name)
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            # The sample must contain the bytes that are not UTF-8, which may come late. Its two
            # parts may overlap; the line feed keeps their words apart.
            begin = error.object.rfind(b"\n", 0, error.start) + 1
            late = error.object[begin : begin + ENCODING_SAMPLE_BYTES]
            return _best_encoding(sample[: ENCODING_SAMPLE_BYTES // 2] + b"\n" + late, region)
    return TextEncoding(name="utf-8")


def _sample_cells(text: str) -> tuple[str, ...]:
    """Return a few cells that contain characters other than ASCII."""
    found = re.findall(r"[^,;|\t\r\n\"]*[^\x00-\x7f,;|\t\r\n\"][^,;|\t\r\n\"]*", text)
    cells = dict.fromkeys(cell.strip()[:SHOWN_LENGTH] for cell in found)
    return tuple(cells)[:MAX_SHOWN]


def _obvious_encoding(sample: bytes) -> str | None:
    """Return the encoding by its mark, or UTF-16 by its zero bytes; `None` if it shows neither."""
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


def _best_encoding(sample: bytes, region: str) -> TextEncoding:
    """Return the encoding with the fewest odd words; of several, the first of a country's."""
    hinted = [
        name for place in _likely_regions(sample, region) for name in OF_REGION.get(place, ())
    ]
    decoded = {name: sample.decode(name, "replace") for name in (*hinted, *EVERYWHERE)}
    name = min(decoded, key=lambda name: _count_odd(decoded[name], hinted=name in hinted))
    return TextEncoding(name=name, sample=_sample_cells(decoded[name]))


def _likely_regions(sample: bytes, region: str) -> Iterator[str]:
    """Yield the owner's country, then those of the numbers with a country code."""
    yield region
    digits = PLUS.findall(sample.decode("ascii", "replace"))
    codes = Counter(code for number in digits if (code := _country_code(number)))
    for code, _ in codes.most_common(MAX_SHOWN):
        yield COUNTRY_CODE_TO_REGION_CODE[code][0]


def _country_code(digits: str) -> int | None:
    codes = (int(digits[:length]) for length in (1, 2, 3))
    return next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), None)


def _count_odd(text: str, *, hinted: bool) -> int:
    """Count the words that no person would have written, and invalid bytes.

    A word that mixes alphabets counts twice. Words of accents alone count unless `hinted` and rare.
    """
    words = [word for word in re.findall(r"[^\x00-@\[-`{-\x7f]+", text) if not word.isascii()]
    words = words[:MAX_WORDS]
    odd = sum(_mixes_alphabets(word) + _is_odd(word) for word in words) + text.count(INVALID)
    # Russian in a Western encoding is "Àííà"; "Żółć" alone is just Polish.
    foreign = sum(map(_is_all_accents, words))
    exempt = hinted and (foreign < MANY or foreign * 2 <= len(words))
    return odd if exempt else odd + foreign


def _is_all_accents(word: str) -> bool:
    letters = [letter for letter in word if letter.isalpha()]
    return len(letters) >= MANY and all(
        not letter.isascii() and unicodedata.name(letter, "").startswith("LATIN")
        for letter in letters
    )


def _scripts_in_word(word: str) -> set[str]:
    kinds = {_script_of_letter(sign) for sign in word if unicodedata.category(sign)[0] in "LM"}
    return kinds - {"COMBINING"}  # a separate accent


def _mixes_alphabets(word: str) -> bool:
    return len(_scripts_in_word(word)) > 1


def _is_odd(word: str) -> bool:
    """Return whether a word mixes alphabets, has a symbol inside, or changes to capitals in it."""
    kinds = _scripts_in_word(word)
    if len(kinds) > 1 or "HALFWIDTH" in kinds:
        return True
    if any(unicodedata.category(sign) in ("Cc", "Cf", "Cn", "Co", "So") for sign in word):
        return True
    core = word.strip("".join(sign for sign in word if unicodedata.category(sign)[0] in "PZ"))
    if kinds and any(_is_foreign_inside(sign) for sign in core):
        return True
    return any(
        first.islower() and then.isupper() and not (first + then).isascii()
        for first, then in pairwise(word)
    )


def _is_foreign_inside(sign: str) -> bool:
    """Return whether a character does not belong inside a word."""
    kind = unicodedata.category(sign)
    return kind[0] not in "LMZ" and sign not in INSIDE and not sign.isascii()


def _script_of_letter(letter: str) -> str:
    """Return a letter's script; Chinese, Japanese and Korean ones count as one."""
    first = unicodedata.name(letter, "UNKNOWN").split()[0]
    if first in EASTERN:
        return "EASTERN"
    return "LATIN" if first in ("FEMININE", "MASCULINE", "MODIFIER") else first
