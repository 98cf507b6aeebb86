"""Shares the availability of a rung between several processes, over a common board.

Each process publishes the changes of its own rungs on the board, as reports (`RungReport`):
breaker, suspicion, their cause, rest, whether an operator took the rung out of rotation, and that
callers are served (so failed probes do not count). A change that was adopted from another process
is not published again. Of two reports on the same aspect, the later one counts.

Time alone is no change: each process knows when a rest ends. While a rung rests or its breaker is
open, the longer rest and the retirement count, whoever reports them. A process that reads a later
report that knows less than that publishes its own again.

The times of reports are on the board's clock. No process knows this clock to the millisecond, but
cause and effect stay in order: a change that a process makes after it has read or published a
report is published as later than that report, whatever the process's own clock says.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fallbacks.availability import SERVED_S, RungAvailability
from fallbacks.breaker import Breaker, State
from fallbacks.failure import Kind

STALE_S: Final = 300.0  # an older suspicion is not adopted (chosen)
FOREVER_S: Final = 10 * 365 * 86_400.0  # a rung out of rotation stays out until it is put back
# Between two reports that callers are served: a third of SERVED_S (chosen).
SERVED_EACH_S: Final = 10.0
SAME_REST_S: Final = 1.0  # rests that end closer together are the same: clocks differ (chosen)
MIN_GAP_S: Final = 0.001  # between a report that was read and a later one that is published


class Aspect(StrEnum):
    """The subject of a report."""

    BREAKER = "breaker"
    SUSPICION = "suspicion"
    REST = "rest"
    ROTATION = "rotation"
    SERVED = "served"
    CAUSE = "cause"


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReport:
    """One process's report on a rung; the last report on an aspect counts."""

    place: str  # the rung; equal in all processes that ask the same server with the same key
    aspect: Aspect
    at_s: float  # since when it applies, on the board's clock
    value: str = (
        ""  # the breaker's state; "suspect" or ""; "out" or ""; kind and status of a failure
    )
    # The end of a rest, or of `served_until`, on the board's clock; 0 if a reset ended the rest.
    until_s: float = 0.0
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """One moment on two clocks."""

    at_s: float  # on the board's clock
    at: float  # on our own clock


