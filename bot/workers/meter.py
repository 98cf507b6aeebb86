"""Measures the load of this process: the cores in use, and the lag of its event loop.

Uses the beats of `lag.py`, so that both have the same figures.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from bot.workers.admission_rules import MEASURED_S

BEATS: Final = 40  # the sample's size: one long stall is not load, constant lag is
REPORT_S: Final = 0.25  # between two reports
LAG_QUANTILE: Final = 0.75  # is reported

Report = Callable[[float, float], None]
"""Takes the cores in use and the loop's lag in seconds."""


class Meter:
    """Reports the load every `REPORT_S`, as long as the loop beats."""

    def __init__(self, report: Report, *, processor_s: Callable[[], float]) -> None:
        """Call `report`; `processor_s` returns the processor time used so far, in seconds."""
        self._report = report
        self._processor_s = processor_s
        self._late_s: deque[float] = deque(maxlen=BEATS)
        self._spent: deque[tuple[float, float]] = deque()  # by beat: its time, and processor time
        self._reported_at: float | None = None

    def beat(self, now: float, late_s: float) -> None:
        """Record a beat that was `late_s` late; report the load if that is due."""
        self._late_s.append(late_s)
        self._spent.append((now, self._processor_s()))
        # `_cores_in_use` needs two beats, even if a stall lies between them.
        while self._spent[0][0] < now - MEASURED_S and len(self._spent) > 2:
            self._spent.popleft()
        if self._reported_at is None:
            self._reported_at = now
        elif now - self._reported_at >= REPORT_S:
            self._reported_at = now
            lag_s = sorted(self._late_s)[int(len(self._late_s) * LAG_QUANTILE)]
            self._report(self._cores_in_use(), lag_s)

    def _cores_in_use(self) -> float:
        """Return the cores in use: processor time divided by time, over the measured window."""
        (began_at, used_before_s), (ended_at, used_s) = self._spent[0], self._spent[-1]
        return (used_s - used_before_s) / (ended_at - began_at)
