"""Measures what a process needs of the machine: cores in use, and how late its loop is."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from bot import clock

LOOK_S: Final = 0.05
WINDOW: Final = 40  # looks, two seconds: one long stall is no load, a loop that is always late is
REPORT: Final = 5  # looks between two reports
USUAL: Final = 0.75  # of the looks were no later than what is reported

Report = Callable[[float, float], None]
"""Takes the cores in use and the loop's lag in seconds."""


async def measure(report: Report) -> None:
    """Report several times a second, until cancelled."""
    late_s: deque[float] = deque(maxlen=WINDOW)
    spent: deque[tuple[float, float]] = deque(maxlen=WINDOW)
    looks = 0
    while True:
        began = clock.monotonic()
        await asyncio.sleep(LOOK_S)
        now = clock.monotonic()
        late_s.append(max(0.0, now - began - LOOK_S))
        spent.append((now, clock.processor_s()))
        looks += 1
        if looks % REPORT == 0:
            report(_cores(spent), sorted(late_s)[int(len(late_s) * USUAL)])


def _cores(spent: deque[tuple[float, float]]) -> float:
    (from_s, from_used), (to_s, to_used) = spent[0], spent[-1]
    return (to_used - from_used) / max(to_s - from_s, LOOK_S)
