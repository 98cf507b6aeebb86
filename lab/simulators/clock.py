"""The only reader of clocks in the lab."""

import datetime
import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]


def monotonic() -> float:
    """Return monotonic seconds, for delays and schedules."""
    return time.monotonic()


def utc_now() -> datetime.datetime:
    """Return the time of day in UTC, for `created` fields and the record."""
    return datetime.datetime.now(tz=datetime.UTC)
