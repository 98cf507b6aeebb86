"""The browser's recording is judged strictly: one with a single error must never pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab.drill.hearing import RecordedWord, bare_words
from lab.drill.sound import RATE_HZ
from tests.e2e.hearing import Heard

KEPT = Heard.kept(Path(__file__).parents[1] / "fixtures" / "browser")
WORDS = len(KEPT.text.split())
SOME = (0, WORDS // 2, WORDS - 2)  # each takes half a second


@pytest.fixture(scope="module")
def words() -> tuple[RecordedWord, ...]:
    return KEPT.judged().words


def spliced(*parts: tuple[float, float]) -> Heard:
    """Return a recording made of these stretches, in seconds."""
    pieces = [KEPT.recording[round(a * RATE_HZ) : round(b * RATE_HZ)] for a, b in parts]
    return replace(KEPT, recording=np.concatenate(pieces))


def end_s() -> float:
    return KEPT.recording.size / RATE_HZ


def test_a_reply_shared_by_two_voices_is_whole_in_chromiums_recording() -> None:
    verdict = KEPT.judged()

    assert verdict.whole, verdict
    assert verdict.voices == ("cartesia", "elevenlabs")
    assert [word.text for word in verdict.words] == KEPT.text.split()


@pytest.mark.parametrize("index", [SOME[1], WORDS - 1])
def test_a_word_missing_in_chromiums_recording_is_noticed(
    words: tuple[RecordedWord, ...], index: int
) -> None:
    word = words[index]

    verdict = spliced((0.0, word.at_s), (word.end_s, end_s())).judged()

    assert not verdict.whole
    assert bare_words(KEPT.text)[index] in verdict.missing


@pytest.mark.parametrize("index", SOME[:1])
def test_a_word_twice_in_chromiums_recording_is_noticed(
    words: tuple[RecordedWord, ...], index: int
) -> None:
    word = words[index]

    verdict = spliced((0.0, word.end_s), (word.at_s, end_s())).judged()

    assert not verdict.whole
    assert verdict.extra


@pytest.mark.parametrize("index", SOME[1:2])
def test_two_swapped_words_in_chromiums_recording_are_noticed(
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
