"""Calls that are followed from their start to their end."""

from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event, TurnDecided
from operations.open_calls import MOST_CALLS, OpenCalls

STARTED = CallStarted(transport="twilio", agent="desk")
DECIDED = TurnDecided(turn=1, at_s=1.0)
ENDED = CallEnded(reason="caller_hung_up", length_s=3.0)


class Facts:
    """Keeps its events."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.told: list[Event] = []

    def add(self, event: Event) -> None:
        self.told.append(event)


def entry(event: Event, call_id: str = "c1") -> Entry:
    return Entry(call_id=call_id, number=1, at="", event=event)


def test_an_ended_call_is_returned_with_its_events_once() -> None:
    calls = OpenCalls(Facts)

    given = [calls.add(entry(item)) for item in (STARTED, DECIDED, ENDED, ENDED)]

    (ended,) = [item for item in given if item is not None]
    assert (ended.call_id, ended.told) == ("c1", [STARTED, DECIDED, ENDED])
    assert given.index(ended) == 2
    assert len(calls) == 0


def test_calls_are_kept_apart() -> None:
    calls = OpenCalls(Facts)
    for name in ("c1", "c2"):
        calls.add(entry(STARTED, name))
    calls.add(entry(DECIDED, "c2"))

    first, second = calls.add(entry(ENDED, "c1")), calls.add(entry(ENDED, "c2"))

    assert first is not None
    assert second is not None
    assert (first.told, second.told) == ([STARTED, ENDED], [STARTED, DECIDED, ENDED])


def test_a_call_without_its_start_is_not_followed() -> None:
    calls = OpenCalls(Facts)

    assert [calls.add(entry(item)) for item in (DECIDED, ENDED)] == [None, None]
    assert len(calls) == 0


def test_calls_that_never_end_are_dropped_for_new_ones() -> None:
    calls = OpenCalls(Facts)
    for index in range(MOST_CALLS + 5):
        calls.add(entry(STARTED, f"c{index}"))

    assert len(calls) == MOST_CALLS
    assert calls.add(entry(ENDED, "c4")) is None
    assert calls.add(entry(ENDED, "c5")) is not None
