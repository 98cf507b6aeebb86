"""Which calls a listener remembers, and for how long."""

import pytest

from calls.entry import Entry
from calls.events import (
    CallEnded,
    CallKept,
    CallMoved,
    CallNotKept,
    CallStarted,
    Event,
    TurnDecided,
    UsageMeasured,
)
from calls.known_calls import MAX_DROPPED_IDS, MAX_LIVE, KnownCalls

KEPT = 2
STARTED = CallStarted(transport="twilio", agent="desk")
DECIDED = TurnDecided(turn=1, at_s=1.0)
ENDED = CallEnded(reason="caller_hung_up", length_s=3.0)
USED = UsageMeasured(turn=0, stage="llm", provider="openai", model="m", cost=0.25, behind_call="0")


def entry(event: Event, call_id: str = "c1") -> Entry:
    return Entry(call_id=call_id, number=1, at="12:00", event=event)


def ended(number: int) -> KnownCalls:
    """Return the known calls after this many calls, one after the other."""
    calls = KnownCalls(keep_ended=KEPT)
    for index in range(number):
        calls.add(entry(STARTED, str(index)))
        calls.add(entry(ENDED, str(index)))
    return calls


def test_a_call_stays_the_same_while_it_lasts_and_for_a_while_after() -> None:
    calls = KnownCalls(keep_ended=KEPT)
    found = [calls.add(entry(event)) for event in (STARTED, DECIDED, ENDED, ENDED)]

    begun = found[0]
    assert begun is not None
    assert all(call is begun for call in found)
    assert (begun.call_id, begun.began_at, begun.turn) == ("c1", "12:00", 1)
    assert (list(calls.live), list(calls.ended)) == ([], ["c1"])


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        ([STARTED], True),
        ([STARTED, CallNotKept()], False),
        ([STARTED, CallNotKept(), CallKept()], True),
        ([STARTED, CallNotKept(), ENDED, STARTED], True),  # its state is stored again
    ],
    ids=["kept", "not kept", "kept later", "taken up again"],
)
def test_a_call_is_kept_unless_it_began_without_the_store(
    events: list[Event], *, kept: bool
) -> None:
    calls = KnownCalls(keep_ended=KEPT)
    for event in events:
        calls.add(entry(event))

    assert calls.live["c1"].kept is kept


def test_calls_are_kept_apart() -> None:
    calls = KnownCalls()
    for name in ("c1", "c2"):
        calls.add(entry(STARTED, name))
    calls.add(entry(DECIDED, "c2"))

    assert {name: call.turn for name, call in calls.live.items()} == {"c1": 0, "c2": 1}


def test_only_the_latest_ended_calls_are_kept_and_an_older_one_does_not_restart() -> None:
    calls = ended(KEPT + 1)

    assert list(calls.ended) == ["1", "2"]
    assert calls.add(entry(DECIDED, "0")) is None
    assert not calls.live


@pytest.mark.parametrize("keep_ended", [0, KEPT])
def test_a_call_whose_line_is_back_after_its_end_goes_on_and_ends_again(keep_ended: int) -> None:
    calls = KnownCalls(keep_ended=keep_ended)
    for event in (STARTED, ENDED):
        calls.add(entry(event))

    back = calls.add(entry(STARTED))

    assert back is not None
    assert back.ended is None
    assert calls.live == {"c1": back}
    later = CallEnded(reason="agent_hung_up", length_s=9.0)
    assert calls.add(entry(later)) is back
    assert back.ended == later


@pytest.mark.parametrize("keep_ended", [0, KEPT])
def test_a_call_that_another_process_resumed_is_dropped_until_it_comes_back(
    keep_ended: int,
) -> None:
    calls = KnownCalls(keep_ended=keep_ended)
    calls.add(entry(STARTED))

    assert calls.add(entry(CallMoved())) is None
    assert calls.add(entry(DECIDED)) is None
    assert (calls.live, calls.ended) == ({}, {})
    assert calls.add(entry(STARTED)) is not None
    assert list(calls.live) == ["c1"]


def test_an_ended_call_that_is_not_kept_is_returned_once() -> None:
    calls = KnownCalls()
    calls.add(entry(STARTED))

    assert calls.add(entry(ENDED)) is not None
    assert calls.add(entry(ENDED)) is None


def test_use_after_the_end_belongs_to_the_ended_call_while_that_is_kept() -> None:
    early, late = ended(KEPT), ended(KEPT + 1)

    call = early.add(entry(USED, ""))
    assert call is not None
    assert (call.call_id, call.bill.total, call.turns) == ("0", 0.25, {})
    assert late.add(entry(USED, "")) is None


def test_an_event_outside_calls_does_not_start_a_call() -> None:
    calls = KnownCalls()

    assert calls.add(entry(DECIDED, "")) is None
    assert not calls.live


def test_calls_whose_end_was_lost_are_dropped_for_new_ones() -> None:
    calls = KnownCalls()
    for index in range(MAX_LIVE + 5):
        calls.add(entry(STARTED, f"c{index}"))

    assert len(calls.live) == MAX_LIVE
    assert calls.add(entry(ENDED, "c4")) is None
    assert calls.add(entry(ENDED, "c5")) is not None


def test_the_names_of_dropped_calls_are_bounded() -> None:
    calls = ended(KEPT + MAX_DROPPED_IDS + 1)

    assert calls.add(entry(DECIDED, "1")) is None
    assert calls.add(entry(DECIDED, "0")) is not None
