"""Sound as a voice sends it."""

import numpy as np
import pytest

from processors.speaking.pcm import Pieces, audible

LOUD = (1000 * np.sin(np.arange(80))).astype("<i2").tobytes()
QUIET = bytes(160)


def test_a_sample_split_between_two_pieces_is_joined() -> None:
    pieces = Pieces(8000)

    assert pieces.take(LOUD[:33]) + pieces.take(LOUD[33:]) == LOUD


def test_a_repeated_piece_is_heard_once_but_silence_may_repeat() -> None:
    pieces = Pieces(8000)

    assert [len(pieces.take(item)) for item in (LOUD, LOUD, QUIET, QUIET)] == [160, 0, 160, 160]


@pytest.mark.parametrize("pcm", [QUIET, b""], ids=["zeros", "nothing"])
def test_only_perceptible_sound_is_audible(pcm: bytes) -> None:
    assert audible(LOUD)
    assert not audible(pcm)


def test_silence_is_no_speech_before_the_first_word_and_after_a_long_pause() -> None:
    pieces = Pieces(8000)

    before = pieces.speaking(QUIET)
    speech = pieces.speaking(LOUD)
    pause = [pieces.speaking(QUIET) for _ in range(100)]  # a second

    assert (before, speech, pause[0], pause[60], pause[-1]) == (False, True, True, True, False)
