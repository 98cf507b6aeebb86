"""Clocks for tests of code that reads the time itself."""

from collections.abc import Callable


def always(now_s: float) -> Callable[[], float]:
    """Return a clock that always reads `now_s`."""
    return lambda: now_s


class HandClock:
    """A clock that a test sets: `clock.now += 1.0`."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now
