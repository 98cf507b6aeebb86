"""Sums up what a process needs of the machine: cores in use, and how late its loop is.

It is given each beat of the loop by whoever measures our own lag (`lag.py`), and so asks the
same question once, not twice with two answers.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Final

from bot.config.settings import Settings
from bot.workers.admission_rules import MEASURED_S

LEAST: Final = 2  # chosen: the calls of a worker that dies wait 6 s for one that must be started


def own_cores() -> int:
    """Return how many cores this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes(settings: Settings) -> int:
    """Return how many workers there are to be, at least one."""
    return settings.server.workers or max(LEAST, own_cores())


BEATS: Final = 40  # that are looked at: one long stall is no load, a loop that is always late is
REPORT_S: Final = 0.25  # between two reports
USUAL: Final = 0.75  # of the beats were no later than what is reported

Report = Callable[[float, float], None]
"""Takes the cores in use and the loop's lag in seconds."""


class Meter:
    """Reports several times a second, as long as the loop beats."""

    def __init__(self, report: Report, *, processor_s: Callable[[], float]) -> None:
        """Report to `report`; `processor_s` returns how much processor time was used so far."""
        self._report = report
        self._processor_s = processor_s
        self._late_s: deque[float] = deque(maxlen=BEATS)
        self._spent: deque[tuple[float, float]] = deque()
        self._reported_at: float | None = None

    def beat(self, now: float, late_s: float) -> None:
        """Note a beat, and how much later it came than it should have."""
        self._late_s.append(late_s)
        self._spent.append((now, self._processor_s()))
        while self._spent[0][0] < now - MEASURED_S and len(self._spent) > 2:
            self._spent.popleft()
        if self._reported_at is None:
            self._reported_at = now
        elif now - self._reported_at >= REPORT_S:
            self._reported_at = now
            late_s = sorted(self._late_s)[int(len(self._late_s) * USUAL)]
            self._report(self._cores(), late_s)

    def _cores(self) -> float:
        (from_s, from_used), (to_s, to_used) = self._spent[0], self._spent[-1]
        return (to_used - from_used) / (to_s - from_s)
