"""The end of a turn that produced no words."""

import pytest

from processors.hearing.utterance_rules import AfterSound, after_sound

ANSWER, ASK_AGAIN, NOTHING = AfterSound


@pytest.mark.parametrize(
    ("true", "then"),
    [
        ("", NOTHING),
        ("unanswered", ANSWER),
        ("unanswered cut owed asked", ANSWER),
        ("cut", ASK_AGAIN),
        ("owed", ASK_AGAIN),
        ("cut asked", NOTHING),
        ("owed asked", NOTHING),
        ("led", NOTHING),
        ("led unanswered cut owed", NOTHING),
    ],
)
def test_a_question_is_asked_again_and_an_interrupted_reply_once(
    true: str, then: AfterSound
) -> None:
    facts = {name: name in true.split() for name in ("led", "unanswered", "cut", "owed", "asked")}

    assert after_sound(**facts) is then
