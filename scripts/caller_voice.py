"""The synthetic voices of the recorded callers: espeak-ng, rendered into memory."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.espeak import Espeak

Samples: TypeAlias = NDArray[np.float64]
"""Mono audio, full scale at -1 and 1."""

SEED: Final = 1300  # chosen: any fixed seed, so that the recordings are reproducible
AUDIBLE: Final = 0.005  # of full scale (-46 dB): quieter edges count as silence


class Voices:
    """The loaded engine.

    Raises:
        RuntimeError: The engine or its data could not be loaded.
    """

    def __init__(self) -> None:
        self._engine = Espeak(seed=SEED)
        self.rate_hz = self._engine.rate_hz

    def say(self, text: str, *, voice: str, words_a_minute: int, pitch: int = 50) -> Samples:
        """Return `text` as speech at `rate_hz`, without the silence at its edges.

        Args:
            text: The text to say, in English spelling.
            voice: espeak-ng's name of a voice, with an optional variant: `en-us+f3`.
            words_a_minute: The speed; espeak-ng accepts 80 to 450.
            pitch: 0 to 100; espeak-ng's default is 50.

        Raises:
            ValueError: There is no such voice.
        """
        spoken, _ = self._engine.speak(text, [voice], words_per_minute=words_a_minute, pitch=pitch)
        return trimmed(spoken.astype(np.float64) / 32768)


def trimmed(sound: Samples) -> Samples:
    """Return `sound` from its first audible sample to its last."""
    audible = np.flatnonzero(np.abs(sound) > AUDIBLE)
    return sound[audible[0] : audible[-1] + 1] if audible.size else sound[:0]
