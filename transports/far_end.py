"""Limits and measures what a far end sends."""

from collections.abc import Callable
from typing import Final

from aiolimiter import AsyncLimiter

from calls.keyed_entry import MAX_KEYS
from transports.leg import Clock


class Quiet:
    """Measures each pause to its end: polling would miss a short one.

    Attributes:
        on_back: Gets the length of each pause when a message arrives again.
    """

    def __init__(self, clock: Clock) -> None:
        """Wait for the first message, on a clock of monotonic seconds."""
        self._clock = clock
        self.on_back: Callable[[float], None] = lambda _: None
        self._heard_at: float | None = None
        self._expected_at: float | None = None
        self._longest_s = 0.0

    @property
    def now_s(self) -> float:
        """Seconds since the last message; 0 before the first is expected or has arrived."""
        since = self._expected_at if self._heard_at is None else self._heard_at
        return 0.0 if since is None else self._clock() - since

    def expect(self) -> None:
        """Expect the first message from now on; the wait for it does not count as a pause."""
        self._expected_at = self._clock()

    def note(self) -> None:
        """Record that a message arrived."""
        if self._heard_at is not None:
            pause_s = self.now_s
            self._longest_s = max(self._longest_s, pause_s)
            self.on_back(pause_s)
        self._heard_at = self._clock()

    def take_longest_s(self) -> float:
        """Return the longest pause that ended since the last call."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s


AUDIO_PER_S: Final = 1.02  # seconds of sound: a far end's clock may run a little faster than ours
KEYS_PER_S: Final = 10.0  # ITU-T Q.24: a key takes at least 65 ms
KEYS_CAP: Final = MAX_KEYS  # a delayed line delivers a whole entry at once


class FloodLimit:
    """Admits messages at their natural rate, and refuses a flood.

    A genuine far end that was delayed delivers its backlog at once; `cap` is the most of it that we
    accept. The caller of `take` must drop what is refused: Pipecat's own queues have no bound.
    """

    def __init__(self, *, per_s: float, cap: float) -> None:
        """Start with nothing used.

        Args:
            per_s: The allowance for each second, in the unit of `take`.
            cap: The most allowance that can accumulate.
        """
        self._limiter = AsyncLimiter(cap, cap / per_s)

    async def take(self, amount: float) -> bool:
        """Return whether `amount` may pass, and count it if so; never waits."""
        if not self._limiter.has_capacity(amount):
            return False
        await self._limiter.acquire(amount)  # returns at once: there is room
        return True
