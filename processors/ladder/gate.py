"""The gate of a rung: lets its work through as the turnstile decides, and at the pace allowed."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Protocol

from aiolimiter import AsyncLimiter

from fallbacks.deadline import Deadline
from fallbacks.limits import MINUTE_S, Limits, Turnstile, requests_left


class RequestPace(Protocol):
    """How many requests a minute may be made."""

    def has_capacity(self) -> bool:
        """Say whether one would pass at once."""
        ...

    async def acquire(self) -> None:
        """Wait for one's turn."""
        ...


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
        self.pace: RequestPace | None = (
            AsyncLimiter(limits.per_minute, MINUTE_S) if limits.per_minute else None
        )
        self.on_short: Callable[[], None] = lambda: None  # when a caller finds no place
        self._short = False  # since it was last asked
        self._called: dict[int, asyncio.Event] = {}

    @property
    def inside(self) -> int:
        """How many places are taken."""
        return len(self._turnstile.inside)

    @property
    def room(self) -> bool:
        """Whether work that comes now gets a place at once."""
        paced = self.pace is None or self.pace.has_capacity()
        return paced and self._turnstile.room(self._clock())

    @property
    def limits(self) -> Limits:
        """What is allowed now."""
        return self._turnstile.limits

    @property
    def wanted(self) -> int:
        """How many places could be used now; read once, it forgets who was turned away."""
        short, self._short = self._short, False
        return len(self._turnstile.inside) + self._turnstile.waiting + int(short)

    def resize(self, places: int) -> None:
        """Have another number of places; who has one too many keeps it until it is given back."""
        self._turnstile.limits = replace(self._turnstile.limits, concurrent=places)
        for _ in range(places):
            self._call_in()

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
            if self._short or self._turnstile.waiting:
                self.on_short()
            async with asyncio.timeout(until.left_s(now)):
                await called.wait()
                await _wait_turn(self._turnstile.opens_at - self._clock(), self.pace)
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
        ticket = self._turnstile.seat(self._clock())
        self._short = ticket is None
        if self._short:
            self.on_short()
        return ticket

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

    def _call_in(self) -> None:
        ticket = self._turnstile.call_in(self._clock())
        if ticket is not None:
            self._called[ticket].set()


async def _wait_turn(wait_s: float, pace: RequestPace | None) -> None:
    """Wait until the provider takes requests again, and then as the pace has it."""
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    if pace is not None:
        await pace.acquire()
