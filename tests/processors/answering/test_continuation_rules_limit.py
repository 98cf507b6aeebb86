"""The limit on a reply's length."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fallbacks.word_times import CHARACTER_S
from processors.answering.continuation_rules import OVERRUN, Answer, ReplyLimit


def limited(text: str, *, max_s: float, size: int) -> str:
    limit = ReplyLimit(max_s)
    return "".join(limit.take(text[at : at + size]) for at in range(0, len(text), size))


@given(size=st.integers(1, 40))
def test_a_reply_ends_with_the_sentence_that_reaches_the_limit(size: int) -> None:
    text = "We open at nine. We close at five, or 5.30 p.m. on Sunday. Then we sleep. "
    assert limited(text, max_s=50 * CHARACTER_S, size=size).strip() == text[:59].strip()


@given(size=st.integers(1, 40))
def test_a_reply_without_a_sentence_end_is_cut_after_a_word(size: int) -> None:
    said = limited("word " * 100, max_s=50 * CHARACTER_S, size=size)
    assert set(said.split()) == {"word"}
    assert len(said) <= OVERRUN * 50 + 5 + size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("This is what I said. " * 9, "This is what I said. " * 3),
        (
            "This is what I said. And this is, too. " * 9,
            "This is what I said. And this is, too. " * 2 + "This is what I said.",
        ),
        ("It costs 25 \u20ac, with 5 % off!\n" * 9, "It costs 25 \u20ac, with 5 % off!\n" * 3),
        ("one of the same items\n" * 9, "one of the same items\n" * 3),
        (
            "\u6211\u4eec\u661f\u671f\u4e00\u65e9\u4e0a\u4e5d\u70b9\u5f00\u95e8\u3002" * 9,
            "\u6211\u4eec\u661f\u671f\u4e00\u65e9\u4e0a\u4e5d\u70b9\u5f00\u95e8\u3002" * 3,
        ),
        ("One moment. " * 5, "One moment. " * 5),
        (
            "Line 1 is open now. Line 2 is open now. Line 3 is open now. ",
            "Line 1 is open now. Line 2 is open now. Line 3 is open now. ",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_sentence_repeated_again_and_again_ends_a_reply(text: str, said: str, size: int) -> None:
    assert limited(text, max_s=60.0, size=size).strip() == said.strip()


@pytest.mark.parametrize(
    ("piece", "letters"),
    [("\u661f\u671f\uff0c", 9), ("abc", 3), ("\u0939\u0948 \u0939\u0902\u0964 ", 7)],
)
def test_a_reply_ends_in_every_script(piece: str, letters: int) -> None:
    said = limited(piece * 900, max_s=100 * CHARACTER_S, size=3)
    assert 90 <= len(said) / len(piece) * letters <= 100 * (1 + OVERRUN)


def test_text_of_several_models_is_one_reply() -> None:
    answer = Answer(max_s=40 * CHARACTER_S)
    answer.start_attempt(1)
    answer.write(1, "We open at nine. We cl")
    answer.start_attempt(2)
    answer.write(2, "close at five each day. Then we sleep. ")
    assert answer.said == "We open at nine. We close at five each day."
    assert answer.limit.reason


THOUGHTS = "The caller asks when we open. I look it up, and then I answer. " * 2


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("thoughts", "answer"),
    [
        (f"{THOUGHTS}So: nine.", "We open at nine each day. We close at five. Then we sleep."),
        (f"{THOUGHTS}So", "Nine words and no end of a sentence in them at all"),
        ("We open at nine. " * 2, "We open at nine. We open at nine. We close at five."),
    ],
    ids=["sentences", "text without an end", "sentences of the answer itself"],
)
def test_thoughts_that_are_withdrawn_do_not_count(thoughts: str, answer: str, size: int) -> None:
    said = Answer(max_s=150 * CHARACTER_S)
    said.start_attempt(1)
    text = f"{thoughts}</think>{answer}"
    for at in range(0, len(text), size):
        said.write(1, text[at : at + size])
    said.finish(1)

    assert said.said == answer
    assert not said.limit.reason


TEXTS = st.lists(st.sampled_from(["We open at nine. ", "Yes! ", "then ", "\u661f\u3002", "a"]))


@given(first=TEXTS, back=st.integers(0, 60), rest=TEXTS)
def test_withdrawn_text_was_never_written(first: list[str], back: int, rest: list[str]) -> None:
    text = "".join(first)
    withdrawn, never = ReplyLimit(80 * CHARACTER_S), ReplyLimit(80 * CHARACTER_S)
    for character in text:
        withdrawn.take(character)
    assume(not withdrawn.reason)
    withdrawn.take_back(back)
    for character in text[: max(0, len(text) - back)]:
        never.take(character)

    added = "".join(rest)
    assert [withdrawn.take(item) for item in added] == [never.take(item) for item in added]
    assert withdrawn.reason == never.reason
