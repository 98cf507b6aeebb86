"""The dialling rate of a campaign."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.outbound import CampaignUse, NothingToDial, TokenBucket
from campaigns.model import Campaign
from campaigns.pacing import pace, take_token

NOW = 1_800_014_400.0  # 2027-01-15, 12:00 UTC
MIDNIGHT = NOW + 12 * 3600
FULL = TokenBucket(tokens=1.0, filled_s=NOW)
IDLE = CampaignUse(calls_now=0, calls_today=0, spent_today=0.0, bucket=FULL)
SPRING = Campaign(
    name="spring", concurrent=2, daily_calls=10, daily_spend=5.0, dials_per_minute=60.0
)

LIMITS = {
    "calls at once": (replace(IDLE, calls_now=2), NothingToDial(reason="concurrent")),
    "calls a day": (
        replace(IDLE, calls_today=10),
        NothingToDial(reason="daily_calls", again_s=MIDNIGHT),
    ),
    "money a day": (
        replace(IDLE, spent_today=5.0),
        NothingToDial(reason="daily_spend", again_s=MIDNIGHT),
    ),
    "pace": (
        replace(IDLE, bucket=TokenBucket(tokens=0.25, filled_s=NOW)),
        NothingToDial(reason="pace", again_s=NOW + 0.75),
    ),
}


@pytest.mark.parametrize(("use", "refusal"), LIMITS.values(), ids=LIMITS)
def test_a_limit_that_was_reached_is_named(use: CampaignUse, refusal: NothingToDial) -> None:
    assert pace(SPRING, use, NOW) == refusal


@pytest.mark.parametrize(
    "use",
    [IDLE, replace(IDLE, calls_now=1, calls_today=9, spent_today=4.99)],
    ids=["idle", "just below every limit"],
)
def test_below_every_limit_a_token_is_taken(use: CampaignUse) -> None:
    assert pace(SPRING, use, NOW) == TokenBucket(tokens=0.0, filled_s=NOW)


def test_without_daily_limits_there_are_none() -> None:
    free = replace(SPRING, daily_calls=None, daily_spend=None)

    assert pace(free, replace(IDLE, calls_today=10**6, spent_today=1e9), NOW) == TokenBucket(
        tokens=0.0, filled_s=NOW
    )


def test_an_idle_hour_is_not_made_up_for() -> None:
    bucket = take_token(TokenBucket(tokens=0.0, filled_s=NOW - 3600), per_minute=30, now=NOW)

    assert bucket == TokenBucket(tokens=0.0, filled_s=NOW)


def test_a_clock_that_was_put_back_fills_nothing() -> None:
    empty = TokenBucket(tokens=0.0, filled_s=NOW)

    assert take_token(empty, per_minute=60, now=NOW - 100) == NothingToDial(
        reason="pace", again_s=NOW - 99
    )


@given(per_minute=st.floats(0.5, 600), waits=st.lists(st.floats(0, 5), min_size=5, max_size=60))
def test_no_minute_has_more_dials_than_the_pace_and_one_burst(
    per_minute: float, waits: list[float]
) -> None:
    bucket, now, dialled = FULL, NOW, 0
    for wait in waits:
        now += wait
        taken = take_token(bucket, per_minute=per_minute, now=now)
        if isinstance(taken, TokenBucket):
            bucket, dialled = taken, dialled + 1

    burst = max(1.0, per_minute / 60)
    assert dialled <= burst + (now - NOW) * per_minute / 60 + 0.001


@given(per_minute=st.floats(0.5, 6000), tokens=st.floats(0, 0.99))
def test_at_the_named_moment_there_is_a_token(per_minute: float, tokens: float) -> None:
    bucket = TokenBucket(tokens=tokens, filled_s=NOW)

    refused = take_token(bucket, per_minute=per_minute, now=NOW)

    assert isinstance(refused, NothingToDial)
    assert refused.again_s
    assert isinstance(
        take_token(bucket, per_minute=per_minute, now=refused.again_s + 1e-6), TokenBucket
    )
