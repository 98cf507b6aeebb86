"""Calling hours, by every clock that the contact's number may follow."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import timezone

from campaigns.model import CallingWindow
from campaigns.window import day_began_s, next_day_s, opens_s
from contacts.numbers import UNKNOWN, zone_named

BERLIN, LONDON, NEW_YORK, LOS_ANGELES = (
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Los_Angeles",
)
DAYTIME = CallingWindow()
WORKDAYS = CallingWindow(days=frozenset(range(5)))


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


OPENINGS = {
    "the last moment": ((BERLIN,), DAYTIME, at("2026-11-20T20:59:59", BERLIN), None),
    "the first moment that is too late": (
        (BERLIN,),
        DAYTIME,
        at("2026-11-20T21:00", BERLIN),
        at("2026-11-21T08:00", BERLIN),
    ),
    "before": (
        (BERLIN,),
        DAYTIME,
        at("2026-11-20T07:59:59", BERLIN),
        at("2026-11-20T08:00", BERLIN),
    ),
    "two zones: the later one opens": (
        (NEW_YORK, LOS_ANGELES),
        DAYTIME,
        at("2026-11-20T09:00", NEW_YORK),
        at("2026-11-20T08:00", LOS_ANGELES),
    ),
    "Friday here is Saturday there": (
        ("Asia/Tokyo",),
        WORKDAYS,
        at("2026-11-20T23:30"),
        at("2026-11-23T08:00", "Asia/Tokyo"),
    ),
    "the night in which summer time begins": (
        (BERLIN,),
        DAYTIME,
        at("2026-03-28T21:00", BERLIN),
        at("2026-03-29T06:00", "UTC"),
    ),
    "the night in which it ends": (
        (BERLIN,),
        DAYTIME,
        at("2026-10-24T21:00", BERLIN),
        at("2026-10-25T07:00", "UTC"),
    ),
    "known and unknown": (
        (UNKNOWN, BERLIN),
        DAYTIME,
        at("2026-11-20T07:00", BERLIN),
        at("2026-11-20T08:00", BERLIN),
    ),
    "nobody knows, but the owner says": (
        (UNKNOWN,),
        CallingWindow(default_zone=BERLIN),
        at("2026-11-20T07:00", BERLIN),
        at("2026-11-20T08:00", BERLIN),
    ),
}


@pytest.mark.parametrize(("zones", "window", "now", "opens"), OPENINGS.values(), ids=OPENINGS)
def test_a_contact_is_called_if_every_possible_clock_allows_it(
    zones: tuple[str, ...], window: CallingWindow, now: float, opens: float | None
) -> None:
    assert opens_s(zones, window, now=now) == (now if opens is None else opens)


NEVER = {
    "nobody knows where": ((), DAYTIME),
    "the library does not know": ((UNKNOWN,), DAYTIME),
    "a zone that does not exist": (("Mars/Olympus",), DAYTIME),
    "one of two does not exist": ((BERLIN, "Mars/Olympus"), DAYTIME),
    "a file's name": (("../../etc/passwd",), DAYTIME),
    "no common hour": (("Europe/London", "Pacific/Auckland"), CallingWindow(closes_s=17 * 3600)),
    "no day": ((BERLIN,), CallingWindow(days=frozenset())),
}


@pytest.mark.parametrize(("zones", "window"), NEVER.values(), ids=NEVER)
def test_a_contact_without_a_common_hour_is_never_called(
    zones: tuple[str, ...], window: CallingWindow
) -> None:
    assert opens_s(zones, window, now=at("2026-11-20T12:00")) is None


ZONES = st.lists(
    st.sampled_from(
        [BERLIN, LONDON, NEW_YORK, LOS_ANGELES, "America/Chicago", "Asia/Kolkata", "Asia/Tokyo"]
    ),
    min_size=1,
    max_size=3,
)
MOMENTS = st.integers(int(at("2026-01-01T00:00")), int(at("2027-12-31T00:00")))


def allowed(zone: str, window: CallingWindow, moment: float) -> bool:
    """Restate the rule of hours in the simplest form."""
    local = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(zone))
    hours = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
    in_hours = window.opens_s <= hours.total_seconds() < window.closes_s
    return in_hours and local.weekday() in window.days


@given(
    zones=ZONES,
    now=MOMENTS,
    opens=st.integers(5, 12),
    long=st.integers(1, 11),
    days=st.frozensets(st.integers(0, 6), min_size=1),
)
def test_the_next_moment_is_allowed_everywhere_and_no_earlier_quarter_of_an_hour_is(
    zones: list[str], now: int, opens: int, long: int, days: frozenset[int]
) -> None:
    window = CallingWindow(opens_s=opens * 3600.0, closes_s=(opens + long) * 3600.0, days=days)

    moment = opens_s(zones, window, now=float(now))

    end = now + 8 * 86_400 if moment is None else moment
    assert moment is None or all(allowed(zone, window, moment) for zone in zones)
    for before in range(now, int(end), 900):
        assert not all(allowed(zone, window, float(before)) for zone in zones)


@given(now=MOMENTS, zone=st.sampled_from([BERLIN, NEW_YORK, "Asia/Kolkata", "UTC"]))
def test_a_day_begins_and_ends_at_midnight_somewhere(now: int, zone: str) -> None:
    began, ends = day_began_s(zone, now=float(now)), next_day_s(zone, now=float(now))

    assert began <= now < ends
    assert 23 * 3600 <= ends - began <= 25 * 3600
    assert datetime.fromtimestamp(ends, ZoneInfo(zone)).hour == 0


def unknown_zones() -> list[str]:
    """Return the zones of unknown numbers."""
    from phonenumbers.tzdata import TIMEZONE_DATA  # noqa: PLC0415 - large

    named = {zone for zones in TIMEZONE_DATA.values() for zone in zones} - {UNKNOWN}
    return [zone for zone in sorted(named) if zone_named(zone) is None]


def forget_zones() -> None:
    ZoneInfo.clear_cache()
    zone_named.cache_clear()


@pytest.fixture
def no_zones_of_the_machine() -> Iterator[None]:
    """Remove the folder of zones; Debian's lacks `Asia/Calcutta` without one more package."""
    folders = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    forget_zones()
    yield
    zoneinfo.reset_tzpath(to=folders)
    forget_zones()


def test_this_machine_knows_every_zone_that_a_number_may_be_in() -> None:
    assert unknown_zones() == []
    assert timezone.UNKNOWN_TIMEZONE == UNKNOWN


@pytest.mark.usefixtures("no_zones_of_the_machine")
def test_a_machine_without_zones_knows_every_zone_that_a_number_may_be_in() -> None:
    assert unknown_zones() == []


@pytest.mark.usefixtures("no_zones_of_the_machine")
def test_a_contact_in_a_zone_with_an_old_name_is_called_where_the_machine_lacks_it() -> None:
    now = at("2026-11-20T12:00")  # 17:30 in India

    assert opens_s(("Asia/Calcutta",), DAYTIME, now=now) == now
