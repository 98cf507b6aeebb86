"""Limits the requests that all calls of a process send to a rung at once, in a fair order.

A rung has a number of places. A request that finds none free waits in a queue for as long as the
turn's deadline permits, and then goes to the next rung. The queue is first come, first served, but
fair between calls: after one request of a call, each other waiting call has its turn before that
call's next request. Admitted requests pass one by one, at the pace of the limit per minute.

A full queue is caused by our own load, not by the provider. So a wait for a place is not counted as
a failure, and does not make a rung suspect or rest.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol

from fallbacks.availability import Availability
from fallbacks.deadline import Deadline
from fallbacks.retry_after import duration_s

MINUTE_S: Final = 60.0
LEARNT_S: Final = 60.0  # how long the number of places stays lower after a refusal (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The configured limits of a rung; `None` if only the provider's own limits apply."""

    concurrent: int | None = None  # requests to a model; connections to a recogniser or voice
    per_minute: int | None = None  # requests to a model


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsLeft:
    """The provider's rate limit on requests: a bucket that is refilled evenly."""

    limit: int  # the size of the bucket
    remaining: int
    full_in_s: float  # until the bucket is full

    @property
    def next_in_s(self) -> float:
        """The seconds until one more request is allowed."""
        return 0.0 if self.remaining > 0 else self.full_in_s / self.limit


def requests_left(headers: Mapping[str, str]) -> RequestsLeft | None:
    """Return the limit in OpenAI's response headers; `None` without readable ones.

    `x-ratelimit-reset-requests` is the time until the bucket is full, as a Go duration. With a
    limit of 5000 requests a minute, it is 12 ms after the first request. Source:
    platform.openai.com/docs/guides/rate-limits; the sample in community.openai.com t/1268905.
    """
    values = {name.lower(): value.strip() for name, value in headers.items()}
    counts = [values.get(f"x-ratelimit-{item}-requests", "") for item in ("limit", "remaining")]
    full_in_s = duration_s(values.get("x-ratelimit-reset-requests", ""))
    if full_in_s is None or not all(item.isdecimal() and item.isascii() for item in counts):
        return None
    limit, remaining = (int(item) for item in counts)
    if limit == 0:  # a proxy without a limit, or with an impossible one
        return None
    return RequestsLeft(limit=limit, remaining=remaining, full_in_s=full_in_s)


def may_wait_until(
    standbys: Sequence[Availability], *, prompt: Deadline, until: Deadline, then_s: float = 0.0
) -> Deadline:
    """Return until when a request may wait for a place at a rung before the next one is asked.

    Args:
        standbys: The rungs that could be asked instead.
        prompt: When the caller should hear something.
        until: When even a late answer is given up; the limit of the wait if there is no standby.
        then_s: The time that later stages need before the caller hears something.
    """
    if not standbys:
        return until
    quickest_s = min(standby.p50_s for standby in standbys)
    return until.no_later_than(prompt.at - quickest_s - then_s)


