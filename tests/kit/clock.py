"""Clocks for tests of code that reads the time itself."""

from collections.abc import Callable


def always(now_s: float) -> Callable[[], float]:
    """Return a clock that always reads `now_s`."""
    return lambda: now_s
