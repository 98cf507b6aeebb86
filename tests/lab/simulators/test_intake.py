"""The lab's recogniser gets the same samples for the same audio in any stream."""

import numpy as np
import pytest

from lab.simulators.ears.heard import MODEL_HZ, Intake

STREAMS = 16  # each at its own address, which soxr would use as its seed
PIECE = 160


def heard(intake: Intake, sound: np.ndarray) -> bytes:
    pieces = [intake.take(sound[at : at + PIECE].tobytes()) for at in range(0, len(sound), PIECE)]
    return np.concatenate([*pieces, intake.drain()]).tobytes()


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 44_100, 48_000])
def test_the_same_audio_is_the_same_samples_in_every_stream(rate_hz: int) -> None:
    sound = np.random.default_rng(1).normal(0, 900, rate_hz).astype("<i2")
    intakes = [Intake(encoding="linear16", rate_hz=rate_hz) for _ in range(STREAMS)]

    assert len({heard(intake, sound) for intake in intakes}) == 1


def test_too_loud_sound_is_clipped_and_not_wrapped() -> None:
    square = np.repeat(np.tile(np.array([32767, -32768], "<i2"), 100), 40)
    samples = np.frombuffer(heard(Intake(encoding="linear16", rate_hz=8000), square), np.int16)

    assert MODEL_HZ / 8000 * len(square) == pytest.approx(len(samples), abs=8)
    assert {int(item) for item in np.sign(samples[20:60])} == {1}
