"""Limits the requests that a rung gets at once from all calls of a process, in a fair order.

A rung has a number of places. Work that finds none waits in a queue for as long as the turn's
deadline allows, and then goes to the next rung. The queue is fair between calls: first come, first
served, but a call with many waiting requests gets one place before the others have had theirs. Work
that has a place still passes one at a time, because a limit per minute is a pace.

Our own excess load says nothing about the provider: it is not a failure, a suspicion or a rest.
"""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol

from fallbacks.availability import Availability
from fallbacks.deadline import Deadline
from fallbacks.retry_after import duration_s

MINUTE_S: Final = 60.0
LEARNT_S: Final = 60.0  # a refusal shows that others use the key; they may soon be gone (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The configured limits of a rung; `None` if only the provider's own limits apply."""

    concurrent: int | None = None  # requests to a model; connections to a recogniser or voice
    per_minute: int | None = None  # requests to a model


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsLeft:
    """The provider's rate limit on requests: a bucket that fills evenly."""

    limit: int  # the size of the bucket
    remaining: int
    full_in_s: float

    @property
    def next_in_s(self) -> float:
        """In how many seconds one more request is allowed."""
        return 0.0 if self.remaining > 0 else self.full_in_s / self.limit


def requests_left(headers: Mapping[str, str]) -> RequestsLeft | None:
    """Return what OpenAI's headers say; `None` if they say nothing readable.

    `x-ratelimit-reset-requests` is the time until the bucket is full, as a Go duration: at 5000 a
    minute, one request after a full bucket, it is 12 ms. Source: platform.openai.com/docs/guides/
    rate-limits; the sample in community.openai.com t/1268905.
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    named = [said.get(f"x-ratelimit-{item}-requests", "") for item in ("limit", "remaining")]
    full_in_s = duration_s(said.get("x-ratelimit-reset-requests", ""))
    if full_in_s is None or not all(item.isdecimal() and item.isascii() for item in named):
        return None
    limit, remaining = (int(item) for item in named)
    if limit == 0:  # a proxy without a limit, or with an impossible one
        return None
    return RequestsLeft(limit=limit, remaining=remaining, full_in_s=full_in_s)


def may_wait_until(
    standbys: Sequence[Availability], *, prompt: Deadline, until: Deadline, then_s: float = 0.0
) -> Deadline:
    """Return how long work may wait for a place at a rung, before the next one is asked.

    Args:
        standbys: The rungs that could be asked instead.
        prompt: When the caller should hear something.
        until: When even a late answer is given up: without a standby nothing better is available.
        then_s: The time that later stages need before the caller hears something.
    """
    if not standbys:
        return until
    quickest_s = min(standby.p50_s for standby in standbys)
    return until.no_later_than(prompt.at - quickest_s - then_s)


class RungLimiter:
    """The places at one rung. A ticket is one piece of work, from its arrival until it leaves.

    Attributes:
        limits: As configured.
        inside: The tickets that have a place.
        opens_at: The end of the pause that the provider asked for.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._numbers = count(1)
        self.inside: set[int] = set()
        self._waiting: dict[Hashable, deque[int]] = {}  # by call; the next to be served first
        self._passing: int | None = None  # has a place, and waits for its turn in the pace
        self.opens_at = 0.0
        self._learnt: tuple[int, float] | None = None  # places, and until when that applies

    @property
    def waiting(self) -> int:
        """The number of tickets that wait for a place."""
        return sum(len(tickets) for tickets in self._waiting.values())

    def places(self, now: float) -> int | None:
        """Return the number of places; `None` if it is unlimited."""
        learnt = self._learnt[0] if self._learnt and now < self._learnt[1] else None
        known = [item for item in (self.limits.concurrent, learnt) if item is not None]
        return min(known, default=None)

    def room(self, now: float) -> bool:
        """Return whether work that arrives now gets a place at once."""
        places = self.places(now)
        free = places is None or len(self.inside) < places
        return free and not self._waiting and self._passing is None and now >= self.opens_at

    def seat(self, now: float) -> int | None:
        """Take a place at once, for a lasting connection; `None` if there is none."""
        if not self.room(now):
            return None
        ticket = next(self._numbers)
        self.inside.add(ticket)
        return ticket

    def join(self, call: Hashable, *, until: Deadline, now: float) -> int | None:
        """Return a ticket that waits for a place; `None` if none will be free in time.

        Args:
            call: The call of the work.
            until: How long it may wait.
            now: Monotonic, in seconds.
        """
        if self.soonest(now) > max(until.at, now):
            return None
        ticket = next(self._numbers)
        self._waiting.setdefault(call, deque()).append(ticket)
        return ticket

    def soonest(self, now: float) -> float:
        """Return when work that arrives now may pass at the earliest."""
        ahead = self.waiting if self._passing is not None else 0  # else they wait for a place
        pace_s = MINUTE_S / self.limits.per_minute if self.limits.per_minute else 0.0
        return max(now, self.opens_at) + ahead * pace_s

    def call_in(self, now: float) -> int | None:
        """Return the ticket that gets a place now, or `None`."""
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
        """Record that a ticket has passed; the next may follow."""
        if self._passing == ticket:
            self._passing = None

    def leave(self, ticket: int) -> None:
        """Return a ticket, wherever it is."""
        self.passed(ticket)
        self.inside.discard(ticket)
        for call, tickets in tuple(self._waiting.items()):
            if ticket in tickets:
                tickets.remove(ticket)
            if not tickets:
                del self._waiting[call]

    def learn(self, left: RequestsLeft, now: float) -> None:
        """Pause as the provider asks: other processes may use the key, too."""
        if left.remaining == 0:
            self.opens_at = max(self.opens_at, now + left.next_in_s)

    def refused(self, now: float) -> None:
        """Allow one fewer for a while: the provider refused the number of parallel requests."""
        self._learnt = (max(1, len(self.inside) - 1), now + LEARNT_S)


class Gate(Protocol):
    """The admission to one rung, for all calls of the process."""

    @property
    def room(self) -> bool:
        """Whether work that arrives now gets a place at once."""
        ...

    async def enter(self, call: Hashable, *, until: Deadline) -> int | None:
        """Wait for a place until the deadline; return the ticket to leave with, or `None`."""
        ...

    def seat(self) -> int | None:
        """Take a place at once; `None` if there is none."""
        ...

    def leave(self, ticket: int) -> None:
        """Return a place."""
        ...

    def learn(self, headers: Mapping[str, str]) -> None:
        """Learn from the headers of a response, names in any case."""
        ...

    def refused(self) -> None:
        """Allow one fewer for a while: the provider refused the number of parallel requests."""
        ...
