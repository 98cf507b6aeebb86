"""How much of the time that passed was our own: the loop did not run, and read nobody's words.

The loop beats every `PERIOD_S`. A beat that comes late says that one of our steps, or the machine,
kept everything else waiting; what providers sent meanwhile lies in the sockets, unread. Waits
for a provider are counted on the provider's clock, which stands still while we do:

    lag.beat(now)                   # the ticker, every `PERIOD_S`
    asked_s = lag.provider_s(now)   # on the provider's clock
    lag.moment_of(asked_s + 0.6)    # when that clock will show so much more, as things stand

After a stall the first to run may be the alarm that waits for a provider, ahead of the ticker and
of what lies in the sockets. So a stall is known on demand, from the beat that is overdue, and the
provider's clock goes on a grace later. The caller's deadlines do not ask here: a caller waits in
real time, no matter who is late.
"""

import math
from typing import Final

PERIOD_S: Final = 0.02  # between two beats
SLACK_S: Final = 0.02  # so late a beat is nobody's lag: steps are shorter than that
GRACE_S: Final = (
    0.1  # to read what lies in the sockets; from there to a decision takes some ten turns
)
GRACED_S: Final = 0.1  # a stall as long as this is followed by a grace
GRACES_APART_S: Final = 1.0  # or a loop that is never in time would never find anybody late
LIBRARY_S: Final = 5.0  # the longest time-out of a library that books a rung outside an attempt


class Lag:
    """How long we stalled so far. Until the first beat nothing is measured, and nobody stalls."""

    def __init__(self) -> None:
        self._beat_at: float | None = None
        self._stalled_s = 0.0  # the grace that runs now is not in it
        self._ended_at = -math.inf  # the last stall that was followed by a grace

    @property
    def ready_at(self) -> float:
        """When what lay in the sockets has been read since the last stall."""
        return self._ended_at + GRACE_S

    def beat(self, now: float) -> None:
        """Note that the loop runs."""
        self.see(now)
        self._beat_at = now

    def rest(self) -> None:
        """Note that nobody measures from now on."""
        self._beat_at = None

    def see(self, now: float) -> None:
        """Count the beat that is overdue, if one is."""
        if self._beat_at is None or now - self._beat_at <= PERIOD_S + SLACK_S:
            return
        stalled_s = now - self._beat_at - PERIOD_S
        began_at, self._beat_at = now - stalled_s, now
        if began_at < self.ready_at:  # in the grace itself: what is left of it comes now
            self._ended_at += stalled_s
        elif stalled_s >= GRACED_S and began_at >= self._ended_at + GRACES_APART_S:
            self._stalled_s += self._grace_s
            self._ended_at = now
        self._stalled_s += stalled_s

    def stalled_s(self, now: float) -> float:
        """Return for how long in all the provider's clock stood still."""
        self.see(now)
        return self._stalled_s + self._graced_s(now)

    def provider_s(self, now: float) -> float:
        """Return what the provider's clock shows."""
        return now - self.stalled_s(now)

    def moment_of(self, provider_s: float) -> float:
        """Return when the provider's clock shows this, or did, if nothing stalls any more."""
        at = provider_s + self._stalled_s
        return at if at <= self._ended_at else at + self._grace_s

    def stalled_lately(self, now: float) -> bool:
        """Say whether a time-out that a library set may have run out because we stalled."""
        self.see(now)
        return now - self._ended_at < LIBRARY_S

    def _graced_s(self, now: float) -> float:
        return min(max(0.0, now - self._ended_at), self._grace_s)

    @property
    def _grace_s(self) -> float:
        return GRACE_S if self._ended_at > -math.inf else 0.0
