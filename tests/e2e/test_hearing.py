"""The ear in the browser: a recording of Chromium in which one thing is wrong must never pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab.drill.hearing import RecordedWord, bare_words
from lab.drill.places import RATE_HZ
from tests.e2e.hearing import Heard

KEPT = Heard.kept(Path(__file__).parents[1] / "fixtures" / "browser")
WORDS = len(KEPT.text.split())
SOME = range(0, WORDS - 1, 4)  # each takes half a second


@pytest.fixture(scope="module")
def words() -> tuple[RecordedWord, ...]:
    return KEPT.judged().words


def spliced(*parts: tuple[float, float]) -> Heard:
    """Return the recording made of these stretches of it, in seconds."""
    pieces = [KEPT.recording[round(a * RATE_HZ) : round(b * RATE_HZ)] for a, b in parts]
    return replace(KEPT, recording=np.concatenate(pieces))


def end_s() -> float:
    return KEPT.recording.size / RATE_HZ


def test_a_reply_that_two_voices_shared_is_whole_in_what_chromium_received() -> None:
    verdict = KEPT.judged()

    assert verdict.whole, verdict
    assert verdict.voices == ("cartesia", "elevenlabs")
    assert [word.text for word in verdict.words] == KEPT.text.split()


@pytest.mark.parametrize("index", range(WORDS))
def test_a_word_that_chromium_did_not_receive_is_missed(
    words: tuple[RecordedWord, ...], index: int
) -> None:
    word = words[index]

    verdict = spliced((0.0, word.at_s), (word.end_s, end_s())).judged()

    assert not verdict.whole
    assert bare_words(KEPT.text)[index] in verdict.missing


@pytest.mark.parametrize("index", SOME)
def test_a_word_that_chromium_received_twice_is_one_too_many(
    words: tuple[RecordedWord, ...], index: int
) -> None:
    word = words[index]

    verdict = spliced((0.0, word.end_s), (word.at_s, end_s())).judged()

    assert not verdict.whole
    assert verdict.extra


@pytest.mark.parametrize("index", SOME)
def test_two_words_that_chromium_received_in_the_wrong_order_are_found(
    words: tuple[RecordedWord, ...], index: int
) -> None:
    one, two = words[index], words[index + 1]

    verdict = spliced(
        (0.0, one.at_s),
        (two.at_s, two.end_s),
        (one.end_s, two.at_s),
        (one.at_s, one.end_s),
        (two.end_s, end_s()),
    ).judged()

    assert not verdict.whole
