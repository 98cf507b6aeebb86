"""The hours at which somebody may be called, by the clocks of wherever the number may be.

A number often may be in several zones. It is called only when all of them allow it: nobody is woken
up because a number was taken for one from further west. Hours are those that a clock on the wall
shows, so they follow summer time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from campaigns.model import CallingWindow

UNKNOWN: Final = "Etc/Unknown"  # what libphonenumber says when it does not know
HORIZON_DAYS: Final = 15  # two weeks on, every weekday has been met in every zone
DAY: Final = timedelta(days=1)


def opens_s(zones: Sequence[str], window: CallingWindow, *, now: float) -> float | None:
    """Return when somebody may be called: `now` if that is now, else the next moment.

    Args:
        zones: All that the number may be in.
        window: Hours, days, and the zone of numbers that nobody knows the place of.
        now: Seconds since 1970.

    Returns:
        None: there is no such moment. The zone is not known, or no hour suits all zones.
    """
    places = _places(zones, window)
    if not places:
        return None
    moment, end = now, now + HORIZON_DAYS * DAY.total_seconds()
    while moment <= end:
        # No moment before any of these suits all, so the latest of them is the next that may.
        latest = max(_opens_in(place, window, moment) for place in places)
        if latest <= moment:
            return moment
        moment = latest
    return None


def day_began_s(zone: str, *, now: float) -> float:
    """Return when the day began that it is somewhere."""
    place = zone_of(zone) or UTC
    today = datetime.fromtimestamp(now, place).date()
    return _moment(datetime.combine(today, time()), place)


def next_day_s(zone: str, *, now: float) -> float:
    """Return when the day ends that it is somewhere."""
    place = zone_of(zone) or UTC
    tomorrow = datetime.fromtimestamp(now, place).date() + DAY
    return _moment(datetime.combine(tomorrow, time()), place)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo | None:
    """Return a zone by its name; None: there is none of this name."""
    if name in ("", UNKNOWN):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not known; no name at all; a folder's
        return None


def _places(zones: Sequence[str], window: CallingWindow) -> list[tzinfo]:
    """Return where the number may be; nothing: nobody knows, so nobody may call."""
    named = [zone for zone in zones if zone != UNKNOWN] or [window.default_zone]
    found = [place for zone in named if (place := zone_of(zone))]
    return found if len(found) == len(named) else []


def _opens_in(place: tzinfo, window: CallingWindow, moment: float) -> float:
    """Return the first moment from this one on at which a single zone allows a call."""
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
    """Return when a clock on the wall shows this, for the first time."""
    return wall.replace(tzinfo=place).timestamp()
