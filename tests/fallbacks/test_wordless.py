"""What becomes of a turn of which no word was written down."""

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
def test_what_was_asked_is_asked_again_and_a_reply_that_was_cut_off_once(
    true: str, then: AfterSound
) -> None:
    facts = {name: name in true.split() for name in ("led", "unanswered", "cut", "owed", "asked")}

    assert after_sound(**facts) is then
