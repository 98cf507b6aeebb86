"""Makes CSV cells safe to open in a spreadsheet: no text becomes a formula."""

import re
from typing import Final

# The signs that start a formula in a spreadsheet (OWASP, CSV Injection), and all characters that
# Unicode (form NFKC) counts as one of them, such as those in full width.
SIGNS: Final = r"=+@⁼⁺₊₌﬩﹢﹣﹦﹫＋－＝＠\-"  # noqa: RUF001
# A program that reads a cell may leave these out: white space, controls, and what has no shape
# (Unicode, Default_Ignorable_Code_Point).
BLANK: Final = (
    r"\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
BEGIN: Final = re.compile(rf"[{BLANK}]*?[{SIGNS}\t\r\n]")
# A spreadsheet may also end a cell elsewhere than we do: in half of Europe at a semicolon, in other
# settings at a tab, a bar or a line end. Quotes that do not begin such a cell do not protect it.
INNER: Final = re.compile(
    rf"""([;；|\t\r\n\v\f\x85\u2028\u2029][{BLANK}"]*)(?=[{SIGNS}])"""  # noqa: RUF001
)
ADDED: Final = re.compile(INNER.pattern.replace("(?=", "'(?="))


def safe_cell(text: str) -> str:
    """Put an apostrophe before a text, or a part of it, that a spreadsheet would compute.

    `campaign import` still reads such numbers.
    """
    rest = text.lstrip()
    text = text.removesuffix(rest) + INNER.sub(r"\1'", rest)
    return f"'{text}" if BEGIN.match(text) else text


def plain_cell(cell: str) -> str:
    """Return the text that `safe_cell` has turned into this cell; any other cell is unchanged."""
    text = ADDED.sub(r"\1", cell)
    return next((item for item in (text[1:], text) if item and safe_cell(item) == cell), cell)
