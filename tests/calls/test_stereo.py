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


def test_the_caller_is_left_and_the_agent_right() -> None:
    assert channels(interleaved(tone(3, 2), tone(-5, 2))) == ([3, 3], [-5, -5])


def test_a_side_that_is_silent_is_silence() -> None:
    stereo = Stereo(RATE_HZ)
    stereo.hear_agent(tone(7), 100.0)
    stereo.hear_caller(tone(3), 101.02)  # the piece began at 101.0

    left, right = channels(stereo.take_all())

    assert (len(left), len(right)) == (1020, 1020)
    assert right[:PIECE] == [7] * PIECE
    assert set(right[PIECE:]) == {0}
    assert (set(left[:1000]), left[1000:]) == ({0}, [3] * PIECE)


def test_jittering_pieces_are_one_sound() -> None:
    stereo = Stereo(RATE_HZ)
    for number in range(50):
        late_s = JITTER_S * 0.9 * (number % 3) / 2
        stereo.hear_agent(tone(7), 100.0 + number * 0.02 + late_s)

    _, right = channels(stereo.take_all())

    assert right == [7] * 50 * PIECE


def test_settled_sound_is_taken_once_and_completely() -> None:
    whole, pieces = Stereo(RATE_HZ), Stereo(RATE_HZ)
    taken = b""
    for number in range(300):
        now = 100.0 + number * 0.02
        for item in (whole, pieces):
            item.hear_agent(tone(number), now)
            if number % 7:
                item.hear_caller(tone(-number), now + 0.02)
        if number % 50 == 49:
            taken += pieces.take(now)

    assert taken + pieces.take_all() == whole.take_all()


def test_only_unsettled_sound_is_held() -> None:
    stereo = Stereo(RATE_HZ)
    for number in range(500):
        now = 100.0 + number * 0.02
        stereo.hear_caller(tone(1), now)
        stereo.take(now)

    assert stereo.waiting_bytes <= 2 * 2 * RATE_HZ * (SETTLED_S + 0.1)


def test_a_piece_cut_within_a_sample_is_whole_samples() -> None:
    stereo = Stereo(RATE_HZ)
    stereo.hear_agent(tone(7) + b"\1", 100.0)

    assert channels(stereo.take_all()) == ([0] * PIECE, [7] * PIECE)


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_nothing_is_settled_at_the_beginning(seconds: float) -> None:
    stereo = Stereo(RATE_HZ)
    stereo.hear_agent(tone(7), 100.0)

    assert stereo.take(100.0 + seconds) == b""


def speak(stereo: Stereo, values: range, *, now: float) -> None:
    """Deliver these pieces of the caller at once."""
    for value in values:
        stereo.hear_caller(tone(value), now)


@pytest.mark.parametrize("written", [True, False], ids=["written meanwhile", "kept"])
@pytest.mark.parametrize("stalled_s", [0.2, 1.0, 3.4, 5.0])
def test_delayed_sound_is_placed_where_it_was_spoken(stalled_s: float, *, written: bool) -> None:
    stereo, taken, held = Stereo(RATE_HZ), b"", round(stalled_s / 0.02)
    stereo.hear_agent(tone(7), 100.0)
    for number in range(1, 51):
        stereo.hear_caller(tone(number), 100.0 + number * 0.02)
    for second in range(int(stalled_s)):  # the agent speaks, and the disk is written to
        stereo.hear_agent(tone(7), 101.5 + second)
        taken += stereo.take(101.5 + second) if written else b""
    speak(stereo, range(51, 51 + held), now=101.0 + stalled_s)
    for number in range(51 + held, 101 + held):
        stereo.hear_caller(tone(number), 100.0 + number * 0.02)

    left, right = channels(taken + stereo.take_all())
    assert left == [number for number in range(1, 101 + held) for _ in range(PIECE)]
    assert right[:PIECE] == [7] * PIECE
    if stalled_s >= 1.0:
        assert right[1500 : 1500 + PIECE] == [7] * PIECE


def test_sound_lost_in_transit_leaves_silence_and_moves_nothing() -> None:
    stereo = Stereo(RATE_HZ)
    for number in [*range(1, 51), *range(101, 151)]:  # a second of it never comes
        stereo.hear_caller(tone(number), 100.0 + number * 0.02)

    left, _ = channels(stereo.take_all())
    assert left[1000:2000] == [0] * 1000
    assert left[2000:] == [number for number in range(101, 151) for _ in range(PIECE)]


def test_half_lost_sound_regains_its_own_length() -> None:
    stereo = Stereo(RATE_HZ)
    speak(stereo, range(1, 2), now=100.02)
    speak(stereo, range(51, 101), now=102.02)  # one second of two

    left, _ = channels(stereo.take_all())
    assert left[PIECE : PIECE + 1000] == [0] * 1000
    assert left[PIECE + 1000 :] == [number for number in range(51, 101) for _ in range(PIECE)]


def test_written_sound_is_not_moved() -> None:
    stereo = Stereo(RATE_HZ)
    speak(stereo, range(1, 2), now=100.02)
    on_disk = stereo.take(100.0 + SETTLED_S + 5.0)
    speak(stereo, range(2, 602), now=112.02)

    left, _ = channels(on_disk + stereo.take_all())
    assert left[PIECE:5000] == [0] * (5000 - PIECE)
    assert left[5000:] == [number for number in range(2, 602) for _ in range(PIECE)]
