"""The worker pool as a line sees it: seats, stored values, locks, and the other processes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from bot.clock import Clock

DRAINING: Final = "draining"  # reason of a refusal: the server takes no more calls
ASK_S: Final = 2.0  # for an answer of another process; a loop that answers later has worse problems

Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]


class SwitchboardFullError(Exception):
    """All seats are taken, or the process is closing; the text is a sentence for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeat:
    """A seat that is reserved for an expected call."""

    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSeat:
    """There is no seat, with the reason.

    `full`, `busy` or `draining`; for public callers also `public_full` and `address_full`.
    """

    reason: str


class KeyValues(Protocol):
    """A key-value store that all processes of the pool share."""

    async def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Store a value; it can be taken once, within `for_s`."""
        ...

    async def take(self, token: str) -> Any:
        """Return a value; `None` if there is none, it was taken, or it has expired."""
        ...

    async def read(self, token: str) -> Any:
        """Return a value and keep it; raise `LookupError` if the store does not answer."""
        ...

    async def drop(self, token: str) -> None:
        """Remove a value, or a kind; raise `LookupError` if the store does not answer."""
        ...


class Peers(Protocol):
    """The processes of the pool, as one of them reaches them."""

    async def claim(self, what: str) -> bool:
        """Return whether this process is the first of all live processes to claim this."""
        ...

    def give_back(self, what: str) -> None:
        """Allow any process to claim this again, including this one."""
        ...

    def answer(self, what: str, answer: Answer) -> None:
        """Register the answer to a question that other processes ask this one."""
        ...

    async def ask(self, name: str, what: str, /, **fields: Any) -> Any:
        """Return the answer of the process with this name; raises `LookupError` without one."""
        ...

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Return the answers of all processes, this one's first."""
        ...


class CallPool(Protocol):
    """All processes that share one port, as the lines of one of them use them."""

    @property
    def key_values(self) -> KeyValues:
        """The store of tickets and resume states."""
        ...

    @property
    def peers(self) -> Peers:
        """The processes themselves: claims and questions."""
        ...

    @property
    def id(self) -> str:
        """A random text that all processes of this pool share, and no other server has."""
        ...

    @property
    def name(self) -> str:
        """The name of this process; empty if it is the only one."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this process does what is done once per pool, such as rendering clips."""
        ...

    async def admit(self, call: str = "", *, address: str = "") -> HeldSeat | NoSeat:
        """Reserve a seat for an expected call; the same call gets the same seat again.

        Args:
            call: The carrier's name of the call; empty if it has none.
            address: Of a public caller, who gets only a share of the seats; empty for others.
        """
        ...

    def begin(self, seat: int) -> None:
        """Report that the call has begun in this process."""
        ...

    def end(self, seat: int) -> None:
        """Free the seat."""
        ...


@contextmanager
def take_seat(pool: CallPool, seat: int) -> Iterator[None]:
    """Hold the seat for a call while the block runs."""
    pool.begin(seat)
    try:
        yield
    finally:
        pool.end(seat)


# In a full pool a call that lost its worker has no seat until another worker is ready. Chosen:
# carriers wait at least 10 s for our answer.
SEAT_S: Final = 8.0
LOOK_S: Final = 0.25  # between two attempts


async def seat_for(
    call_ref: str, pool: CallPool, clock: Clock, *, within_s: float
) -> HeldSeat | NoSeat:
    """Hold a seat for a call; wait up to `within_s`, for a call in progress."""
    until = clock() + within_s
    while True:
        admitted = await pool.admit(call_ref)
        if isinstance(admitted, HeldSeat) or admitted.reason == DRAINING or clock() >= until:
            return admitted
        await asyncio.sleep(LOOK_S)


LOCK_LOOK_S: Final = 0.01  # chosen: a lock is held for some milliseconds
LOCK_S: Final = 2.0  # a slower supervisor has bigger problems (`bot/workers/wire.py`)


class PoolLocks:
    """Named locks across the processes of the worker pool.

    A process that dies releases its locks. If the supervisor does not answer in time, the process
    goes on without the lock, since it may be the only process.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, what: str) -> AsyncIterator[None]:
        """Hold the lock of this name while the block runs."""
        async with self._here.setdefault(what, asyncio.Lock()):
            try:
                await self._take(what)
                yield
            finally:
                self._peers.give_back(what)  # does nothing if another process holds it

    async def _take(self, what: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCK_S):
                while not await self._peers.claim(what):  # noqa: ASYNC110 - another process has it
                    await asyncio.sleep(LOCK_LOOK_S)
