"""When to speak to the caller of a stage in which nobody is left to ask."""

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

OWED: Final = 8  # failures of a stage that are yet to be spoken of; the oldest is forgotten
BEHIND_S: Final = 0.1  # for what comes behind the news: a voice's last words, a caller's first


@dataclass(frozen=True, slots=True)
class _Exhausted:
    stage: str
    at: float


class StageNews:
    """Keeps the news until it may be spoken of: never over the caller.

    A recogniser's failure is spoken of once the caller has finished, not in a mere pause; a
    voice's a moment later, since its last words may still be on their way; and nothing while what
    the caller just said may be one of the menu's words.

    Attributes:
        caller_speaks: Whether the caller speaks now.
        deaf: A recogniser failed while the caller spoke: the end of it may not be noticed.
    """

    def __init__(self, *, pause_s: float) -> None:
        """Count a silence of up to `pause_s` seconds as a pause of the caller's."""
        self.caller_speaks = False
        self.deaf = False
        self._pause_s = pause_s
        self._exhausted: deque[_Exhausted] = deque(maxlen=OWED)
        self._stopped_at = -inf
        self._owed_until = 0.0

    @property
    def wake_at(self) -> float | None:
        """When to speak of the first of them, or None."""
        if not self._exhausted or self.caller_speaks:
            return None
        first = self._exhausted[0]
        if first.stage == "stt":
            at = max(first.at + BEHIND_S, self._stopped_at + self._pause_s)
        else:
            at = first.at + (BEHIND_S if first.stage == "tts" else 0.0)
        return max(at, self._owed_until)

    def exhausted(self, stage: str, now: float) -> None:
        """Note that nobody is left in this stage."""
        self._exhausted.append(_Exhausted(stage, now))
        self.deaf = self.deaf or stage == "stt"

    def caller_began(self) -> None:
        """Drop the news of the turn that is void now; a recogniser's stays."""
        kept = [each for each in self._exhausted if each.stage == "stt"]
        self._exhausted = deque(kept, maxlen=OWED)
        self.caller_speaks, self.deaf = True, bool(kept)

    def caller_fell_silent(self, stopped_at: float) -> None:
        """Note the caller's last voiced sample."""
        self.caller_speaks, self._stopped_at = False, stopped_at

    def wait_for_word(self, until: float) -> None:
        """Say nothing before this moment: the caller may have said one of the menu's words."""
        self._owed_until = until

    def drop(self, stage: str) -> None:
        """Drop the news of a stage that somebody else stands in for, or that is back."""
        kept = (each for each in self._exhausted if each.stage != stage)
        self._exhausted = deque(kept, maxlen=OWED)

    def due(self, now: float) -> str | None:
        """Return the stage to speak of now, once, or None."""
        if self.wake_at is None or now < self.wake_at:
            return None
        return self._exhausted.popleft().stage
