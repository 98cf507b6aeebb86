"""The text that is kept of a call, and the parts that are left out of a long one."""

import pytest

from calls.campaign_events import OutboundCallBegan
from calls.events import AgentSaid, CallbackWanted, CallEnded, Event, TranscriptFinal
from calls.excerpt import Excerpt
from calls.operations_events import DoNotCallOwed, DoNotCallWanted
from calls.state import CallState

CALL_ME = CallbackWanted(turn=2, when="tomorrow", reason="is driving")


def person(text: str) -> Event:
    return TranscriptFinal(turn=1, at_s=1.0, provider="deepgram", text=text)


def agent(text: str) -> Event:
    return AgentSaid(turn=1, text=text)


def call_after(*events: Event) -> CallState:
    call = CallState(excerpt=Excerpt())
    for event in events:
        call.add(event)
    return call


def text_of(*events: Event) -> str:
    excerpt = call_after(*events).excerpt
    assert excerpt is not None
    return excerpt.text


def known(call: CallState) -> tuple[str, bool, bool, CallbackWanted | None]:
    assert call.excerpt is not None
    return call.dial_id, call.excerpt.spoke, call.no_more_calls, call.callback


def line(name: str, length: int = 500) -> str:
    """Return a line of this length, with a name in it."""
    return f"Person: {name}".ljust(length, ".")


def told(*lines: str) -> str:
    return text_of(*(person(text.removeprefix("Person: ")) for text in lines))


LONG = [line(f"{at}") for at in range(40)]


def test_an_eventless_call_has_no_words() -> None:
    assert text_of() == ""
    assert known(call_after()) == ("", False, False, None)


def test_both_sides_have_a_line_for_each_utterance_in_the_order_of_the_call() -> None:
    text = text_of(
        agent("Hello, this is the surgery."),
        person("Can I  come\non Monday?"),
        agent("At nine?"),
        person("Yes."),
    )

    assert text.splitlines() == [
        "Agent: Hello, this is the surgery.",
        "Person: Can I come on Monday?",
        "Agent: At nine?",
        "Person: Yes.",
    ]


@pytest.mark.parametrize(
    ("events", "facts"),
    [
        ((agent("Hello?"),), ("", False, False, None)),
        ((person("Yes?"),), ("", True, False, None)),
        ((person("Yes?"), agent("Hello.")), ("", True, False, None)),
        ((agent("Hello?"), person("Yes?")), ("", True, False, None)),
        ((person(" \x00 "),), ("", False, False, None)),
        ((OutboundCallBegan(dial_id="d7"),), ("d7", False, False, None)),
        ((DoNotCallWanted(turn=2, by="model"),), ("", False, True, None)),
        ((DoNotCallOwed(turn=2, by="model"),), ("", False, True, None)),
        ((CALL_ME,), ("", False, False, CALL_ME)),
        ((CallEnded(reason="silence", length_s=9.0),), ("", False, False, None)),
    ],
    ids=["we spoke", "they spoke", "they spoke first", "they answered", "no word in it",
         "we dialled", "never again", "never again, later", "call back", "nothing of interest"],
)  # fmt: skip
def test_the_basic_data_of_a_call_are_known(
    events: tuple[Event, ...], facts: tuple[str, bool, bool, CallbackWanted | None]
) -> None:
    assert known(call_after(*events)) == facts


def test_the_last_callback_request_counts() -> None:
    later = CallbackWanted(turn=5, when="on Friday", reason="is away")

    assert call_after(CALL_ME, later).callback == later


def test_an_utterance_without_words_has_no_line() -> None:
    assert text_of(person("Hello."), person(" "), agent("\x07")) == "Person: Hello."


def test_one_overlong_utterance_is_cut() -> None:
    assert text_of(person("x" * 5_000)) == "Person: " + "x" * 600


def test_a_call_that_just_fits_is_kept_whole() -> None:
    fits = LONG[:16]

    assert told(*fits).splitlines() == fits


def test_one_character_too_many_drops_the_oldest_line_after_the_beginning() -> None:
    last = line("last", 501)

    assert told(*LONG[:15], last).splitlines() == [*LONG[:4], "[…]", *LONG[5:15], last]


def test_the_beginning_and_the_end_of_a_long_call_are_kept() -> None:
    assert told(*LONG).splitlines() == [*LONG[:4], "[…]", *LONG[-12:]]


def test_a_line_that_does_not_fit_ends_the_beginning() -> None:
    begins = [line("first", 600), line("second", 600), line("third", 600), line("fourth", 201)]
    goes_on = [line("a short one", 40), *LONG[:12]]

    assert told(*begins, *goes_on).splitlines() == [*begins[:3], "[…]", *LONG[:12]]


def test_a_long_line_at_the_end_may_drop_several_short_ones() -> None:
    short = [line(f"short {at}", 100) for at in range(60)]
    long = line("long", 350)

    assert told(*LONG[:4], *short, long).splitlines() == [
        *LONG[:4],
        "[…]",
        *short[4:],
        long,
    ]


@pytest.mark.parametrize(
    ("record", "own", "text"),
    [
        ((), ("c",), "Person: c"),
        (("a", "b"), (), "Person: a\nPerson: b"),
        (("a", "b"), ("c",), "Person: a\nPerson: b\nPerson: c"),
        (("a", "b", "c"), ("b", "c", "d"), "Person: a\nPerson: b\nPerson: c\nPerson: d"),
        (("a", "b", "b"), ("b", "b"), "Person: a\nPerson: b\nPerson: b"),
        (("a", "b"), ("a", "b"), "Person: a\nPerson: b"),
        (("a: b",), ("a: b", "c"), "Person: a: b\nPerson: c"),
    ],
)
def test_words_of_the_record_come_before_our_own_once(
    record: tuple[str, ...], own: tuple[str, ...], text: str
) -> None:
    call = call_after(*map(person, own))
    for _ in range(2):  # a database that failed meanwhile is asked again
        call.add_record([("Person", words) for words in record])

    assert call.excerpt
    assert call.excerpt.text == text
    assert list(call.said) == [line.partition(": ")[2] for line in text.splitlines()[-2:]]
