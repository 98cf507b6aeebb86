"""The end of a turn that produced no words."""

import pytest

from processors.hearing.caller_words import AfterSound, after_sound

RESUME, ANSWER, ASK_AGAIN, NOTHING = AfterSound


@pytest.mark.parametrize(
    ("true", "then"),
    [
        ("", NOTHING),
        ("unanswered", ANSWER),
        ("unanswered interrupted awaits_answer asked", ANSWER),
        ("has_rest", RESUME),
        ("has_rest unanswered interrupted asked", RESUME),
        ("has_rest interrupted awaits_answer", ASK_AGAIN),  # there may have been words
        ("has_rest led", NOTHING),
        ("interrupted", ASK_AGAIN),
        ("awaits_answer", ASK_AGAIN),
        ("interrupted asked", NOTHING),
        ("awaits_answer asked", NOTHING),
        ("led", NOTHING),
        ("led unanswered interrupted awaits_answer", NOTHING),
    ],
)
def test_an_interrupted_reply_continues_and_a_question_is_asked_again(
    true: str, then: AfterSound
) -> None:
    names = ("led", "has_rest", "unanswered", "interrupted", "awaits_answer", "asked")
    facts = {name: name in true.split() for name in names}

    assert after_sound(**facts) is then
