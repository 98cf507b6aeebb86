"""Measures our own stalls, in which the event loop did not run and read no sockets.

The loop beats every `PERIOD_S`. A late beat means that one of our steps, or the machine, blocked
the loop; data that providers sent meanwhile is still unread. So waits for a provider are measured
on the provider's clock, which stands still while we stall:

    lag.beat(now)                   # the ticker, every `PERIOD_S`
    asked_s = lag.provider_s(now)   # on the provider's clock
    lag.moment_of(asked_s + 0.6)    # on our clock: 0.6 s later, if there are no more stalls

After a stall, a timer that waits for a provider may run before the ticker, and before the sockets
are read. So each reading of the clock also counts an overdue beat, and after a long stall the clock
stands still for a further grace period. The caller's deadlines do not use this clock, because a
caller waits in real time, whatever the cause.
"""

import math
from typing import Final

PERIOD_S: Final = 0.02  # between two beats
SLACK_S: Final = 0.02  # a beat that is less late is not a stall: steps are shorter than that
# The grace period: time to read the sockets, and some ten iterations of the loop to a decision.
GRACE_S: Final = 0.1
LONG_STALL_S: Final = 0.1  # the shortest stall that has a grace period
# The least time between grace periods: otherwise a loop that always lags would find no rung late.
GRACE_INTERVAL_S: Final = 1.0
LIBRARY_S: Final = 5.0  # the longest time-out of a library that fails a rung outside an attempt


class Lag:
    """Measures our stalls. Before the first beat it measures none."""

    def __init__(self) -> None:
        self._beat_at: float | None = None
        self._stalled_s = 0.0  # all stalls, and all grace periods but the latest
        self._ended_at = -math.inf  # the end of the last stall with a grace period

    @property
    def ready_at(self) -> float:
        """When the grace period after the last long stall ends: the sockets have been read."""
        return self._ended_at + GRACE_S

    def beat(self, now: float) -> None:
        """Record that the loop runs, every `PERIOD_S`; an overdue beat counts as a stall."""
        self.count_stall(now)
        self._beat_at = now

    def stop(self) -> None:
        """Stop measuring until the next beat: the time until then is no stall."""
        self._beat_at = None

    def count_stall(self, now: float) -> None:
        """Count a stall if the next beat is overdue, but each stall only once.

        A long stall adds a grace period, at most one in `GRACE_INTERVAL_S`.
        """
        if self._beat_at is None or now - self._beat_at <= PERIOD_S + SLACK_S:
            return
        stalled_s = now - self._beat_at - PERIOD_S
        began_at, self._beat_at = now - stalled_s, now
        if began_at < self.ready_at:  # it began within a grace period, which continues after it
            self._ended_at += stalled_s
        elif stalled_s >= LONG_STALL_S and began_at >= self._ended_at + GRACE_INTERVAL_S:
            self._stalled_s += self._latest_grace_s
            self._ended_at = now
        self._stalled_s += stalled_s

    def stalled_s(self, now: float) -> float:
        """Return how long the provider's clock has stood still, in total."""
        self.count_stall(now)
        return self._stalled_s + self._grace_passed_s(now)

    def provider_s(self, now: float) -> float:
        """Return the time on the provider's clock."""
        return now - self.stalled_s(now)

    def moment_of(self, provider_s: float) -> float:
        """Return when the provider's clock shows `provider_s`, if we do not stall again."""
        # `_stalled_s` does not contain the latest grace period, which delays only what follows it.
        at = provider_s + self._stalled_s
        return at if at <= self._ended_at else at + self._latest_grace_s

    def stalled_lately(self, now: float) -> bool:
        """Return whether a library's time-out may have expired because we stalled.

        That is possible for `LIBRARY_S` after a long stall.
        """
        self.count_stall(now)
        return now - self._ended_at < LIBRARY_S

    def _grace_passed_s(self, now: float) -> float:
        return min(max(0.0, now - self._ended_at), self._latest_grace_s)

    @property
    def _latest_grace_s(self) -> float:
        return GRACE_S if self._ended_at > -math.inf else 0.0
