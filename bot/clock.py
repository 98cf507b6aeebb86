"""The only place that reads clocks."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Returns seconds on the monotonic clock; what a decision is given as `now`."""


def monotonic() -> float:
    """Return the seconds of the monotonic clock, for decisions and durations."""
    return time.monotonic()


def utc_now() -> datetime:
    """Return the moment in UTC, for entries that people read."""
    return datetime.now(UTC)


def utc_s() -> float:
    """Return the seconds since 1970, for what is kept over processes and machines."""
    return time.time()


def processor_s() -> float:
    """Return the seconds that this process has had of processors, over all its threads."""
    return time.process_time()
