"""Features for the turn detector's model: equal to Pipecat's, with less memory."""

import tracemalloc
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from pipecat.audio.turn.smart_turn._whisper_features import compute_whisper_log_mel_features

from processors.turn.detector import SAMPLES, log_mel

MB: Final = 1e6
NOISE: Final = (np.random.default_rng(7).normal(size=10 * 16_000) * 0.1).astype(np.float32)


def pipecats(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what Pipecat's detector gives the model for the same sound."""
    kept = sound[-SAMPLES:]
    return compute_whisper_log_mel_features(np.pad(kept, (SAMPLES - len(kept), 0)))


def peak_mb(work: Callable[[], object]) -> float:
    """Return how much it allocates at once."""
    work()  # one-time allocations happen now
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length_s", [0.0, 0.1, 0.5, 3.0, 7.98, 7.985, 7.9999, 8.0, 10.0])
def test_the_features_are_pipecats(length_s: float) -> None:
    sound = NOISE[-round(length_s * 16_000) :]

    assert_allclose(log_mel(sound), pipecats(sound), rtol=0.0, atol=1e-6)


def test_silence_has_features_too() -> None:
    silence = np.zeros(16_000, np.float32)

    assert_allclose(log_mel(silence), pipecats(silence), rtol=0.0, atol=1e-6)


def test_an_analysis_takes_less_than_half_of_pipecats_memory() -> None:
    assert peak_mb(lambda: log_mel(NOISE)) < 0.5 * peak_mb(lambda: pipecats(NOISE))
