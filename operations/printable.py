"""Text as a log may have it: one line, no control characters, no cards, and not without end."""

import re
from typing import Final

LONGEST_BYTES: Final = 1024  # of a line's own text; a line of ours has 100 to 500
CUT_SHORT: Final = "… [{} more bytes]"
# What a terminal obeys and what ends a line, in any alphabet: C0 and C1, line and paragraph
# separators, marks that turn the direction of writing round (Unicode 15, UAX 9), lone surrogates.
CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
CARD_SHAPED: Final = re.compile(  # 13 to 19 digits (ISO/IEC 7812), no part of a word or a fraction
    r"(?<!\w)(?<!\d\.)\d(?:[ -]?\d){12,18}(?!\w|\.\d)"
)
SHOWN_DIGITS: Final = 4  # of a card, the last ones, as on a receipt


def one_line(text: str) -> str:
    """Return text with each control character written out, as a language would write it."""
    return CONTROL.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text
    )


def bounded(text: str) -> str:
    """Return the beginning of a text that is longer than a line may be, and how much is missing."""
    raw = text[: LONGEST_BYTES + 1].encode("utf-8", "replace")
    if len(raw) <= LONGEST_BYTES and len(text) <= LONGEST_BYTES:
        return text
    kept = raw[:LONGEST_BYTES].decode("utf-8", "ignore")
    return kept + CUT_SHORT.format(len(text.encode("utf-8", "replace")) - len(kept.encode()))


def without_cards(text: str) -> str:
    """Return text with the numbers of cards masked, up to their last four digits."""
    return CARD_SHAPED.sub(_masked_card, text)


def _masked_card(found: re.Match[str]) -> str:
    digits = [int(each) for each in found[0] if each.isdigit()]
    if not _passes_luhn(digits):
        return found[0]
    return "*" * (len(digits) - SHOWN_DIGITS) + "".join(map(str, digits[-SHOWN_DIGITS:]))


def _passes_luhn(digits: list[int]) -> bool:
    """Return whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    doubled = [2 * each for each in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(each - 9 * (each > 9) for each in doubled)) % 10 == 0
