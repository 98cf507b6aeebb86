"""Cells that others' spreadsheets will open: what came from strangers is text there, no formula."""

from typing import Final

# With what a formula begins in a spreadsheet (OWASP, CSV Injection), also in full width.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet computes; `campaign import` reads a number in it again."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