class RungLimiter:
    """The places at one rung. A ticket stands for one request, from its arrival until it leaves.

    A request joins the queue, is called in when it gets a place, passes when the pace permits it to
    be sent, and leaves when it has ended. A lasting connection takes a place without the queue.

    Attributes:
        limits: The limits, at first as configured.
        inside: The tickets that have a place.
        opens_at: The end of the pause that the provider asked for.
        is_leased: Returns whether the places may be used now; if not, there are none.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._numbers = count(1)
        self.inside: set[int] = set()
        self._waiting: dict[Hashable, deque[int]] = {}  # by call; the next call comes first
        self._passing: int | None = None  # has a place, and waits because of the pace
        self.opens_at = 0.0
        self.is_leased: Callable[[float], bool] = lambda _: True
        self._learnt: tuple[int, float] | None = None  # places, and until when they apply

    @property
    def waiting(self) -> int:
        """The number of tickets that wait for a place."""
        return sum(len(tickets) for tickets in self._waiting.values())

    def places(self, now: float) -> int | None:
        """Return the number of places: 0 while none may be used, `None` if it is unlimited."""
        if not self.is_leased(now):
            return 0
        learnt = self._learnt[0] if self._learnt and now < self._learnt[1] else None
        limits = [item for item in (self.limits.concurrent, learnt) if item is not None]
        return min(limits, default=None)

    def has_room(self, now: float) -> bool:
        """Return whether a request that arrives now gets a place at once."""
        places = self.places(now)
        free = places is None or len(self.inside) < places
        return free and not self._waiting and self._passing is None and now >= self.opens_at

    def seat(self, now: float) -> int | None:
        """Take a place at once, for a lasting connection, and return its ticket.

        `None` if there is no free place.
        """
        if not self.has_room(now):
            return None
        ticket = next(self._numbers)
        self.inside.add(ticket)
        return ticket

    def join(self, call: Hashable, *, until: Deadline, now: float) -> int | None:
        """Queue a request and return its ticket, which must `leave` even if it never gets a place.

        `None` if the pace or the provider's pause alone would keep it past `until`.

        Args:
            call: Identifies the call that makes the request.
            until: The deadline of the wait.
            now: Monotonic, in seconds.
        """
        if self.soonest(now) > max(until.at, now):
            return None
        ticket = next(self._numbers)
        self._waiting.setdefault(call, deque()).append(ticket)
        return ticket

    def soonest(self, now: float) -> float:
        """Return the earliest time at which a request that arrives now may pass.

        Only the pace and the provider's pause count: when a place becomes free is unknown.
        """
        # If no admitted ticket waits because of the pace, those in the queue wait for places.
        ahead = self.waiting if self._passing is not None else 0
        pace_s = MINUTE_S / self.limits.per_minute if self.limits.per_minute else 0.0
        return max(now, self.opens_at) + ahead * pace_s

    def call_in(self, now: float) -> int | None:
        """Give a place to the next ticket and return it; `None` if none can have one now.

        No other ticket gets one until this one has `passed` or left.
        """
        places = self.places(now)
        full = places is not None and len(self.inside) >= places
        if full or not self._waiting or self._passing is not None:
            return None
        call = next(iter(self._waiting))
        tickets = self._waiting.pop(call)
        self._passing = tickets.popleft()
        if tickets:
            self._waiting[call] = tickets  # after all other calls
        self.inside.add(self._passing)
        return self._passing

    def passed(self, ticket: int) -> None:
        """Record that a ticket no longer waits because of the pace; the next one may."""
        if self._passing == ticket:
            self._passing = None

    def leave(self, ticket: int) -> None:
        """Take a ticket back, whether it has a place or waits for one."""
        self.passed(ticket)
        self.inside.discard(ticket)
        for call, tickets in tuple(self._waiting.items()):
            if ticket in tickets:
                tickets.remove(ticket)
            if not tickets:
                del self._waiting[call]

    def learn(self, left: RequestsLeft, now: float) -> None:
        """Pause if the provider reports that no more requests are allowed now.

        Other clients may use the same key, so our own count of requests is not enough.
        """
        if left.remaining == 0:
            self.opens_at = max(self.opens_at, now + left.next_in_s)

    def refused(self, now: float) -> None:
        """Lower the number of places for `LEARNT_S`: the provider refused so many at once.

        Other clients seem to use the same key, but may soon stop.
        """
        self._learnt = (max(1, len(self.inside) - 1), now + LEARNT_S)


class Gate(Protocol):
    """The admission to one rung, for all calls of the process."""

    @property
    def has_room(self) -> bool:
        """Whether a request that arrives now gets a place at once."""
        ...

    async def enter(self, call: Hashable, *, until: Deadline) -> int | None:
        """Wait for a place; return the ticket to leave with, or `None` if none was free in time."""
        ...

    def seat(self) -> int | None:
        """Take a place at once, and return its ticket; `None` if there is none."""
        ...

    def leave(self, ticket: int) -> None:
        """Return a place."""
        ...

    def learn(self, headers: Mapping[str, str]) -> None:
        """Pause as the rate-limit headers of a response require; names in any case."""
        ...

    def refused(self) -> None:
        """Lower the number of places for a while: the provider refused so many at once."""
        ...
