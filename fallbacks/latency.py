"""The recent times to a rung's first useful output."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

WINDOW: Final = 50  # attempts; at a few turns a minute that is some ten minutes
DOUBT: Final = 5  # with fewer attempts than this, assumed ones at `PRIOR_S` fill up the number
PRIOR_S: Final = 0.6  # slower than a healthy rung: an unmeasured rung promises nothing


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


class RungLatency:
    """The recent times to first useful output of one rung, in seconds."""

    def __init__(self, *, prior_s: float = PRIOR_S, window: int = WINDOW) -> None:
        self._prior_s = prior_s
        self._measured: deque[float] = deque(maxlen=window)

    def took(self, ttfb_s: float) -> None:
        """Add one more attempt that gave output."""
        self._measured.append(max(0.0, ttfb_s))

    @property
    def p50_s(self) -> float:
        """The time that half of the attempts did not exceed."""
        return quantile(self._values(), 0.5)

    @property
    def p95_s(self) -> float:
        """The time that 95 % of the attempts did not exceed."""
        return quantile(self._values(), 0.95)

    def _values(self) -> list[float]:
        doubts = max(0, DOUBT - len(self._measured))
        return [*self._measured, *[self._prior_s] * doubts]
