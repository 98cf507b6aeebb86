"""The gate of a rung: lets its work through as the turnstile decides, and at the pace allowed."""

import asyncio
from collections.abc import Callable, Hashable, Mapping

from aiolimiter import AsyncLimiter

from fallbacks.deadline import Deadline
from fallbacks.limits import MINUTE_S, Limits, Turnstile, requests_left


class RungGate:
    """One for each rung, for all calls of the process.

    The pace is a leaky bucket: after a rest so many may pass at once, and then one by one. OpenAI
    counts its requests in the same way; see `fallbacks.limits.requests_left`.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            limits: As configured.
            clock: Monotonic, in seconds.
        """
        self._turnstile = Turnstile(limits)
        self._clock = clock
        self._pace = AsyncLimiter(limits.per_minute, MINUTE_S) if limits.per_minute else None
        self._called: dict[int, asyncio.Event] = {}

    @property
    def inside(self) -> int:
        """How many places are taken."""
        return len(self._turnstile.inside)

    @property
    def room(self) -> bool:
        """Whether whoever comes now gets a place at once."""
        paced = self._pace is None or self._pace.has_capacity()
        return paced and self._turnstile.room(self._clock())

    async def enter(self, call: Hashable, *, until: Deadline) -> int | None:
        """Wait for a place, until then at most; return the ticket to leave with, or None."""
        now = self._clock()
        ticket = self._turnstile.join(call, until=until, now=now)
        if ticket is None:
            return None
        called = self._called[ticket] = asyncio.Event()
        entered = False
        try:
            self._call_in()
            async with asyncio.timeout(until.left_s(now)):
                await called.wait()
                await self._pass()
            entered = True
        except TimeoutError:
            return None
        finally:
            del self._called[ticket]
            if entered:
                self._turnstile.passed(ticket)
            else:
                self._turnstile.leave(ticket)
            self._call_in()
        return ticket

    def seat(self) -> int | None:
        """Take a place at once, or None: there is none."""
        return self._turnstile.seat(self._clock())

    def leave(self, ticket: int) -> None:
        """Give a place back."""
        self._turnstile.leave(ticket)
        self._call_in()

    def learn(self, headers: Mapping[str, str]) -> None:
        """Learn from the headers of an answer, names in any case."""
        left = requests_left(headers)
        if left is not None:
            self._turnstile.learn(left, self._clock())

    def refused(self) -> None:
        """Allow one fewer for a while: the provider found us too many at once."""
        self._turnstile.refused(self._clock())

    async def _pass(self) -> None:
        wait_s = self._turnstile.opens_at - self._clock()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if self._pace is not None:
            await self._pace.acquire()

    def _call_in(self) -> None:
        ticket = self._turnstile.call_in(self._clock())
        if ticket is not None:
            self._called[ticket].set()
