"""CSV cells that are safe to open in a spreadsheet: foreign text is no formula."""

from typing import Final

# The characters that start a formula in a spreadsheet (OWASP, CSV Injection), also in full width.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def safe_cell(text: str) -> str:
    """Return a text that spreadsheets do not compute; `campaign import` reads numbers in it."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
