"""The estimated time left of a campaign."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.model import CallingWindow, Campaign
from campaigns.time_left import MAX_ESTIMATE_S, Remainder, dials_a_second, estimate_left_s

NOON = 1_800_014_400.0  # 2027-01-15, 12:00 UTC, a Friday
HOUR, DAY = 3600.0, 24 * 3600.0
ALWAYS = CallingWindow(opens_s=0.0, closes_s=DAY)
SPRING = Campaign(name="spring", dials_per_minute=60.0, window=ALWAYS)
UTC = {"UTC": 1}


def every(gap_s: float, *, dials: int = 10, until: float = NOON) -> tuple[float, ...]:
    """Return the moments of this many dials, the last one a gap ago."""
    return tuple(until - gap_s * left for left in range(dials, 0, -1))


GOING = Remainder(contacts=60, finished=10, dials=10, intended_s=every(60.0), zones=UTC)
OFFICE = replace(SPRING, window=CallingWindow(opens_s=8 * HOUR, closes_s=13 * HOUR))
WEEKDAYS = replace(
    OFFICE, window=CallingWindow(opens_s=8 * HOUR, closes_s=13 * HOUR, days=frozenset(range(5)))
)

ESTIMATES = {
    "one a minute": (SPRING, GOING, HOUR),
    "every contact takes two dials": (SPRING, replace(GOING, dials=20), 2 * HOUR),
    "the owner's pace is less than the last dials'": (
        replace(SPRING, dials_per_minute=0.5),
        GOING,
        2 * HOUR,
    ),
    "a night lies between": (OFFICE, replace(GOING, contacts=120), 21 * HOUR),
    "a weekend lies between": (WEEKDAYS, replace(GOING, contacts=120), 2 * DAY + 21 * HOUR),
    "half of them wake up later": (
        OFFICE,
        replace(GOING, contacts=60, zones={"UTC": 1, "America/New_York": 1}),
        1.5 * HOUR,
    ),
    "a limit of calls a day": (
        replace(SPRING, daily_calls=50),
        replace(GOING, calls_today=20),
        12 * HOUR + 30 * 60.0,
    ),
    "a limit of spending a day": (
        replace(SPRING, daily_spend=3.0),
        replace(GOING, cost=1.0, spent_today=0.0),
        12 * HOUR + 30 * 60.0,
    ),
    "a limit without prices yet": (replace(SPRING, daily_spend=3.0), GOING, HOUR),
    "somebody is due in three hours": (
        SPRING,
        replace(GOING, last_due_s=NOON + 3 * HOUR),
        3 * HOUR,
    ),
    "weeks": (SPRING, replace(GOING, contacts=10**6), MAX_ESTIMATE_S),
    "nothing is left": (SPRING, replace(GOING, contacts=0), None),
    "nobody was dialled yet": (SPRING, replace(GOING, dials=0, finished=0, intended_s=()), None),
    "four dials": (SPRING, replace(GOING, dials=4, intended_s=every(60.0, dials=4)), None),
    "no dial has ended": (SPRING, replace(GOING, dials=0, finished=0), None),
    "nobody knows their zone": (SPRING, replace(GOING, zones={"Etc/Unknown": 1}), None),
    "no hour suits all zones": (
        replace(SPRING, window=CallingWindow(opens_s=8 * HOUR, closes_s=9 * HOUR)),
        replace(GOING, zones={"UTC Asia/Tokyo": 1}),
        None,
    ),
    "the rest is being dialled": (
        replace(SPRING, window=replace(ALWAYS, default_zone="UTC")),
        replace(GOING, contacts=1, zones={}),
        60.0,
    ),
}


@pytest.mark.parametrize(("campaign", "rest", "left_s"), ESTIMATES.values(), ids=ESTIMATES)
def test_time_left_is_estimated(campaign: Campaign, rest: Remainder, left_s: float | None) -> None:
    assert estimate_left_s(campaign, rest, now=NOON) == pytest.approx(left_s)


PACES = {
    "one a minute": (every(60.0), 1 / 60.0),
    "a night lies within": (
        (*every(60.0, dials=5, until=NOON - 12 * HOUR), *every(60.0, dials=5)),
        10 / (9 * 60.0 + 600.0),
    ),
    "all at once": ((NOON,) * 5, 1.0),
    "long ago": (every(60.0, until=NOON - DAY), 10 / (9 * 60.0 + 600.0)),
    "a clock that was put back": (every(60.0, until=NOON + HOUR), 10 / (9 * 60.0)),
    "too few": (every(60.0, dials=4), None),
}


@pytest.mark.parametrize(("intended_s", "pace"), PACES.values(), ids=PACES)
def test_the_pace_is_that_of_the_last_dials(
    intended_s: tuple[float, ...], pace: float | None
) -> None:
    assert dials_a_second(SPRING, intended_s, now=NOON) == pytest.approx(pace)


@given(
    contacts=st.integers(1, 5_000),
    more=st.integers(0, 500),
    gap_s=st.floats(0.5, 300.0),
    daily=st.none() | st.integers(0, 500),
    zones=st.sampled_from([UTC, {"UTC": 3, "Asia/Tokyo": 1}, {"Europe/London Asia/Tokyo": 1}]),
)
def test_more_contacts_never_take_less_time(
    contacts: int, more: int, gap_s: float, daily: int | None, zones: dict[str, int]
) -> None:
    campaign = replace(SPRING, window=CallingWindow(), daily_calls=daily)
    few = replace(GOING, contacts=contacts, intended_s=every(gap_s), zones=zones)
    many = replace(few, contacts=contacts + more)

    short, long = (estimate_left_s(campaign, item, now=NOON) for item in (few, many))

    assert short is not None
    assert long is not None
    assert 0.0 < short <= long + 0.11 <= MAX_ESTIMATE_S + 0.11
