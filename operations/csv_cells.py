"""Makes CSV cells safe to open in a spreadsheet: no text becomes a formula."""

import re
from typing import Final

# The characters that start a formula in a spreadsheet (OWASP, CSV Injection), also in full width.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
INVISIBLE: Final = re.compile(  # a program that reads the cell may leave these out
    r"\A[ \xa0\x00-\x08\x0e-\x1f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+"
)
# A spreadsheet may also end a cell elsewhere than we do: in half of Europe at a semicolon, in other
# settings at a tab, a bar or a line end. Quotes that do not begin such a cell do not protect it.
INNER: Final = re.compile(r"""([;；|\t\r\n\v\f\x85\u2028\u2029][\s"]*)(?=[=+@＝＋－＠-])""")  # noqa: RUF001
ADDED: Final = re.compile(INNER.pattern.replace("(?=", "'(?="))


def safe_cell(text: str) -> str:
    """Put an apostrophe before a text, or a part of it, that a spreadsheet would compute.

    `campaign import` still reads such numbers.
    """
    rest = text.lstrip()
    text = text.removesuffix(rest) + INNER.sub(r"\1'", rest)
    return f"'{text}" if INVISIBLE.sub("", text).startswith(FORMULA) else text


def plain_cell(cell: str) -> str:
    """Return the text that `safe_cell` has turned into this cell; any other cell is unchanged."""
    text = ADDED.sub(r"\1", cell)
    return next((item for item in (text[1:], text) if item and safe_cell(item) == cell), cell)
