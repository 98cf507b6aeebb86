"""Which call's sound the turn detector judges next."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.turn.judging_rules import MAX_EXPECTED_S, AnalysisQueue, AnalysisRequest


def test_the_nearest_deadline_is_first() -> None:
    queue = AnalysisQueue(width=3)
    requests = [
        AnalysisRequest(call, due_at=at) for call, at in (("a", 100.3), ("b", 100.1), ("c", 100.2))
    ]
    for request in requests:
        queue.add(request)

    assert [queue.take() for _ in requests] == [requests[1], requests[2], requests[0]]


def test_the_number_of_simultaneous_requests_is_bounded() -> None:
    queue = AnalysisQueue(width=1)
    queue.add(first := AnalysisRequest("a", due_at=100.1))
    queue.add(second := AnalysisRequest("b", due_at=100.2))

    assert [queue.take(), queue.take()] == [first, None]
    queue.ended(took_s=0.07)
    assert queue.take() is second


def test_a_newer_request_of_a_call_replaces_an_older_one() -> None:
    queue = AnalysisQueue(width=1)
    older, newer = AnalysisRequest("a", due_at=100.1), AnalysisRequest("a", due_at=100.4)

    assert queue.add(older) is None
    assert queue.add(newer) is older
    assert [queue.take(), queue.take()] == [newer, None]


def test_an_unneeded_request_is_not_started() -> None:
    queue = AnalysisQueue(width=1)
    queue.add(request := AnalysisRequest("a", due_at=100.1))
    queue.drop(request)

    assert queue.take() is None


def test_dropping_an_older_request_leaves_the_newer_one() -> None:
    queue = AnalysisQueue(width=1)
    queue.add(older := AnalysisRequest("a", due_at=100.1))
    queue.add(newer := AnalysisRequest("a", due_at=100.4))
    queue.drop(older)

    assert queue.take() is newer


@pytest.mark.parametrize(
    ("took_s", "late_at"),
    [(None, 100.25), (0.07, 100.18), (6.0, 100.25 - MAX_EXPECTED_S)],
    ids=["nothing known", "usually 70 ms", "one that hung does not stop all others"],
)
def test_a_request_that_cannot_be_in_time_is_dropped(took_s: float | None, late_at: float) -> None:
    queue = AnalysisQueue(width=1)
    if took_s is not None:
        queue.add(AnalysisRequest("before", due_at=99.0))
        queue.take()
        queue.ended(took_s=took_s)
    queue.add(request := AnalysisRequest("a", due_at=100.25))

    assert queue.expire(late_at - 0.001) == []
    assert queue.expire(late_at + 0.001) == [request]
    assert queue.take() is None


def test_a_request_due_now_is_too_late() -> None:
    queue = AnalysisQueue(width=1)
    queue.add(request := AnalysisRequest("a", due_at=100.25))

    assert queue.expire(100.25) == [request]


@pytest.mark.parametrize(
    ("took_s", "expected_s"),
    [((0.1, 0.15), 0.11), ((0.1, 0.05), 0.09), ((0.1, 6.0), MAX_EXPECTED_S)],
    ids=["slower than usual", "quicker than usual", "one that hung"],
)
def test_the_latest_duration_changes_the_estimate_a_little(
    took_s: tuple[float, ...], expected_s: float
) -> None:
    queue = AnalysisQueue(width=1)
    for number in took_s:
        queue.add(AnalysisRequest("before", due_at=99.0))
        queue.take()
        queue.ended(took_s=number)
    queue.add(request := AnalysisRequest("a", due_at=100.25))

    assert queue.expire(100.25 - expected_s - 0.001) == []
    assert queue.expire(100.25 - expected_s + 0.001) == [request]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.0, 1.0)), max_size=30))
def test_each_call_is_judged_once_by_its_newest_request(asked: list[tuple[int, float]]) -> None:
    queue = AnalysisQueue(width=100)
    newest: dict[int, AnalysisRequest] = {}
    for call, due_at in asked:
        newest[call] = AnalysisRequest(call, due_at)
        queue.add(newest[call])
    taken = [request for _ in asked if (request := queue.take())]

    assert set(taken) == set(newest.values())
    assert [item.due_at for item in taken] == sorted(item.due_at for item in taken)
