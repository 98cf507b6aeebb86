"""Places in a recording."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]

RATE_HZ: Final = 8000  # of a telephone, and of everything that the drill compares


@dataclass(frozen=True, slots=True)
class Match:
    """A sound's place in a recording, in samples, and its likeness (0 to 1)."""

    start: int
    end: int
    alike: float
