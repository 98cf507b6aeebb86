"""Parses lengths of time as people type them: `90s`, `30m`, `1h30m`, `2d`."""

import re
from datetime import timedelta
from typing import Final

from configuration.errors import shown
from runtime.exits import UsageError

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST: Final = timedelta(days=366)  # the longest time that a record is usually kept
SPAN: Final = re.compile(r"(?:[0-9]{1,9}[smhd])+")
PART: Final = re.compile(r"(\d+)([smhd])")


def read_span(text: str, *, option: str) -> timedelta:
    """Parse a length of time.

    Raises:
        UsageError: The text is not a length of time, or it is zero or too long.
    """
    cleaned = text.strip().lower()
    cure = "give a length of time such as 90s, 30m, 1h30m or 2d"
    if not SPAN.fullmatch(cleaned):
        raise UsageError(f"{option} is {shown(text)}; {cure}")
    span = timedelta(seconds=sum(int(count) * UNITS[unit] for count, unit in PART.findall(cleaned)))
    if not timedelta(0) < span <= LONGEST:
        raise UsageError(f"{option} is {shown(text)}; {cure}, at most {LONGEST.days}d")
    return span
