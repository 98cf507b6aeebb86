"""Plans the probes of a rung.

A healthy rung gets a cheap probe now and then. One that is suspect, or whose breaker is not closed,
gets a small request of the real kind, soon and then less and less often, but at least once a
minute, whatever the failure. Only one probe runs at a time, one that never reports is forgotten,
and the daily cost of real probes is bounded.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from fallbacks.availability import RungAvailability
from fallbacks.breaker import State

DAY_S: Final = 86_400.0
STEPS_S: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


def is_doubted(rung: RungAvailability) -> bool:
    """Return whether a rung is suspect, open or half-open."""
    return rung.breaker.state is not State.CLOSED or rung.suspect_since is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How often, and at what cost."""

    interval_s: float = 60.0  # of cheap probes of a healthy rung; 0: probing is off
    timeout_s: float = 5.0  # of one probe; one that has not reported in twice that is forgotten
    cost: float = 0.0001  # of one real probe, in the price table's currency
    daily_cost: float = 0.25  # for each rung; beyond it probes are cheap ones
    steps_s: tuple[float, ...] = STEPS_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A probe to run now."""

    number: int
    real: bool  # a synthetic request of the real kind; else connect and authenticate
    counts: bool  # a success shows that the rung works: real, or the best within the budget
    timeout_s: float


class Probing:
    """Plans the probes of one rung."""

    def __init__(self, *, now: float, settings: ProbeSettings | None = None) -> None:
        self._settings = settings or ProbeSettings()
        self._doubted = False
        self._fails = 0  # consecutive failed probes; doubt, or its end, resets it
        self._next_at: float | None = None
        self._out: tuple[int, float] | None = None  # the probe in progress, and when to forget it
        self._number = 0
        self._paid: deque[float] = deque()  # times of the real probes of the last day
        self._plan(now)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`; `None` if probing is off."""
        return self._next_at if self._out is None else self._out[1]

    def see(self, now: float, *, doubted: bool) -> None:
        """Record whether the rung is doubted; call it whenever that may have changed."""
        if doubted is self._doubted:
            return
        self._doubted, self._fails = doubted, 0
        self._plan(now)

    def reset(self, now: float) -> None:
        """Probe at once, for an operator."""
        self._fails = 0
        self._next_at = now if self._settings.interval_s > 0 else None

    def tick(self, now: float) -> tuple[Probe, ...]:
        """Return the probe that is due."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        if self._out is not None:  # it never reported
            self._out = None
            self._failed(now)
            return ()
        real = self._doubted and self._affords(now)
        if real:
            self._paid.append(now)
        self._number += 1
        self._out = (self._number, now + 2 * self._settings.timeout_s)
        timeout_s = self._settings.timeout_s
        return (Probe(number=self._number, real=real, counts=self._doubted, timeout_s=timeout_s),)

    def reported(self, number: int, now: float, *, ok: bool) -> None:
        """Record a probe's result; update its availability first, then call `see`."""
        if self._out is None or self._out[0] != number:
            return
        self._out = None
        if ok:
            self._fails = 0
            self._plan(now)
        else:
            self._failed(now)

    def _failed(self, now: float) -> None:
        self._fails += 1
        self._plan(now)

    def _plan(self, now: float) -> None:
        self._next_at = now + self._wait_s() if self._settings.interval_s > 0 else None

    def _wait_s(self) -> float:
        if not self._doubted:
            return self._settings.interval_s
        steps = self._settings.steps_s
        return steps[min(self._fails, len(steps) - 1)]

    def _affords(self, now: float) -> bool:
        while self._paid and self._paid[0] <= now - DAY_S:
            self._paid.popleft()
        return (len(self._paid) + 1) * self._settings.cost <= self._settings.daily_cost
