"""Plans the probes of a rung.

A healthy rung gets a cheap probe now and then. A rung that is suspect, or whose breaker is not
closed, gets small requests of the real kind: the first one soon (at once if a call was refused for
good), the next ones less and less often, but at least once a minute, whatever the failure. Only one
probe runs at a time, and a probe that never reports is forgotten. The daily cost of real probes is
bounded.

A rung may have no cheap request: its vendor offers none, or our key is not permitted to make it.
Then each probe is a real one; while the rung is healthy, they are less frequent. What was not asked
is no result: if a real probe would cost too much, there is none.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from fallbacks.availability import RungAvailability
from fallbacks.breaker import State

DAY_S: Final = 86_400.0
REAL_EVERY: Final = 10  # intervals between the real probes of a healthy rung (chosen)
STEPS_S: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


def is_doubted(rung: RungAvailability) -> bool:
    """Return whether a rung is suspect, open or half-open."""
    return rung.breaker.state is not State.CLOSED or rung.suspect_since is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How often rungs are probed, and at what cost."""

    interval_s: float = 60.0  # between cheap probes of a healthy rung; 0 if probing is off
    timeout_s: float = 5.0  # of one probe; after twice this time without a report it is forgotten
    cost: float = 0.0001  # of one real probe, in the price table's currency
    daily_cost: float = 0.25  # of a rung's real probes; beyond it, it gets only cheap ones
    steps_s: tuple[float, ...] = STEPS_S  # waits between successive probes of a doubted rung


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A probe to run now."""

    number: int
    real: bool  # a synthetic request of the real kind; else connect and authenticate
    counts: bool  # a success counts even if the probe is a cheap one: the rung is doubted
    timeout_s: float


class Probing:
    """Plans the probes of one rung."""

    def __init__(
        self, *, now: float, settings: ProbeSettings | None = None, asks_cheaply: bool = True
    ) -> None:
        self._settings = settings or ProbeSettings()
        self._asks_cheaply = asks_cheaply
        self._doubted = False
        self._failed_in_a_row = 0  # failed probes, since `_doubted` last changed
        self._next_at: float | None = None
        # The number of the probe in progress, and when to forget it.
        self._running: tuple[int, float] | None = None
        self._number = 0
        self._paid: deque[float] = deque()  # times of the real probes of the last day
        self._plan_next_probe(now)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`; `None` if probing is off."""
        return self._next_at if self._running is None else self._running[1]

    def see(self, now: float, *, doubted: bool, refused: bool = False) -> None:
        """Record whether the rung is doubted; to be called whenever that may have changed.

        A change restarts the waits between probes; without one, nothing happens.
        A rung that is doubted because it refused a call for good is probed at once.
        """
        if doubted is self._doubted:
            return
        self._doubted, self._failed_in_a_row = doubted, 0
        self._plan_next_probe(now)
        if doubted and refused and self._next_at is not None:
            self._next_at = now

    def use_real_probes(self) -> None:
        """Plan real probes only: a cheap request would prove nothing."""
        self._asks_cheaply = False

    def reset(self, now: float) -> None:
        """Make the next probe due at once, for an operator, unless probing is off."""
        self._failed_in_a_row = 0
        self._next_at = now if self._settings.interval_s > 0 else None

    def tick(self, now: float) -> tuple[Probe, ...]:
        """Return the probe to start now, whose result must be `reported`, or nothing.

        A probe that has not reported in time is forgotten, and counts as failed. If no request may
        be sent, the wait for the next probe grows as after a failure.
        """
        if self.wake_at is None or now < self.wake_at:
            return ()
        if self._running is not None:
            self._running = None
            self._record_failure(now)
            return ()
        real = (self._doubted or not self._asks_cheaply) and self._can_afford_real_probe(now)
        if not real and not self._asks_cheaply:
            self._record_failure(now)
            return ()
        if real:
            self._paid.append(now)
        self._number += 1
        self._running = (self._number, now + 2 * self._settings.timeout_s)
        timeout_s = self._settings.timeout_s
        return (Probe(number=self._number, real=real, counts=self._doubted, timeout_s=timeout_s),)

    def reported(self, number: int, now: float, *, ok: bool) -> None:
        """Record a probe's result; update the rung's availability before, and call `see` after.

        The result of a probe that is no longer running is ignored.
        """
        if self._running is None or self._running[0] != number:
            return
        self._running = None
        if ok:
            self._failed_in_a_row = 0
            self._plan_next_probe(now)
        else:
            self._record_failure(now)

    def _record_failure(self, now: float) -> None:
        """Count a failed probe, and plan the next one after a longer wait."""
        self._failed_in_a_row += 1
        self._plan_next_probe(now)

    def _plan_next_probe(self, now: float) -> None:
        self._next_at = now + self._wait_s() if self._settings.interval_s > 0 else None

    def _wait_s(self) -> float:
        """Return the seconds until the next probe; they grow with each failure while doubted."""
        if not self._doubted:
            return self._settings.interval_s * (1 if self._asks_cheaply else REAL_EVERY)
        steps = self._settings.steps_s
        return steps[min(self._failed_in_a_row, len(steps) - 1)]

    def _can_afford_real_probe(self, now: float) -> bool:
        """Return whether one more real probe stays within the daily cost.

        Forget those a day old.
        """
        while self._paid and self._paid[0] <= now - DAY_S:
            self._paid.popleft()
        return (len(self._paid) + 1) * self._settings.cost <= self._settings.daily_cost
