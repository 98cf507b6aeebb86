"""The only place that reads clocks."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Returns seconds on the monotonic clock; the `now` of a decision."""


def monotonic() -> float:
    """Return the seconds of the monotonic clock, for decisions and durations."""
    return time.monotonic()


def utc_now() -> datetime:
    """Return the time in UTC, for entries that people read."""
    return datetime.now(UTC)


def utc_s() -> float:
    """Return the seconds since 1970, for values that several processes or machines share."""
    return time.time()


def processor_s() -> float:
    """Return the processor time that all threads of this process have used, in seconds."""
    return time.process_time()