class SharedRung:
    """One rung's availability, as published to other processes and adopted from them."""

    def __init__(self, place: str, rung: RungAvailability) -> None:
        self.place = place
        self.rung = rung
        self._published_state = _state_of(rung)
        self._repeat_requested = False
        self._corrected: set[Aspect] = set()  # read in a report that knew less than this process
        self._served_until = -math.inf  # as last published or read
        # For the last report that was adopted: its time, and when it was read.
        self._adopted: dict[Aspect, _Moment] = {}
        self._published: dict[Aspect, _Moment] = {}  # the time of the last published report

    def take_changes(self, now: float, *, utc_s: float) -> tuple[RungReport, ...]:
        """Return reports of what has changed in this process since the last call, to be published.

        Args:
            now: Monotonic, in seconds.
            utc_s: The board's clock at the same moment.
        """
        before, self._published_state = self._published_state, _state_of(self.rung)
        repeat, self._repeat_requested = self._repeat_requested, False
        corrected, self._corrected = self._corrected, set()
        aspects = [
            aspect
            for aspect, value in self._published_state.items()
            if value != before[aspect]
            or aspect in corrected
            or (repeat and self._differs_from_unused(aspect, now))
        ]
        served_until = self.rung.served_until
        if served_until > now and (repeat or served_until >= self._served_until + SERVED_EACH_S):
            self._served_until = served_until
            aspects.append(Aspect.SERVED)
        return tuple(
            self._make_report(aspect, now, offset_s=utc_s - now, corrects=aspect in corrected)
            for aspect in aspects
        )

    def adopt(self, report: RungReport, now: float, *, utc_s: float) -> bool:
        """Adopt another process's report unless it is outdated; return whether anything changed.

        `now` is monotonic, and `utc_s` the board's clock at the same moment.
        """
        since = self._time_on_our_clock(report, now - (utc_s - report.at_s))
        if since is None:
            return False
        self._adopted[report.aspect] = _Moment(at_s=report.at_s, at=now)
        before = _state_of(self.rung)
        left_s = _left_s(report, utc_s)
        self._apply_report(report, since, now, left_s=left_s)
        if self._knows_more(report, now + left_s):
            self._corrected.add(report.aspect)
        after = _state_of(self.rung)
        changed = {aspect: value for aspect, value in after.items() if value != before[aspect]}
        self._published_state |= changed  # so that adopted changes are not published
        return bool(changed)

    def repeat_all(self) -> None:
        """Make the next `take_changes` repeat everything that differs from an unused rung."""
        self._repeat_requested = True

    def _apply_report(self, report: RungReport, since: float, now: float, *, left_s: float) -> None:
        """Apply another process's report to our rung, as changed at `since` on our clock.

        An old suspicion, an empty cause, and a rotation from before our own are ignored.
        """
        rung = self.rung
        match report.aspect:
            case Aspect.BREAKER if left_s > 0 or not report.until_s:  # else its rest is over
                state = State(report.value)
                rung.follow_breaker(
                    state, since=since, now=now, rest_s=left_s, retired=report.retired
                )
            case Aspect.SUSPICION if now - since < STALE_S:
                # The other process published the kind.
                kind = Kind.TIMEOUT if report.value else None
                rung.follow_suspicion(kind, since=since, now=now)
            case Aspect.REST if not report.until_s:
                rung.rests_until = rung.doubted_until = -math.inf
            case Aspect.REST if left_s > 0:
                rung.rests_until = max(rung.rests_until, now + left_s)
            case Aspect.ROTATION if min(now, since) > rung.out_at:
                rung.set_out(min(now, since), out=bool(report.value))
            case Aspect.CAUSE if report.value:  # an empty one would know less
                rung.cause = report.value
            case Aspect.SERVED:
                until = max(rung.served_until, now + min(left_s, SERVED_S))
                self._served_until = rung.served_until = until
            case _:
                pass

    def _knows_more(self, report: RungReport, ends_at: float) -> bool:
        """Return whether our rest or our outage lasts longer than the one in a report.

        `ends_at` is when the report's rest ends. A retirement that only we know of counts, too.
        """
        rung = self.rung
        if report.aspect is Aspect.REST:
            return rung.rests_until > ends_at + SAME_REST_S
        if report.aspect is not Aspect.BREAKER or report.value != State.OPEN:
            return False
        return rung.breaker.state is State.OPEN and (
            rung.retired > report.retired or (rung.breaker.wake_at or 0.0) > ends_at + SAME_REST_S
        )

    def _differs_from_unused(self, aspect: Aspect, now: float) -> bool:
        """Return whether an aspect differs from that of an unused rung; a breaker counts always."""
        match aspect:
            case Aspect.SUSPICION:
                return self.rung.suspect_since is not None
            case Aspect.REST:
                return self.rung.rests_until > now
            case Aspect.ROTATION:
                return self.rung.out
            case Aspect.CAUSE:
                return bool(self.rung.cause)
            case _:
                return True

    def _make_report(
        self, aspect: Aspect, now: float, *, offset_s: float, corrects: bool
    ) -> RungReport:
        """Return a report on one aspect of our rung; `offset_s` turns our time into the board's.

        If it `corrects` one that was read, it applies since `now`.
        """
        rung, value = self.rung, ""
        since: float = now
        until: float | None = None
        match aspect:
            case Aspect.BREAKER:
                since = rung.breaker.changed_at
                value, until = _state_and_end(rung.breaker)
            case Aspect.SUSPICION:
                value = "" if rung.suspect_since is None else "suspect"
                since = now if rung.suspect_since is None else rung.suspect_since
            case Aspect.REST:
                until = rung.rests_until if rung.rests_until > -math.inf else None
            case Aspect.ROTATION:
                since, value = rung.out_at, "out" if rung.out else ""
            case Aspect.CAUSE:
                value = rung.cause
            case Aspect.SERVED:
                until = rung.served_until
        at_s = self._time_on_board(aspect, now if corrects else since, offset_s)
        until_s = 0.0 if until is None else until + offset_s
        return RungReport(
            place=self.place,
            aspect=aspect,
            at_s=at_s,
            value=value,
            until_s=at_s + FOREVER_S if value == "out" else until_s,
            retired=aspect is Aspect.BREAKER and rung.retired,
        )

    def _time_on_board(self, aspect: Aspect, at: float, offset_s: float) -> float:
        """Return our time on the board's clock, later than the reports read and published before.

        Without this rule it might be earlier, because the board's clock may have been set back.
        The time is recorded as that of the latest published report.
        """
        at_s = at + offset_s
        adopted, published = self._adopted.get(aspect), self._published.get(aspect)
        if adopted is not None and at > adopted.at:
            at_s = max(at_s, adopted.at_s + MIN_GAP_S)
        if published is not None and at >= published.at:
            at_s = max(at_s, published.at_s + (MIN_GAP_S if at > published.at else 0.0))
        self._published[aspect] = _Moment(at_s=at_s, at=at)
        return at_s

    def _time_on_our_clock(self, report: RungReport, since: float) -> float | None:
        """Return a report's time on our clock, later than our own; `None` if it is outdated."""
        adopted, published = self._adopted.get(report.aspect), self._published.get(report.aspect)
        if adopted is not None and report.at_s <= adopted.at_s:
            return None
        if published is None:
            return since
        return max(since, published.at + MIN_GAP_S) if report.at_s > published.at_s else None


def _state_of(rung: RungAvailability) -> dict[Aspect, object]:
    """Return the values whose changes are published, by aspect."""
    return {
        Aspect.BREAKER: rung.breaker.changed_at,
        Aspect.SUSPICION: rung.suspect_since,
        Aspect.REST: rung.rests_until,
        Aspect.ROTATION: rung.out,
        Aspect.CAUSE: rung.cause,
    }


def _state_and_end(breaker: Breaker) -> tuple[State, float | None]:
    """Return the state as it is published, and the end of the rest; `None` if there is none.

    Half-open means that a probe succeeded. Before that, the breaker is open, and its rest is over,
    or has no end after a reset.
    """
    if breaker.state is not State.HALF_OPEN or breaker.probe_succeeded:
        return breaker.state, breaker.wake_at
    rested = breaker.changed_at < breaker.since
    return State.OPEN, breaker.since if rested else None


def _left_s(report: RungReport, utc_s: float) -> float:
    """Return the time left of a rest, at most its length when it was published.

    The processes may disagree on the board's clock for a while after it was set.
    """
    left_s, length_s = report.until_s - utc_s, report.until_s - report.at_s
    return max(0.0, min(left_s, length_s) if length_s > 0 else left_s)
