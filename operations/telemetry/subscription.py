"""One listener with a queue of its own: who is slow loses its own oldest entries, nobody else's."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, runtime_checkable

from loguru import logger

from calls.entry import Entry

AT_ONCE: Final = 16  # entries, before the loop may do something else: a millisecond or two
GATHER_S: Final = 0.2  # chosen: a process that is killed loses so much of what is gathered
GATHERED: Final = 500  # entries handed over at once


class Listener(Protocol):
    """Someone who is told everything."""

    async def hear(self, entry: Entry) -> None:
        """Hear one entry. May raise: it hurts nobody else."""
        ...


@runtime_checkable
class Gathering(Protocol):
    """A listener to whom many entries cost hardly more than one: a file, which a thread writes.

    It hears nothing one by one while a server runs. A thread for each entry took more of the
    processor than all others who listen together (measured: 130 of 210 µs).
    """

    async def hear_all(self, entries: Sequence[Entry]) -> None:
        """Hear some, in the order in which they were told. May raise."""
        ...


@runtime_checkable
class Keeping(Protocol):
    """A listener that keeps what it hears until somebody takes it: a disk, a database."""

    @property
    def waiting(self) -> int:
        """How many pieces it keeps."""
        ...

    @property
    def lost(self) -> int:
        """How many it had no room for."""
        ...


class Subscription:
    """What a listener has not heard yet, in the order in which it was told.

    Attributes:
        name: The listener's class.
        failed: Entries at which it raised.
    """

    def __init__(self, listener: Listener, *, room: int) -> None:
        """Tell `listener`; at most `room` entries wait for it."""
        self.name = type(listener).__name__
        self.unheard = 0  # entries that it will never hear: too many waited, or it was too slow
        self.failed = 0
        self._listener = listener
        self._room = room
        self._waiting: deque[Entry] = deque()
        self._heard_now = 0  # entries that it is hearing
        self._wanted = asyncio.Event()  # somebody waits until everything was heard
        self._news = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()

    @property
    def waiting(self) -> int:
        """How many entries it has not begun to hear, and what it keeps itself."""
        listener = self._listener
        return len(self._waiting) + (listener.waiting if isinstance(listener, Keeping) else 0)

    @property
    def lost(self) -> int:
        """How many entries it will never hear, and what it had no room for itself."""
        listener = self._listener
        return self.unheard + (listener.lost if isinstance(listener, Keeping) else 0)

    @property
    def behind(self) -> bool:
        """Whether it has not heard everything yet."""
        return not self._done.is_set()

    def put(self, entry: Entry) -> None:
        """Have an entry heard some time; never waits."""
        if len(self._waiting) >= self._room:
            self._waiting.popleft()
            self.unheard += 1
        self._waiting.append(entry)
        if not self._news.is_set():
            self._done.clear()
            self._news.set()

    async def done(self) -> None:
        """Wait until everything was heard; nothing is gathered any longer."""
        self._wanted.set()
        await self._done.wait()

    def give_up(self) -> None:
        """Count what was not heard as lost."""
        left = len(self._waiting) + self._heard_now
        self._waiting.clear()
        self._heard_now = 0
        if left:
            self.unheard += left
            logger.error("{} was too slow at the end: {} entries are lost", self.name, left)

    async def run(self) -> None:
        """Have the listener hear what comes, until cancelled."""
        listener = self._listener
        hear = self._hear_one_by_one
        if isinstance(listener, Gathering):
            hear = partial(self._hear_gathered, listener)
        while True:
            await self._news.wait()
            await hear()
            if not self._waiting:
                self._news.clear()
                self._wanted.clear()
                self._done.set()

    async def _hear_one_by_one(self) -> None:
        for _ in range(min(AT_ONCE, len(self._waiting))):
            entry = self._waiting.popleft()
            await self._hear(partial(self._listener.hear, entry), entries=1)
        if self._waiting:
            await asyncio.sleep(0)

    async def _hear_gathered(self, listener: Gathering) -> None:
        try:
            async with asyncio.timeout(GATHER_S):
                await self._wanted.wait()
        except TimeoutError:
            pass
        taken = [self._waiting.popleft() for _ in range(min(GATHERED, len(self._waiting)))]
        await self._hear(partial(listener.hear_all, taken), entries=len(taken))

    async def _hear(self, hear: Callable[[], Awaitable[None]], *, entries: int) -> None:
        self._heard_now = entries
        try:
            await hear()
            self._heard_now = 0
        except Exception as broken:  # noqa: BLE001 - a listener must not hurt a call
            self._heard_now = 0
            self.failed += 1
            if self.failed & (self.failed - 1) == 0:  # the 1st, 2nd, 4th, 8th: not all of them
                said = f"{type(broken).__name__}: {broken}"
                logger.error("{} failed, {} times so far: {}", self.name, self.failed, said)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerCounts:
    """How those who listen fare, by the name of their class; several may share one.

    Attributes:
        waiting: Entries that they have not heard yet.
        lost: Entries that they will never hear.
        failed: How often they raised.
    """

    waiting: Counter[str]
    lost: Counter[str]
    failed: Counter[str]


def count_of(subscriptions: Iterable[Subscription]) -> ListenerCounts:
    """Return how the listeners of these subscriptions fare."""
    waiting, lost, failed = Counter[str](), Counter[str](), Counter[str]()
    for each in subscriptions:
        waiting[each.name] += each.waiting
        lost[each.name] += each.lost
        failed[each.name] += each.failed
    return ListenerCounts(waiting=waiting, lost=lost, failed=failed)
