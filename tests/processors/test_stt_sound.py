"""Where a replay of the caller's sound begins."""

import pytest
from pipecat.frames.frames import InputAudioRawFrame

from processors.stt_sound import SOFT_S, CallerSound
from tests.faultlab import synthetic_caller as caller

RATE_HZ = 16_000


def heard(*pieces: bytes) -> CallerSound:
    sound = CallerSound(RATE_HZ)
    pcm = b"".join(pieces)
    for at in range(0, len(pcm), 640):
        sound.push(InputAudioRawFrame(pcm[at : at + 640], RATE_HZ, 1))
    return sound


def test_the_silence_before_the_first_word_is_left_out() -> None:
    sound = heard(caller.noise(1.0, rms=20), caller.noise(0.6, rms=3000))

    assert sound.onset_s(0.5, 1.2) == pytest.approx(1.0 - SOFT_S, abs=0.03)


def test_a_word_that_began_before_it_was_noticed_is_replayed_whole() -> None:
    sound = heard(caller.noise(1.0, rms=3000))

    assert sound.onset_s(0.3, 0.8) == pytest.approx(0.3)


def test_nothing_is_left_out_after_speech_was_noticed() -> None:
    sound = heard(caller.silence(1.0))

    assert sound.onset_s(0.2, 0.7) == pytest.approx(0.7 - SOFT_S, abs=0.03)


def test_what_is_forgotten_cannot_be_replayed() -> None:
    sound = heard(caller.noise(3.0, rms=3000))
    sound.keep(1.0)

    assert sound.start_s == pytest.approx(2.0, abs=0.03)
    assert sum(len(each.audio) for each in sound.since(0.0)) == pytest.approx(32_000, abs=1000)
