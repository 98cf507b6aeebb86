"""Waits of work outside a live turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.failure import Kind, failed
from fallbacks.retrying import RetrySettings, rest_s, wait_s

DOWN = failed(Kind.NETWORK, "crm", provider="crm")


def test_there_are_three_waits_of_five_ten_and_twenty_seconds() -> None:
    waits = [wait_s(RetrySettings(), retry, failure=DOWN, chance=0.5) for retry in range(1, 5)]

    assert waits == [5.0, 10.0, 20.0, None]


@pytest.mark.parametrize(("chance", "waited_s"), [(0.0, 9.0), (1.0, 11.0)])
def test_waits_are_spread_by_a_tenth(chance: float, waited_s: float) -> None:
    assert wait_s(RetrySettings(), 2, failure=DOWN, chance=chance) == pytest.approx(waited_s)


def test_a_longer_wait_of_the_provider_is_kept() -> None:
    limited = failed(Kind.RATE_LIMITED, "crm", provider="crm", retry_after_s=30.0)
    short = failed(Kind.RATE_LIMITED, "crm", provider="crm", retry_after_s=1.0)

    assert wait_s(RetrySettings(), 1, failure=limited, chance=0.5) == 30.0
    assert wait_s(RetrySettings(), 1, failure=short, chance=0.5) == 5.0


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA, Kind.BAD_REQUEST, Kind.NOT_FOUND])
def test_a_permanent_failure_is_not_retried(kind: Kind) -> None:
    refused = failed(kind, "crm", provider="crm")

    assert wait_s(RetrySettings(), 1, failure=refused, chance=0.5) is None


def test_zero_retries_are_allowed() -> None:
    assert wait_s(RetrySettings(attempts=0), 1, failure=DOWN, chance=0.5) is None


def test_endless_retries_pause_longer_after_each_sequence_up_to_a_quarter_of_an_hour() -> None:
    rests = [rest_s(sequences) for sequences in (1, 2, 3, 4, 5, 6, 2000)]

    assert rests == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]


@pytest.mark.parametrize(("spent_s", "waited_s"), [(70.0, 10.0), (70.1, None)])
def test_no_retry_begins_after_the_callers_deadline(spent_s: float, waited_s: float | None) -> None:
    lent = RetrySettings(within_s=80.0)

    assert wait_s(lent, 2, failure=DOWN, chance=0.5, spent_s=spent_s) == waited_s


@given(
    settings=st.builds(
        RetrySettings,
        initial_s=st.floats(0.01, 600.0),
        factor=st.floats(1.0, 10.0),
        attempts=st.integers(0, 8),
    ),
    retry=st.integers(1, 10),
    chance=st.floats(0.0, 1.0),
    asked_s=st.none() | st.floats(0.0, 10_000.0),
)
def test_a_wait_is_within_a_tenth_of_the_plan_and_never_shorter_than_asked_for(
    settings: RetrySettings, retry: int, chance: float, asked_s: float | None
) -> None:
    failure = failed(Kind.OVERLOADED, "crm", provider="crm", retry_after_s=asked_s)

    waited_s = wait_s(settings, retry, failure=failure, chance=chance)

    if retry > settings.attempts:
        assert waited_s is None
        return
    planned_s = settings.initial_s * settings.factor ** (retry - 1)
    assert waited_s is not None
    assert waited_s >= max(0.899 * planned_s, asked_s or 0.0)
    assert waited_s <= max(1.101 * planned_s, asked_s or 0.0)
