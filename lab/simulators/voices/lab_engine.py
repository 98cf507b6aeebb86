"""The lab's own espeak-ng, a copy: the program under test may have the other one in its process."""

import functools
from typing import Final

from engines.espeak import Espeak

SEED: Final = 1300  # chosen: any one, so that the same text is spoken alike in every run


def new_engine() -> Espeak:
    """Return an espeak-ng that has said nothing yet."""
    return Espeak(private=True, seed=SEED)


@functools.cache
def lab_engine() -> Espeak:
    """Return the lab's, loading it at the first call."""
    return new_engine()
