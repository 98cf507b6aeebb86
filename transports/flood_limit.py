"""How much a far end may send."""

from typing import Final

from aiolimiter import AsyncLimiter

from calls.keyed_entry import MOST_KEYS

KEYS_PER_S: Final = 10.0  # ITU-T Q.24: a key takes at least 65 ms
KEYS_CAP: Final = MOST_KEYS  # a line that was held up delivers a whole entry at once


class FloodLimit:
    """Grants what arrives at its natural rate, and refuses a flood.

    A genuine far end that was held up delivers what it owes in one piece; `cap` is as much of that
    as we take. What is refused must be dropped by the one who asked: Pipecat's own queues have no
    bound.
    """

    def __init__(self, *, per_s: float, cap: float) -> None:
        """Start with nothing used.

        Args:
            per_s: What one second of time grants, in the unit of `take`.
            cap: The most that can be saved up.
        """
        self._limiter = AsyncLimiter(cap, cap / per_s)

    async def take(self, amount: float) -> bool:
        """Return whether `amount` may pass, and count it if so; never waits."""
        if not self._limiter.has_capacity(amount):
            return False
        await self._limiter.acquire(amount)  # at once: there is room
        return True
