"""Measures the pauses in a far end's messages, and limits their rate."""

from collections.abc import Callable
from typing import Final

from aiolimiter import AsyncLimiter

from calls.keyed_entry import MAX_KEYS
from transports.leg import Clock


class Quiet:
    """Measures the pauses between messages, even short ones that polling would miss.

    Attributes:
        on_back: Called with the length of each pause when the next message arrives.
    """

    def __init__(self, clock: Clock) -> None:
        """Start without messages; the clock is monotonic, in seconds."""
        self._clock = clock
        self.on_back: Callable[[float], None] = lambda _: None
        self._heard_at: float | None = None
        self._expected_at: float | None = None
        self._longest_s = 0.0

    @property
    def now_s(self) -> float:
        """The seconds since the last message, or since the first one was expected; else 0."""
        since = self._expected_at if self._heard_at is None else self._heard_at
        return 0.0 if since is None else self._clock() - since

    def expect(self) -> None:
        """Expect the first message from now on; the wait for it does not count as a pause."""
        self._expected_at = self._clock()

    def note(self) -> None:
        """Record that a message arrived, and call `on_back` with the pause before it.

        The first message has no pause before it.
        """
        if self._heard_at is not None:
            pause_s = self.now_s
            self._longest_s = max(self._longest_s, pause_s)
            self.on_back(pause_s)
        self._heard_at = self._clock()

    def take_longest_s(self) -> float:
        """Return the longest pause that has ended since the last call, in seconds."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s


AUDIO_PER_S: Final = 1.02  # seconds of audio: a far end's clock may be a little faster than ours
KEYS_PER_S: Final = 10.0  # a digit takes at least 65 ms (ITU-T Q.24)
KEYS_CAP: Final = MAX_KEYS  # a delayed line delivers a whole entry at once


class FloodLimit:
    """Admits messages at their natural rate, and refuses a flood.

    A line that was delayed delivers its backlog at once; `cap` is the largest backlog that we
    accept. The caller of `take` must drop messages that are refused, because Pipecat's queues are
    not bounded.
    """

    def __init__(self, *, per_s: float, cap: float) -> None:
        """Start with nothing used.

        Args:
            per_s: The allowance per second, in the unit of `take`.
            cap: The largest allowance that can accumulate.
        """
        self._limiter = AsyncLimiter(cap, cap / per_s)

    async def take(self, amount: float) -> bool:
        """Return whether `amount` may pass, and count it if so; never waits."""
        if not self._limiter.has_capacity(amount):
            return False
        await self._limiter.acquire(amount)  # returns at once: there is room
        return True
