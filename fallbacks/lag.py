"""Measures our own stalls, in which the event loop did not run, and read no sockets.

The loop beats every `PERIOD_S`. A late beat means that one of our steps, or the machine, kept
everything else waiting; what providers sent meanwhile is unread in the sockets. Waits for a
provider are counted on the provider's clock, which stands still while we stall:

    lag.beat(now)                   # the ticker, every `PERIOD_S`
    asked_s = lag.provider_s(now)   # on the provider's clock
    lag.moment_of(asked_s + 0.6)    # when that clock will be 0.6 s further, without more stalls

After a stall, the alarm that waits for a provider may run first, before the ticker and before the
sockets are read. So a stall is also detected on demand, from the overdue beat, and the provider's
clock continues a grace period later. The caller's deadlines do not use this clock: a caller waits
in real time, whatever the cause.
"""

import math
from typing import Final

PERIOD_S: Final = 0.02  # between two beats
SLACK_S: Final = 0.02  # a beat that is late by less is not a stall: steps are shorter than that
GRACE_S: Final = (
    0.1  # to read the sockets; from there to a decision takes some ten turns of the loop
)
GRACED_S: Final = 0.1  # a stall of at least this is followed by a grace period
GRACES_APART_S: Final = 1.0  # otherwise a loop that is always late would never find a rung late
LIBRARY_S: Final = 5.0  # the longest time-out of a library that fails a rung outside an attempt


class Lag:
    """Measures our stalls. Before the first beat it measures none."""

    def __init__(self) -> None:
        self._beat_at: float | None = None
        self._stalled_s = 0.0  # without the current grace period
        self._ended_at = -math.inf  # the end of the last stall with a grace period

    @property
    def ready_at(self) -> float:
        """When the sockets have been read after the last stall."""
        return self._ended_at + GRACE_S

    def beat(self, now: float) -> None:
        """Record that the loop runs."""
        self.see(now)
        self._beat_at = now

    def rest(self) -> None:
        """Stop measuring."""
        self._beat_at = None

    def see(self, now: float) -> None:
        """Count an overdue beat."""
        if self._beat_at is None or now - self._beat_at <= PERIOD_S + SLACK_S:
            return
        stalled_s = now - self._beat_at - PERIOD_S
        began_at, self._beat_at = now - stalled_s, now
        if began_at < self.ready_at:  # within the grace period: the rest of it follows now
            self._ended_at += stalled_s
        elif stalled_s >= GRACED_S and began_at >= self._ended_at + GRACES_APART_S:
            self._stalled_s += self._grace_s
            self._ended_at = now
        self._stalled_s += stalled_s

    def stalled_s(self, now: float) -> float:
        """Return for how long in total the provider's clock stood still."""
        self.see(now)
        return self._stalled_s + self._graced_s(now)

    def provider_s(self, now: float) -> float:
        """Return the time on the provider's clock."""
        return now - self.stalled_s(now)

    def moment_of(self, provider_s: float) -> float:
        """Return when the provider's clock shows `provider_s`, if there are no more stalls."""
        at = provider_s + self._stalled_s
        return at if at <= self._ended_at else at + self._grace_s

    def stalled_lately(self, now: float) -> bool:
        """Return whether a library's time-out may have run out because we stalled."""
        self.see(now)
        return now - self._ended_at < LIBRARY_S

    def _graced_s(self, now: float) -> float:
        return min(max(0.0, now - self._ended_at), self._grace_s)

    @property
    def _grace_s(self) -> float:
        return GRACE_S if self._ended_at > -math.inf else 0.0
