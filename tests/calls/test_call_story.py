"""The text that is kept of a call, and the parts that are left out of a long one."""

import pytest

from calls.campaign_events import OutboundCallBegan
from calls.events import AgentSaid, CallbackWanted, CallEnded, Event, TranscriptFinal
from calls.operations_events import DoNotCallOwed, DoNotCallWanted
from operations.after_call.story_rules import CallStory

CALL_ME = CallbackWanted(turn=2, when="tomorrow", reason="is driving")


def person(text: str) -> Event:
    return TranscriptFinal(turn=1, at_s=1.0, provider="deepgram", text=text)


def agent(text: str) -> Event:
    return AgentSaid(turn=1, text=text)


def story_of(*events: Event) -> CallStory:
    story = CallStory()
    for event in events:
        story.add(event)
    return story


def known(story: CallStory) -> tuple[str, bool, bool, CallbackWanted | None]:
    return story.dial_id, story.spoke, story.no_more_calls, story.callback


def line(name: str, length: int = 500) -> str:
    """Return a line of this length, with a name in it."""
    return f"Person: {name}".ljust(length, ".")


def told(*lines: str) -> CallStory:
    return story_of(*(person(text.removeprefix("Person: ")) for text in lines))


LONG = [line(f"{at}") for at in range(40)]


def test_an_eventless_call_has_no_story() -> None:
    story = CallStory()

    assert story.text == ""
    assert known(story) == ("", False, False, None)


def test_both_sides_have_a_line_for_each_utterance_in_the_order_of_the_call() -> None:
    story = story_of(
        agent("Hello, this is the surgery."),
        person("Can I  come\non Monday?"),
        agent("At nine?"),
        person("Yes."),
    )

    assert story.text.splitlines() == [
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
def test_a_story_has_the_basic_data_of_the_call(
    events: tuple[Event, ...], facts: tuple[str, bool, bool, CallbackWanted | None]
) -> None:
    assert known(story_of(*events)) == facts


def test_the_last_callback_request_counts() -> None:
    later = CallbackWanted(turn=5, when="on Friday", reason="is away")

    assert story_of(CALL_ME, later).callback == later


def test_an_utterance_without_words_has_no_line() -> None:
    assert story_of(person("Hello."), person(" "), agent("\x07")).text == "Person: Hello."


def test_one_overlong_utterance_is_cut() -> None:
    assert story_of(person("x" * 5_000)).text == "Person: " + "x" * 600


def test_a_call_that_just_fits_is_kept_whole() -> None:
    fits = LONG[:16]

    assert told(*fits).text.splitlines() == fits


def test_one_character_too_many_drops_the_oldest_line_after_the_beginning() -> None:
    last = line("last", 501)

    assert told(*LONG[:15], last).text.splitlines() == [*LONG[:4], "[…]", *LONG[5:15], last]


def test_of_a_long_call_the_beginning_and_the_end_are_kept() -> None:
    assert told(*LONG).text.splitlines() == [*LONG[:4], "[…]", *LONG[-12:]]


def test_a_line_that_does_not_fit_ends_the_beginning() -> None:
    begins = [line("first", 600), line("second", 600), line("third", 600), line("fourth", 201)]
    goes_on = [line("a short one", 40), *LONG[:12]]

    assert told(*begins, *goes_on).text.splitlines() == [*begins[:3], "[…]", *LONG[:12]]


def test_a_long_line_at_the_end_may_drop_several_short_ones() -> None:
    short = [line(f"short {at}", 100) for at in range(60)]
    long = line("long", 350)

    assert told(*LONG[:4], *short, long).text.splitlines() == [
        *LONG[:4],
        "[…]",
        *short[4:],
        long,
    ]
