"""The hours in which a number may be called, in the local time of each place where it may be.

A number often may be in several time zones. It is called only when all of them allow it, so that no
one is woken because a number was taken for one further west. Hours are local wall-clock time and
follow summer time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from campaigns.model import CallingWindow
from operations.numbers import UNKNOWN, zone_named

HORIZON_DAYS: Final = 15  # two weeks include every weekday in every zone
DAY: Final = timedelta(days=1)


def opens_s(zones: Sequence[str], window: CallingWindow, *, now: float) -> float | None:
    """Return when a number may be called: `now`, or the next moment after it.

    Args:
        zones: All zones in which the number may be.
        window: Hours, days, and the default zone for numbers whose place is unknown.
        now: Seconds since 1970.

    Returns:
        `None` if there is no such moment: the zone is unknown, or no hour suits all zones.
    """
    clocks = places(zones, window)
    if not clocks:
        return None
    moment, end = now, now + HORIZON_DAYS * DAY.total_seconds()
    while moment <= end:
        # No earlier moment suits all places, so the latest one is the next candidate.
        latest = max(_opens_in(place, window, moment) for place in clocks)
        if latest <= moment:
            return moment
        moment = latest
    return None


def day_began_s(zone: str, *, now: float) -> float:
    """Return when the current day of a zone began."""
    place = zone_named(zone) or UTC
    today = datetime.fromtimestamp(now, place).date()
    return _moment(datetime.combine(today, time()), place)


def next_day_s(zone: str, *, now: float) -> float:
    """Return when the current day of a zone ends."""
    place = zone_named(zone) or UTC
    tomorrow = datetime.fromtimestamp(now, place).date() + DAY
    return _moment(datetime.combine(tomorrow, time()), place)


def places(zones: Sequence[str], window: CallingWindow) -> list[tzinfo]:
    """Return the zones of a number; empty if one is unknown, so that it is never called."""
    named = [zone for zone in zones if zone != UNKNOWN] or [window.default_zone]
    found = [place for zone in named if (place := zone_named(zone))]
    return found if len(found) == len(named) else []


def _opens_in(place: tzinfo, window: CallingWindow, moment: float) -> float:
    """Return the first moment, from this one on, when one zone allows a call."""
    local = datetime.fromtimestamp(moment, place)
    seconds = timedelta(
        hours=local.hour,
        minutes=local.minute,
        seconds=local.second,
        microseconds=local.microsecond,
    ).total_seconds()
    if local.weekday() in window.days and window.opens_s <= seconds < window.closes_s:
        return moment
    ahead = 0 if seconds < window.opens_s else 1
    for days in range(ahead, HORIZON_DAYS):
        date = local.date() + days * DAY
        if date.weekday() in window.days:
            opens = datetime.combine(date, time()) + timedelta(seconds=window.opens_s)
            return _moment(opens, place)
    return moment + HORIZON_DAYS * DAY.total_seconds() + 1.0


def _moment(wall: datetime, place: tzinfo) -> float:
    """Return the first moment at which a wall clock in that place shows this time."""
    return wall.replace(tzinfo=place).timestamp()
