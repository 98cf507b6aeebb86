"""For how long a caller's sound has been faint beside what they said just before."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Chosen: 30 dB below the loudest of the last second or so. A final s keeps above it on a telephone;
# where the line's own noise does, too, nothing is ever faint, and the VAD's word is waited for.
FAINT: Final = 0.03
FADES: Final = 0.4  # of the loudest, that is left of it after a second
# Measured, in calls of a carrier and of a browser: the VAD's silence begins up to 0.08 s late.
VAD_LATE_S: Final = 0.1


class Faintness:
    """Follows one caller's sound, in pieces of a few hundredths of a second.

    A detector of speech with a model is surer, and comes up to 0.1 s later: what it hears of a word
    fades slowly. This one may be wrong, so no more than a tenth of a second may hang on it.

    Attributes:
        lasts_s: So long it has been faint; 0: it is not.
    """

    def __init__(self) -> None:
        self.lasts_s = 0.0
        self._loudest = 0.0

    def hear(self, samples: NDArray[np.int16], rate_hz: int) -> None:
        """Follow a piece."""
        if not samples.size:
            return
        length_s = samples.size / rate_hz
        loudness = np.abs(samples.astype(np.int32))
        self._loudest = max(float(loudness.max()), self._loudest * FADES**length_s)
        loud = np.flatnonzero(loudness >= FAINT * self._loudest)
        if loud.size:
            self.lasts_s = (samples.size - 1 - int(loud[-1])) / rate_hz
        else:
            self.lasts_s += length_s

    def stopped_at(self, noticed_at: float, *, stop_s: float, now: float) -> float:
        """Return when a caller stopped of whom a VAD says so, monotonic in seconds.

        What it hears of a word fades slowly, so its silence begins late. Of what was faint before
        that, no more than `VAD_LATE_S` is believed.

        Args:
            noticed_at: When the VAD was sure.
            stop_s: After how long a silence it is.
            now: At or after that; who asks later is told the same, as long as nobody speaks on.
        """
        sure_at = noticed_at - stop_s
        return min(sure_at, max(sure_at - VAD_LATE_S, now - self.lasts_s))
