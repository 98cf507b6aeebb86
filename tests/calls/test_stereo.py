"""Both sides of a call in one sound, aligned in time."""

import array

import pytest

from calls.stereo import JITTER_S, SETTLED_S, Stereo, interleaved

RATE_HZ = 1000
PIECE = 20  # samples: 20 ms


def tone(value: int, samples: int = PIECE) -> bytes:
    return array.array("h", [value] * samples).tobytes()


def channels(sound: bytes) -> tuple[list[int], list[int]]:
    samples = array.array("h", sound)
    return list(samples[0::2]), list(samples[1::2])


def test_left_is_the_caller_and_right_the_agent() -> None:
    assert channels(interleaved(tone(3, 2), tone(-5, 2))) == ([3, 3], [-5, -5])


def test_a_side_that_is_silent_is_silence() -> None:
    stereo = Stereo(RATE_HZ)
    stereo.hear_agent(tone(7), 100.0)
    stereo.hear_caller(tone(3), 101.02)  # it began at 101.0

    left, right = channels(stereo.take_all())

    assert (len(left), len(right)) == (1020, 1020)
    assert right[:PIECE] == [7] * PIECE
    assert set(right[PIECE:]) == {0}
    assert (set(left[:1000]), left[1000:]) == ({0}, [3] * PIECE)


def test_pieces_that_jitter_are_one_sound() -> None:
    stereo = Stereo(RATE_HZ)
    for number in range(50):
        late_s = JITTER_S * 0.9 * (number % 3) / 2
        stereo.hear_agent(tone(7), 100.0 + number * 0.02 + late_s)

    _, right = channels(stereo.take_all())

    assert right == [7] * 50 * PIECE


def test_what_is_settled_is_taken_once_and_nothing_is_missing() -> None:
    whole, pieces = Stereo(RATE_HZ), Stereo(RATE_HZ)
    taken = b""
    for number in range(300):
        now = 100.0 + number * 0.02
        for each in (whole, pieces):
            each.hear_agent(tone(number), now)
            if number % 7:
                each.hear_caller(tone(-number), now + 0.02)
        if number % 50 == 49:
            taken += pieces.take(now)

    assert taken + pieces.take_all() == whole.take_all()


def test_it_holds_no_more_than_what_is_not_settled() -> None:
    stereo = Stereo(RATE_HZ)
    for number in range(500):
        now = 100.0 + number * 0.02
        stereo.hear_caller(tone(1), now)
        stereo.take(now)

    assert stereo.waiting_bytes <= 2 * 2 * RATE_HZ * (SETTLED_S + 0.1)


def test_a_piece_that_is_cut_in_the_middle_of_a_sample_is_whole_samples() -> None:
    stereo = Stereo(RATE_HZ)
    stereo.hear_agent(tone(7) + b"\1", 100.0)

    assert channels(stereo.take_all()) == ([0] * PIECE, [7] * PIECE)


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_nothing_is_settled_at_the_beginning(seconds: float) -> None:
    stereo = Stereo(RATE_HZ)
    stereo.hear_agent(tone(7), 100.0)

    assert stereo.take(100.0 + seconds) == b""
