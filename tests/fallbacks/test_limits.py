"""Limits on the requests of a rung: which pass, wait, or go to another rung."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.availability import Availability
from fallbacks.deadline import Deadline
from fallbacks.limits import (
    LEARNT_S,
    Limits,
    RequestsLeft,
    RungLimiter,
    may_wait_until,
    requests_left,
)

NOW = 100.0
LATER = Deadline(at=NOW + 5)


def served(turnstile: RungLimiter, now: float = NOW) -> int | None:
    """Let the next request pass."""
    ticket = turnstile.call_in(now)
    if ticket is not None:
        turnstile.passed(ticket)
    return ticket


def join(turnstile: RungLimiter, call: str) -> int:
    ticket = turnstile.join(call, until=LATER, now=NOW)
    assert ticket is not None
    return ticket


def standby(name: str, p50_s: float) -> Availability:
    return Availability(provider=name, p50_s=p50_s, p95_s=1.0)


def test_requests_up_to_the_limit_pass_and_the_next_one_when_one_ends() -> None:
    turnstile = RungLimiter(Limits(concurrent=2))
    first, second, third = (join(turnstile, call) for call in ("a", "b", "c"))

    assert [served(turnstile) for _ in range(3)] == [first, second, None]
    turnstile.leave(first)
    assert served(turnstile) == third


def test_a_call_with_many_waiters_does_not_starve_others() -> None:
    turnstile = RungLimiter(Limits(concurrent=1))
    greedy = [join(turnstile, "greedy") for _ in range(3)]
    modest = join(turnstile, "modest")
    order: list[int] = []
    while (ticket := served(turnstile)) is not None:
        order.append(ticket)
        turnstile.leave(ticket)

    assert order == [greedy[0], modest, greedy[1], greedy[2]]


def test_a_waiter_that_gives_up_does_not_block_others() -> None:
    turnstile = RungLimiter(Limits(concurrent=1))
    first, second, third = (join(turnstile, call) for call in ("a", "b", "c"))
    served(turnstile)
    turnstile.leave(second)
    turnstile.leave(first)

    assert served(turnstile) == third


def test_requests_wait_for_the_pace_one_at_a_time() -> None:
    turnstile = RungLimiter(Limits(per_minute=60))
    first, second = join(turnstile, "a"), join(turnstile, "b")

    assert turnstile.call_in(NOW) == first
    assert turnstile.call_in(NOW) is None
    turnstile.passed(first)
    assert turnstile.call_in(NOW) == second


def test_a_request_that_cannot_pass_in_time_does_not_wait_at_all() -> None:
    turnstile = RungLimiter(Limits(per_minute=6))  # one request every ten seconds
    for call in ("a", "b"):
        turnstile.join(call, until=LATER, now=NOW)
    turnstile.call_in(NOW)  # it is first in the queue, and another is after it

    assert turnstile.join("c", until=Deadline(at=NOW + 9.9), now=NOW) is None
    assert turnstile.join("c", until=Deadline(at=NOW + 10.1), now=NOW) is not None


def test_a_request_that_may_not_wait_passes_if_none_has_to() -> None:
    turnstile = RungLimiter(Limits(per_minute=6))

    assert turnstile.soonest(NOW) == NOW
    assert turnstile.join("a", until=Deadline(at=NOW), now=NOW) is not None


def test_without_limits_every_request_passes_at_once() -> None:
    turnstile = RungLimiter(Limits())
    assert turnstile.has_room(0.0)
    assert all(turnstile.seat(NOW) for _ in range(1000))
    for call in ("a", "b"):
        join(turnstile, call)
    turnstile.call_in(NOW)

    assert turnstile.soonest(NOW) == NOW


def test_a_request_that_leaves_while_waiting_for_the_pace_lets_the_next_one_come() -> None:
    turnstile = RungLimiter(Limits())
    first, second = (join(turnstile, call) for call in ("a", "b"))
    turnstile.call_in(NOW)
    turnstile.leave(first)

    assert turnstile.call_in(NOW) == second


def test_a_connection_takes_a_place_at_once_or_not_at_all() -> None:
    turnstile = RungLimiter(Limits(concurrent=1))

    held = turnstile.seat(NOW)
    assert held is not None
    assert turnstile.seat(NOW) is None
    turnstile.leave(held)
    assert turnstile.seat(NOW) is not None


def test_an_empty_bucket_is_waited_for_until_it_holds_the_next_request() -> None:
    turnstile = RungLimiter(Limits())
    turnstile.learn(RequestsLeft(limit=60, remaining=0, full_in_s=60.0), NOW)

    assert not turnstile.has_room(NOW + 0.9)
    assert turnstile.has_room(NOW + 1.0)
    assert turnstile.join("a", until=Deadline(at=NOW + 0.5), now=NOW) is None
    other = RungLimiter(Limits())
    other.learn(RequestsLeft(limit=60, remaining=1, full_in_s=59.0), NOW)
    assert other.has_room(NOW)


def test_a_rate_limit_removes_a_place_for_a_while() -> None:
    turnstile = RungLimiter(Limits(concurrent=10))
    for _ in range(4):
        turnstile.seat(NOW)
    turnstile.refused(NOW)

    assert turnstile.places(NOW) == 3
    assert turnstile.places(NOW + LEARNT_S) == 10
    assert not turnstile.has_room(NOW)
    waiting = join(turnstile, "a")
    assert served(turnstile) is None
    assert served(turnstile, NOW + LEARNT_S) == waiting

    only = RungLimiter(Limits())
    only.seat(NOW)
    only.refused(NOW)
    assert only.places(NOW) == 1


@pytest.mark.parametrize(("remaining", "next_in_s"), [(0, 6.0), (1, 0.0), (5, 0.0)])
def test_the_next_request_waits_only_for_an_empty_bucket(remaining: int, next_in_s: float) -> None:
    left = RequestsLeft(limit=10, remaining=remaining, full_in_s=60.0)

    assert left.next_in_s == next_in_s


@pytest.mark.parametrize("missing", ["limit", "remaining", "reset"])
def test_two_of_the_three_headers_are_not_enough(missing: str) -> None:
    headers = {"limit": "60", "remaining": "0", "reset": "1s"}
    del headers[missing]

    named = {f"x-ratelimit-{each}-requests": value for each, value in headers.items()}
    assert requests_left(named) is None


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "found"),
    [
        ("5000", "4999", "12ms", RequestsLeft(limit=5000, remaining=4999, full_in_s=0.012)),
        ("60", "0", "1m0s", RequestsLeft(limit=60, remaining=0, full_in_s=60.0)),
        ("60", "0", "6m0.5s", RequestsLeft(limit=60, remaining=0, full_in_s=360.5)),
        ("60", "0", "1h", RequestsLeft(limit=60, remaining=0, full_in_s=3600.0)),
        ("60", "0", "soon", None),
        ("60", "0", "", None),
        ("many", "0", "1s", None),
        ("60", "-1", "1s", None),
        ("0", "0", "1s", None),
    ],
)
def test_valid_headers_are_read_and_others_ignored(
    limit: str, remaining: str, reset: str, found: RequestsLeft | None
) -> None:
    headers = {
        "X-RateLimit-Limit-Requests": limit,
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-reset-requests": reset,
    }

    assert requests_left(headers) == found


@pytest.mark.parametrize(
    ("standbys", "at"),
    [
        ([], 104.0),  # no other rung: as long as even a late answer is useful
        ([standby("b", 0.4)], 100.8),  # until b could still make it, and the voice after it
        ([standby("b", 0.4), standby("c", 0.2)], 101.0),
        ([standby("b", 9.0)], 92.2),  # that is over: no waiting
    ],
    ids=["alone", "one", "the quicker of two", "a slow one"],
)
def test_waiting_leaves_the_next_rung_its_time(standbys: Sequence[Availability], at: float) -> None:
    until = may_wait_until(
        standbys, prompt=Deadline(at=101.5), until=Deadline(at=104.0), then_s=0.3
    )

    assert until.at == pytest.approx(at)


def test_immediately_audible_work_leaves_the_next_rung_no_other_time() -> None:
    prompt, until = Deadline(at=101.5), Deadline(at=104.0)

    waits = may_wait_until([standby("b", 0.4)], prompt=prompt, until=until)

    assert waits.at == pytest.approx(101.1)


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["join", "serve", "leave"]))),
)
def test_the_places_are_never_exceeded_and_none_is_left_empty(
    places: int, steps: Sequence[tuple[str, str]]
) -> None:
    turnstile = RungLimiter(Limits(concurrent=places))
    inside: list[int] = []
    for call, step in steps:
        if step == "join":
            join(turnstile, call)
        elif step == "serve":
            before = turnstile.waiting
            ticket = served(turnstile)
            assert (ticket is None) == (before == 0 or len(inside) == places)
            inside += [] if ticket is None else [ticket]
        elif inside:
            turnstile.leave(inside.pop(0))
        assert len(turnstile.inside) == len(inside) <= places
