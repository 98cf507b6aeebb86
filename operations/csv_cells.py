"""Makes CSV cells safe to open in a spreadsheet: no text becomes a formula."""

from typing import Final

# The characters that start a formula in a spreadsheet (OWASP, CSV Injection), also in full width.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def safe_cell(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would compute.

    `campaign import` still reads such numbers.
    """
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
