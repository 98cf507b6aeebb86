"""How much may come in, when what is too much can wait."""

from typing import Final

HAIR: Final = 1e-6  # of what is counted: rounding must not make a wait of no time, again and again


class IntakeAllowance:
    """Fills as time passes, up to a cap, and says how long to wait when it is overspent.

    Unlike `transports/flood_limit.py` it drops nothing: who asked reads on later.
    """

    def __init__(self, *, per_s: float, cap: float, now: float) -> None:
        """Start full.

        Args:
            per_s: What one second grants; 0: nothing comes back.
            cap: The most that can be saved up.
            now: Monotonic seconds.
        """
        self._per_s = per_s
        self._cap = cap
        self._left = cap
        self._at = now

    def spend(self, amount: float, now: float) -> None:
        """Count what has come in, even if it was more than there is."""
        self._left = self._left_at(now) - amount
        self._at = now

    def wait_s(self, now: float) -> float:
        """Return how long nothing more may come in; infinite if nothing ever may."""
        missing = -self._left_at(now)
        if missing < HAIR:
            return 0.0
        return missing / self._per_s if self._per_s > 0 else float("inf")

    def _left_at(self, now: float) -> float:
        return min(self._cap, self._left + (now - self._at) * self._per_s)
