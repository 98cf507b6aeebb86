"""Formats moments: in ISO 8601 with an offset for files, with the zone's name for people."""

from datetime import UTC, datetime
from typing import Final

DAY_AND_TIME: Final = "%Y-%m-%d %H:%M:%S"


def iso(at: datetime | float | None, timespec: str = "auto") -> str:
    """Return a moment for files and programs; empty for `None`.

    Args:
        at: A moment, or seconds since 1970. Without a zone it is in UTC, as SQLite returns it.
        timespec: The precision, as in `datetime.isoformat`.
    """
    return "" if at is None else _with_zone(at).isoformat(timespec=timespec)


def for_people(at: datetime | float | None, form: str = DAY_AND_TIME) -> str:
    """Return a moment in UTC for people, with the zone's name; empty for `None`."""
    return "" if at is None else f"{_with_zone(at).astimezone(UTC):{form}} UTC"


def _with_zone(at: datetime | float) -> datetime:
    if isinstance(at, int | float):
        return datetime.fromtimestamp(at, UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
