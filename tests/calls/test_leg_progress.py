"""Callbacks of a carrier become events: each once, none backwards."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.leg_events import AnswererJudged, LegAnswered, LegCharged, LegEnded, LegRinging
from calls.leg_progress import OUTCOMES, LegEvent, LegProgress, StatusCallback

STATUSES = ("queued", "initiated", "ringing", "in-progress", *OUTCOMES)


def facts(*said: StatusCallback) -> list[LegEvent]:
    progress, found = LegProgress(began_at=100.0), list[LegEvent]()
    for number, each in enumerate(said):
        progress, new = progress.apply(each, 100.0 + number)
        found += new
    return found


def status(name: str, **more: object) -> StatusCallback:
    return StatusCallback(call_ref="CA1", status=name, **more)  # type: ignore[arg-type]


def test_a_call_rings_is_answered_and_ends() -> None:
    said = [status(name) for name in ("initiated", "ringing", "in-progress", "completed")]

    assert facts(*said) == [
        LegRinging(call_ref="CA1"),
        LegAnswered(call_ref="CA1", after_s=2.0),
        LegEnded(call_ref="CA1", outcome="completed"),
    ]


@pytest.mark.parametrize(
    ("final", "outcome"),
    [
        ("completed", "completed"),
        ("busy", "busy"),
        ("no-answer", "no-answer"),
        ("failed", "failed"),
        ("canceled", "cancelled"),
    ],
)
def test_a_final_status_is_an_outcome(final: str, outcome: str) -> None:
    [ended] = facts(status(final, sip_code=486, reason="32009"))

    assert ended == LegEnded(call_ref="CA1", outcome=outcome, sip_code=486, reason="32009")  # type: ignore[arg-type]


def test_a_calls_cost_is_reported_once_even_after_its_end() -> None:
    price = StatusCallback(call_ref="CA1", ref="d-1", cost=0.007)

    assert facts(status("completed"), price, price)[1:] == [
        LegCharged(call_ref="CA1", ref="d-1", cost=0.007)
    ]


def test_a_free_call_is_reported_too() -> None:
    price = StatusCallback(call_ref="CA1", cost=0.0)

    assert facts(price) == [LegCharged(call_ref="CA1", cost=0.0)]


@pytest.mark.parametrize("answerer", ["machine_start", "machine_end_beep", "fax"])
def test_a_machine_that_answered_is_no_person_reached(answerer: str) -> None:
    judged = StatusCallback(call_ref="CA1", answered_by=answerer, judged_after_s=2.1)

    assert facts(status("in-progress"), judged, status("completed"))[1:] == [
        AnswererJudged(call_ref="CA1", answerer=answerer, machine=True, after_s=2.1),
        LegEnded(call_ref="CA1", outcome="voicemail"),
    ]


def test_a_person_is_not_reported_as_a_machine() -> None:
    judged = StatusCallback(call_ref="CA1", answered_by="human")
    fact, ended = facts(judged, status("completed", answered_by="human"))

    assert isinstance(fact, AnswererJudged)
    assert not fact.machine
    assert ended == LegEnded(call_ref="CA1", outcome="completed")


def test_in_any_order_a_call_ends_once_and_nothing_follows() -> None:
    for said in permutations(("ringing", "in-progress", "completed")):
        found = facts(*map(status, said))

        assert isinstance(found[-1], LegEnded)
        assert len({type(fact) for fact in found}) == len(found)


@given(st.lists(st.sampled_from(STATUSES), max_size=20))
def test_each_event_is_reported_once_however_often_callbacks_come(names: list[str]) -> None:
    found = facts(*map(status, names))

    assert len({type(fact) for fact in found}) == len(found)
    assert all(not isinstance(fact, LegEnded) for fact in found[:-1])
