"""Which windows of the VAD count as speech."""

import pytest

from processors.turn.speech_rules import START_S, BeginningOfSpeech

WINDOW_S = 0.032
FIVE = 5


def begins(scores: list[float]) -> bool:
    rule, count = BeginningOfSpeech(), 0
    for sure in scores:
        speech = rule.score(sure, threshold=0.7, starting=count > 0) >= 0.7
        count = count + 1 if speech else 0
        if count == FIVE:
            return True
    return False


@pytest.mark.parametrize(
    ("scores", "then"),
    [
        ([0.9] * 5, True),
        ([0.9] * 4, False),
        ([0.9, 0.9, 0.42, 0.9, 0.9], True),
        ([0.9, 0.9, 0.0, 0.9, 0.9], True),  # whatever it scores
        ([0.9, 0.42, 0.9, 0.42, 0.9], False),
        ([0.9, 0.9, 0.42, 0.42, 0.9, 0.9], False),
        ([0.42, 0.9, 0.9, 0.9, 0.9], False),  # it begins with a sure one
        ([0.9, 0.42, 0.2, 0.9, 0.42, 0.9, 0.9, 0.9], True),  # each beginning may have one
        ([0.9, 0.1] * 6, False),  # clicks
    ],
)
def test_one_doubtful_window_does_not_begin_the_count_again(
    scores: list[float], *, then: bool
) -> None:
    assert begins(scores) is then


def test_speech_begins_after_five_windows() -> None:
    assert round(START_S / WINDOW_S) == FIVE
