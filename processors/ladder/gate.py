"""Limits requests to one rung: a gate shared by all calls of a process, and a call's seat."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Protocol

from aiolimiter import AsyncLimiter

from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind
from fallbacks.limits import MINUTE_S, Gate, Limits, RungLimiter, requests_left


class RequestPace(Protocol):
    """Limits the requests per minute."""

    def has_capacity(self) -> bool:
        """Return whether a request would pass at once."""
        ...

    async def acquire(self) -> None:
        """Wait until a request may pass."""
        ...


class RungGate:
    """Admits requests to one rung, for all calls of the process.

    The pace is a leaky bucket: when it is empty, a burst of requests up to the limit passes at
    once, and later ones pass one by one. OpenAI counts requests in the same way; see
    `fallbacks.limits.requests_left`.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        """Create the gate with all places free.

        Args:
            limits: As configured.
            clock: Monotonic, in seconds.
        """
        self.is_leased: Callable[[float], bool] = lambda _: True  # whether places may be used now
        self._limiter = RungLimiter(limits)
        self._limiter.is_leased = lambda now: self.is_leased(now)  # noqa: PLW0108 - it is replaced
        self._clock = clock
        self.pace: RequestPace | None = (
            AsyncLimiter(limits.per_minute, MINUTE_S) if limits.per_minute else None
        )
        self.on_full: Callable[[], None] = lambda: None  # called when no place is free
        self._was_full = False  # no place was free for a seat since `wanted` was last read
        self._called: dict[int, asyncio.Event] = {}  # by ticket; set when the ticket has a place

    @property
    def inside(self) -> int:
        """The number of places taken."""
        return len(self._limiter.inside)

    @property
    def has_room(self) -> bool:
        """Whether a request that arrives now gets a place at once."""
        paced = self.pace is None or self.pace.has_capacity()
        return paced and self._limiter.has_room(self._clock())

    @property
    def limits(self) -> Limits:
        """The current limits."""
        return self._limiter.limits

    @property
    def wanted(self) -> int:
        """The number of places in use or in demand; reading it resets the demand for a seat."""
        was_full, self._was_full = self._was_full, False
        return len(self._limiter.inside) + self._limiter.waiting + int(was_full)

    def resize(self, places: int) -> None:
        """Change the number of places; tickets beyond that keep theirs until they leave.

        If a place is free now, the next waiting ticket gets it.
        """
        self._limiter.limits = replace(self._limiter.limits, concurrent=places)
        for _ in range(places):
            self._call_in()  # it admits one ticket at most

    async def enter(self, call: Hashable, *, until: Deadline) -> int | None:
        """Wait for a place until the deadline.

        Return the ticket for `leave`, or `None` without a place. It is `None` at once if the pace
        or the provider's pause alone would take too long, and also if the places may not be used
        any more. `on_full` is called if the gate is full.
        """
        now = self._clock()
        ticket = self._limiter.join(call, until=until, now=now)
        if ticket is None:
            return None
        called = self._called[ticket] = asyncio.Event()
        entered = False
        try:
            self._call_in()
            if self._was_full or self._limiter.waiting:
                self.on_full()
            async with asyncio.timeout(until.left_s(now)):
                await called.wait()
                await _wait_turn(self._limiter.opens_at - self._clock(), self.pace)
            entered = self.is_leased(self._clock())  # the lease may have ended during the wait
        except TimeoutError:
            return None
        finally:
            del self._called[ticket]
            if entered:
                self._limiter.passed(ticket)
            else:
                self._limiter.leave(ticket)
            self._call_in()
        return ticket if entered else None

    def seat(self) -> int | None:
        """Take a place at once; return its ticket, or call `on_full` and return `None`."""
        ticket = self._limiter.seat(self._clock())
        self._was_full = ticket is None
        if self._was_full:
            self.on_full()
        return ticket

    def leave(self, ticket: int) -> None:
        """Return a place."""
        self._limiter.leave(ticket)
        self._call_in()

    def learn(self, headers: Mapping[str, str]) -> None:
        """Pause as the rate-limit headers of a response require; names in any case."""
        left = requests_left(headers)
        if left is not None:
            self._limiter.learn(left, self._clock())

    def refused(self) -> None:
        """Lower the number of places for a while: the provider refused so many at once."""
        self._limiter.refused(self._clock())

    def _call_in(self) -> None:
        """Give the next waiting ticket a place, if one is free, and wake its `enter`."""
        ticket = self._limiter.call_in(self._clock())
        if ticket is not None:
            self._called[ticket].set()


async def _wait_turn(wait_s: float, pace: RequestPace | None) -> None:
    """Wait until the provider accepts requests again, and then for the pace."""
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    if pace is not None:
        await pace.acquire()


class Seat:
    """A call's place at a rung, from before a connection is opened until the call is over.

    A connection that is lost keeps its seat, because it will be restored.
    """

    def __init__(self, gate: Gate | None) -> None:
        """Use the rung's gate; `None` if it has no limit."""
        self._gate = gate
        self._ticket: int | None = None

    @property
    def offered(self) -> bool:
        """Whether the call has the seat, or can take one now."""
        return self._gate is None or self._ticket is not None or self._gate.has_room

    def take(self) -> bool:
        """Take the seat if it is not taken yet; return False if there is no place now."""
        if self._gate is not None and self._ticket is None:
            self._ticket = self._gate.seat()
        return self._gate is None or self._ticket is not None

    def learn(self, failure: Failure) -> None:
        """Tell the gate about a failure that means that we hold too many connections."""
        if self._gate is not None and failure.kind is Kind.RATE_LIMITED:
            self._gate.refused()

    def leave(self) -> None:
        """Return the seat."""
        if self._gate is not None and self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self._gate.leave(ticket)
