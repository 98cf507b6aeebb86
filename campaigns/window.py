"""Calling hours: when a number may be called, in local time.

A number may often be in one of several time zones. It is called only when the hours of all of them
allow it, so that a callee further east or west is not woken. Hours are wall-clock time and follow
daylight saving time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from campaigns.model import CallingWindow
from contacts.numbers import UNKNOWN, zone_named

HORIZON_DAYS: Final = 15  # how far ahead to search: any two weeks have every weekday in every zone
DAY: Final = timedelta(days=1)


def opens_s(zones: Sequence[str], window: CallingWindow, *, now: float) -> float | None:
    """Return when a number may be called: `now`, or the next moment after it.

    Args:
        zones: All zones in which the number may be.
        window: Hours, days, and the default zone for numbers whose location is unknown.
        now: Seconds since 1970.

    Returns:
        `None` if there is no such moment: the zone is unknown, or no hour suits all zones.
    """
    local_zones = known_zones(zones, window)
    if not local_zones:
        return None
    moment, end = now, now + HORIZON_DAYS * DAY.total_seconds()
    while moment <= end:
        # No moment before the latest of these suits all zones, so it is the next candidate.
        latest = max(_opens_in(zone, window, moment) for zone in local_zones)
        if latest <= moment:
            return moment
        moment = latest
    return None


def day_began_s(zone: str, *, now: float) -> float:
    """Return when the current day of a zone began, in seconds since 1970; UTC if unknown."""
    place = zone_named(zone) or UTC
    today = datetime.fromtimestamp(now, place).date()
    return _first_moment_at(datetime.combine(today, time()), place)


def next_day_s(zone: str, *, now: float) -> float:
    """Return when the current day of a zone ends, in seconds since 1970; UTC if unknown."""
    place = zone_named(zone) or UTC
    tomorrow = datetime.fromtimestamp(now, place).date() + DAY
    return _first_moment_at(datetime.combine(tomorrow, time()), place)


def known_zones(zones: Sequence[str], window: CallingWindow) -> list[tzinfo]:
    """Return the zones of a number, or the window's default if all of its own are unknown.

    Empty if one of them, or the default, names no zone: then the number is never called.
    """
    names = [name for name in zones if name != UNKNOWN] or [window.default_zone]
    found = [zone for name in names if (zone := zone_named(name))]
    return found if len(found) == len(names) else []


def _opens_in(zone: tzinfo, window: CallingWindow, moment: float) -> float:
    """Return when the window is next open in a zone: `moment` itself if it is open then.

    If the window never opens, return a moment beyond the horizon.
    """
    local = datetime.fromtimestamp(moment, zone)
    seconds = timedelta(
        hours=local.hour,
        minutes=local.minute,
        seconds=local.second,
        microseconds=local.microsecond,
    ).total_seconds()
    if local.weekday() in window.days and window.opens_s <= seconds < window.closes_s:
        return moment
    first_day = 0 if seconds < window.opens_s else 1
    for days in range(first_day, HORIZON_DAYS):
        date = local.date() + days * DAY
        if date.weekday() in window.days:
            opens = datetime.combine(date, time()) + timedelta(seconds=window.opens_s)
            return _first_moment_at(opens, zone)
    return moment + HORIZON_DAYS * DAY.total_seconds() + 1.0


def _first_moment_at(wall: datetime, zone: tzinfo) -> float:
    """Return the first moment when a wall clock in a zone shows this time."""
    return wall.replace(tzinfo=zone).timestamp()
