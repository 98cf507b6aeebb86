"""The end of a turn that produced no words."""

import pytest

from processors.hearing.caller_words import AfterSound, after_sound

RESUME, ANSWER, ASK_AGAIN, NOTHING = AfterSound


@pytest.mark.parametrize(
    ("true", "then"),
    [
        ("", NOTHING),
        ("unanswered", ANSWER),
        ("unanswered cut owed asked", ANSWER),
        ("rest", RESUME),
        ("rest unanswered cut asked", RESUME),
        ("rest cut owed", ASK_AGAIN),  # there may have been words
        ("rest led", NOTHING),
        ("cut", ASK_AGAIN),
        ("owed", ASK_AGAIN),
        ("cut asked", NOTHING),
        ("owed asked", NOTHING),
        ("led", NOTHING),
        ("led unanswered cut owed", NOTHING),
    ],
)
def test_an_interrupted_reply_continues_and_a_question_is_asked_again(
    true: str, then: AfterSound
) -> None:
    names = ("led", "rest", "unanswered", "cut", "owed", "asked")
    facts = {name: name in true.split() for name in names}

    assert after_sound(**facts) is then
