"""The search for an utterance in the sound of a real line."""

import numpy as np
from numpy.typing import NDArray

from tests.peers.hearsay import RATE_HZ, times_heard


def noise(seed: int, length_s: float = 2.0) -> NDArray[np.int16]:
    """Return a sound unlike any other."""
    made = np.random.default_rng(seed).normal(0.0, 3000.0, round(length_s * RATE_HZ))
    return made.astype(np.int16)


SAID = noise(1)
REST = np.zeros(RATE_HZ, np.int16)


def test_a_sound_played_twice_is_found_twice() -> None:
    assert times_heard(np.concatenate([REST, SAID, REST, SAID, REST]), SAID) == 2


def test_a_pause_added_by_a_jitter_buffer_hides_no_word() -> None:
    pause = np.zeros(RATE_HZ // 20, np.int16)
    heard = np.concatenate([REST, SAID[:6000], pause, SAID[6000:], REST])

    assert times_heard(heard, SAID) == 1


def test_half_of_a_sound_followed_by_another_is_not_found() -> None:
    assert times_heard(np.concatenate([REST, SAID[:8000], REST, REST]), SAID) == 0
    assert times_heard(np.concatenate([REST, noise(2), REST]), SAID) == 0
