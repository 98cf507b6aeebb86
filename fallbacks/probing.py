"""When to try a rung without a caller, and how.

A healthy rung is asked a cheap question now and then. One that is suspect, or whose breaker is not
closed, gets a small request of the real kind, soon and then ever more seldom, but at least once a
minute, whatever is wrong. One probe at a time; one that never reports is forgotten; and what probes
of the real kind cost in a day is bounded.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from fallbacks.breaker import State
from fallbacks.health import Health

DAY_S: Final = 86_400.0
STEPS_S: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


def is_doubted(health: Health) -> bool:
    """Return whether a rung is suspect, open or half-open."""
    return health.breaker.state is not State.CLOSED or health.suspect_since is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How often, and at what cost."""

    interval_s: float = 60.0  # of cheap probes of a healthy rung; 0: probing is off
    timeout_s: float = 5.0  # of one probe; one that has not reported in twice that is forgotten
    cost: float = 0.0001  # of one probe of the real kind, in the price table's currency
    daily_cost: float = 0.25  # for each rung; beyond it probes are cheap ones
    steps_s: tuple[float, ...] = STEPS_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Try the rung now."""

    number: int
    real: bool  # a synthetic request of the real kind; else connect and authenticate
    counts: bool  # a success says that the rung is well: real, or the best that can be afforded
    timeout_s: float


class Probing:
    """Plans the probes of one rung."""

    def __init__(self, *, now: float, settings: ProbeSettings | None = None) -> None:
        self._settings = settings or ProbeSettings()
        self._doubted = False
        self._fails = 0  # probes without a success since it was doubted, or was not
        self._next_at: float | None = None
        self._out: tuple[int, float] | None = None  # the probe under way, and when to forget it
        self._number = 0
        self._paid: deque[float] = deque()  # when the real ones of the last day were
        self._plan(now)

    @property
    def wake_at(self) -> float | None:
        """The moment at which `tick` has something to do; None while probing is off."""
        return self._next_at if self._out is None else self._out[1]

    def see(self, now: float, *, doubted: bool) -> None:
        """Record whether the rung is doubted; call it whenever that may have changed."""
        if doubted is self._doubted:
            return
        self._doubted, self._fails = doubted, 0
        self._plan(now)

    def reset(self, now: float) -> None:
        """Probe at once, on an operator's word."""
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
        """Note how a probe went; tell the roster first, and then `see`."""
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
