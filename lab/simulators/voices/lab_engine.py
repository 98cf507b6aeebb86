"""The lab's own copy of espeak-ng: the program under test may use another in this process."""

import functools
from typing import Final

from engines.espeak import Espeak

SEED: Final = 1300  # chosen: any constant, so that the same text sounds alike in every run


def new_engine() -> Espeak:
    """Return an espeak-ng without earlier speech."""
    return Espeak(private=True, seed=SEED)


@functools.cache
def lab_engine() -> Espeak:
    """Return the lab's espeak-ng, loaded at the first call."""
    return new_engine()
