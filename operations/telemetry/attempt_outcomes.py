"""What came of each attempt of a call, for counting.

An attempt wins with the first useful thing that it gives, and may fail all the same: a voice dies
in the middle of a sentence. It is counted as won and, of those, as broken off. What is asked
outside of a call, or of no ladder, tells no success, and is left out.
"""

from collections import deque
from typing import Final, Literal, TypeAlias

from fallbacks.facts import AttemptDropped, AttemptFailed, AttemptWon

Outcome: TypeAlias = Literal["won", "failed", "dropped", "broke_off"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("won", "failed", "dropped", "broke_off")
"""The first three are all attempts that have ended or won; the last one is some that won."""

KEPT: Final = 64  # attempts of a call that won lately (chosen: a few are under way at once)


class AttemptOutcomes:
    """Says of each attempt once what came of it."""

    def __init__(self) -> None:
        self._won: dict[str, deque[tuple[str, int]]] = {}  # by call: stage and number

    def outcome(
        self, call_id: str, told: AttemptWon | AttemptFailed | AttemptDropped
    ) -> Outcome | None:
        """Return what came of an attempt; None: it is counted already, or is none of a call's."""
        if not call_id or not told.attempt:
            return None
        won = (told.stage, told.attempt) in self._won.get(call_id, ())
        match told:
            case AttemptWon():
                kept = self._won.setdefault(call_id, deque(maxlen=KEPT))
                kept.append((told.stage, told.attempt))
                return "won"
            case AttemptFailed():
                return "broke_off" if won else "failed"
            case AttemptDropped():
                return None if won else "dropped"

    def forget(self, call_id: str) -> None:
        """Keep nothing of a call that has ended."""
        self._won.pop(call_id, None)
