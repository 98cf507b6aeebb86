"""How much a far end may send."""

from collections.abc import Callable
from typing import Final

from aiolimiter import AsyncLimiter

from calls.keyed_entry import MOST_KEYS
from transports.leg import Clock


class Quiet:
    """Measures each pause to its end: polling would miss a short one.

    Attributes:
        on_back: Gets the length of each pause when something comes again.
    """

    def __init__(self, clock: Clock) -> None:
        """Wait for the first thing to come, on a clock of monotonic seconds."""
        self._clock = clock
        self.on_back: Callable[[float], None] = lambda _: None
        self._heard_at: float | None = None
        self._expected_at: float | None = None
        self._longest_s = 0.0

    @property
    def now_s(self) -> float:
        """For how long nothing has come; 0 before it is expected, or the first thing has come."""
        since = self._expected_at if self._heard_at is None else self._heard_at
        return 0.0 if since is None else self._clock() - since

    def expect(self) -> None:
        """Expect the first thing from now on; until it has come is no pause that ends."""
        self._expected_at = self._clock()

    def note(self) -> None:
        """Note that something came."""
        if self._heard_at is not None:
            pause_s = self.now_s
            self._longest_s = max(self._longest_s, pause_s)
            self.on_back(pause_s)
        self._heard_at = self._clock()

    def take_longest_s(self) -> float:
        """Return the longest pause that has ended since this was last asked."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s


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
