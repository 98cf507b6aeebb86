"""Clocks for tests of what reads the time by itself."""

from collections.abc import Callable


def always(now_s: float) -> Callable[[], float]:
    """Return a clock that stands still."""
    return lambda: now_s
