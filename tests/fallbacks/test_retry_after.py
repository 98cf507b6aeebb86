"""The wait that a provider asks for."""

import pytest

from fallbacks.retry_after import may_ask_again, rest_s, retry_after_s

NOW_UTC = 1_793_000_000.0  # Mon, 26 Oct 2026 07:33:20 GMT


@pytest.mark.parametrize(
    ("headers", "message", "wait_s"),
    [
        ({"retry-after-ms": "250"}, "", 0.25),
        ({"retry-after-ms": "250", "retry-after": "3"}, "", 0.25),
        ({"Retry-After": "3"}, "", 3.0),
        ({"Retry-After": "1.5"}, "", 1.5),
        ({"retry-after": "Mon, 26 Oct 2026 07:33:30 GMT"}, "", 10.0),
        ({"retry-after": "Mon, 26 Oct 2026 08:33:30 +0100"}, "", 10.0),
        ({"retry-after": "Mon, 26 Oct 2026 07:33:10 GMT"}, "", None),
        ({"retry-after": "0"}, "", None),
        ({"retry-after": "-3"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": ""}, "", None),
        ({"retry-after": "soon"}, "Please try again in 1.2s. Visit", 1.2),
        ({}, "Please try again in 600ms.", 0.6),
        ({}, "Please try again in 6m0s.", 360.0),
        ({}, "Please try again later", None),
        ({}, "", None),
    ],
)
def test_the_first_usable_header_counts(
    headers: dict[str, str], message: str, wait_s: float | None
) -> None:
    read = retry_after_s(headers, message, utc_s=NOW_UTC)

    assert read == (None if wait_s is None else pytest.approx(wait_s))


@pytest.mark.parametrize(
    ("date", "wait_s"),
    [
        ("Mon, 26 Oct 2026 07:33:20 GMT", 10.0),
        ("2026-10-26T07:33:20Z", None),
        ("Mon, 26 Oct 2026 07:33:20 GMT, Mon, 26 Oct 2026 07:33:20 GMT", 10.0),  # sent twice
        ("Mon, 99 Oct 2026 99:99:99 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_a_wait_until_a_date_is_measured_by_the_answers_own_clock(
    date: str | None, wait_s: float | None
) -> None:
    headers = {"Retry-After": "Mon, 26 Oct 2026 07:33:30 GMT"}
    headers |= {} if date is None else {"Date": date}

    assert retry_after_s(headers) == wait_s


def test_a_provider_may_forbid_a_retry() -> None:
    assert not may_ask_again({"X-Should-Retry": "false"})
    assert may_ask_again({"x-should-retry": "true"})
    assert may_ask_again({})


def test_a_named_wait_is_kept_exactly() -> None:
    assert rest_s(3.0, 5, chance=0.9) == 3.0
    assert rest_s(0.001, 0, chance=0.9) == 0.1


@pytest.mark.parametrize(("in_a_row", "middle_s"), [(0, 2.0), (1, 4.0), (4, 32.0), (9, 60.0)])
def test_rests_without_a_named_time_grow_and_are_spread(in_a_row: int, middle_s: float) -> None:
    assert rest_s(None, in_a_row, chance=0.0) == pytest.approx(middle_s * 0.75)
    assert rest_s(None, in_a_row, chance=0.5) == pytest.approx(middle_s)
    assert rest_s(None, in_a_row, chance=1.0) == pytest.approx(middle_s * 1.25)
