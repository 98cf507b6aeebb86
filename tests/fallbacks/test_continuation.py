import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.continuation import Continuation

SAID = "We open at nine. From Monday"
REST = " to Friday we are here until six."


def put_through(said: str, answer: str, *, size: int = 3) -> str:
    rest = Continuation(said)
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    return "".join(rest.feed(each) for each in pieces) + rest.end()


@pytest.mark.parametrize(
    "answer",
    [
        REST,
        REST.lstrip(),
        SAID + REST,
        "we open at nine from monday" + REST,
        "From Monday" + REST,
        "Monday" + REST,
        "  " + REST.lstrip(),
    ],
    ids=[
        "goes on", "without a space", "from the top", "from the top, worded alike",
        "takes up two words", "takes up one word", "with two spaces",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3, 7, 200])
def test_each_word_is_said_once_however_the_second_model_goes_on(answer: str, size: int) -> None:
    whole = SAID + put_through(SAID, answer, size=size)

    assert whole.split() == (SAID + REST).split()


def test_a_word_that_was_cut_is_made_whole_when_the_answer_begins_again() -> None:
    assert (
        "I can book an appoint"
        + put_through("I can book an appoint", "I can book an appointment for you.")
        == "I can book an appointment for you."
    )


def test_punctuation_follows_without_a_space() -> None:
    assert put_through("We are closed", ", I am sorry.") == ", I am sorry."


def test_after_nothing_everything_is_new() -> None:
    assert put_through("", SAID) == SAID


def test_an_answer_that_only_repeats_gives_nothing() -> None:
    assert put_through(SAID, "We open at") == ""


def test_another_answer_altogether_is_passed_on_whole() -> None:
    assert put_through("Good morning.", "What may I do for you?") == " What may I do for you?"


WORDS = st.lists(st.sampled_from(["we", "open", "at", "nine", "on", "the", "hour"]), min_size=1)


@given(WORDS, WORDS, st.integers(1, 9))
def test_beginning_again_from_the_top_never_doubles_or_drops_a_word(
    said: list[str], rest: list[str], size: int
) -> None:
    first = " ".join(said)
    whole = first + put_through(first, " ".join(said + rest), size=size)

    assert whole.split() == said + rest


@given(st.text(max_size=60), st.text(max_size=60), st.integers(1, 9))
def test_any_text_is_survived_and_nothing_is_made_up(said: str, answer: str, size: int) -> None:
    out = put_through(said, answer, size=size)

    assert "".join(out.split()) in "".join(answer.split())
