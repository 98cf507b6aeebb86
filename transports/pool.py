"""The worker pool's interface for the lines: seats, stored values, locks, other processes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol, TypeVar, cast
from weakref import WeakValueDictionary

from loguru import logger

from calls.plain_values import from_plain
from runtime.clock import Clock

Stored = TypeVar("Stored")

DRAINING: Final = "draining"  # the reason for a refusal while the server accepts no new calls
# The reason while this machine is full and another one of its store has room: it is asked instead,
# so the call is not refused.
ELSEWHERE: Final = "room_elsewhere"
ASK_PROCESS_S: Final = 2.0  # the time limit of a question to another process (chosen)

Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]


class SwitchboardFullError(Exception):
    """All seats are taken, or the process is closing; the message is a sentence for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeat:
    """A seat that is reserved for an expected call."""

    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSeat:
    """There is no free seat.

    The reason is `full`, `busy` or `draining`; for public callers also `public_full` or
    `address_full`.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """A value that now belongs to us.

    Attributes:
        epoch: The new epoch; `None` if the store did not answer.
        value: The value, which stays stored; `None` if there is none.
    """

    epoch: int | None
    value: Any = None


class KeepOutcome(IntEnum):
    """Where a value or a claim is kept; false if it is not kept."""

    REFUSED = 0  # the token has a later epoch, or another process has the claim
    KEPT = 1
    KEPT_HERE = 2  # on this machine only: the store of several machines is away
    UNKNOWN = 3  # perhaps nowhere: the supervisor does not answer


class KeyValues(Protocol):
    """A key-value store that all processes of the pool share."""

    async def keep(
        self,
        token: str,
        value: Any,
        *,
        for_s: float,
        moments: Sequence[str] = (),
        epoch: int | None = None,
    ) -> KeepOutcome:
        """Store a value, to be taken once within `for_s`; a failure is only logged.

        Args:
            token: The key; the part before its last space is its kind.
            value: Plain values.
            for_s: How long it is kept.
            moments: The fields of the value that are times on this machine's monotonic clock;
                another machine gets them on its own.
            epoch: The epoch in which we took the token up; `None` for a value without epochs.
        """
        ...

    async def take_up(self, token: str, *, epoch: int | None = None) -> TakenUp | None:
        """Raise the token's epoch, so that processes with an earlier one cannot store it any more.

        Args:
            token: The key.
            epoch: The expected epoch; `None` for any.

        Returns:
            `None` if the epoch is not the expected one.
        """
        ...

    async def epoch(self, token: str) -> int:
        """Return the token's epoch, 0 if it has none; raise `LookupError` without an answer."""
        ...

    async def take(self, token: str) -> Any:
        """Remove and return a value; `None` if it is missing or expired, or on no answer."""
        ...

    async def read(self, token: str) -> Any:
        """Return a value and keep it, or `None`; raise `LookupError` without an answer."""
        ...

    async def read_all(self, kind: str) -> Mapping[str, Any]:
        """Return all values of a kind by token, the last to expire last; raise `LookupError`."""
        ...

    async def drop(self, token: str) -> None:
        """Remove a value, or all of a kind; raise `LookupError` if the store does not answer."""
        ...


def read_stored(kind: type[Stored], plain: Any) -> Stored | None:
    """Return a stored value as this type; `None` if there is none, or it is damaged (logged)."""
    try:
        return None if plain is None else cast("Stored", from_plain(kind, plain))
    except ValueError as error:
        logger.warning("a stored {} is declined: {}", kind.__name__, error)
        return None


class Peers(Protocol):
    """Claims and questions between the processes of the pool."""

    async def claim(self, what: str, *, everywhere: bool = False) -> KeepOutcome:
        """Claim `what`; refused if a live process, also this one, has claimed it, or on no answer.

        Args:
            what: The name of the claim.
            everywhere: Whether it holds on all machines with our store; such a claim must be
                released soon, as a lock or with a call.

        Returns:
            `KEPT` if no other machine has the claim, `KEPT_HERE` if one may have it.
        """
        ...

    def give_back(self, what: str) -> None:
        """Release a claim, so that any process can claim it again."""
        ...

    def answer(self, what: str, answer: Answer) -> None:
        """Register the function that answers a question of other processes."""
        ...

    async def ask(
        self, name: str, what: str, /, *, within_s: float = ASK_PROCESS_S, **fields: Any
    ) -> Any:
        """Return the answer of the process with this name; raise `LookupError` without one."""
        ...

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Return the answers of all processes that respond, this process's own first."""
        ...


class CallPool(Protocol):
    """The processes that share one port."""

    @property
    def key_values(self) -> KeyValues:
        """The shared store, for tickets and resume states."""
        ...

    @property
    def peers(self) -> Peers:
        """Claims, and questions to other processes."""
        ...

    @property
    def id(self) -> str:
        """A random id of this pool, the same in all its processes."""
        ...

    @property
    def name(self) -> str:
        """The name of this process; empty if it is the only one."""
        ...

    @property
    def claims_everywhere(self) -> bool:
        """Whether claims hold on several machines now: they share a store that answers."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this process does work that is done once per pool, such as rendering clips."""
        ...

    async def admit(
        self, call: str = "", *, address: str = "", goes_on: bool = False
    ) -> HeldSeat | NoSeat:
        """Reserve a seat for an expected call; the same call gets the same seat again.

        `begin` must follow soon, and `end` after the call.

        Args:
            call: The carrier's id of the call; empty if it has none.
            address: The network address of a public caller, who may use only a share of the seats;
                empty for others.
            goes_on: Whether the call has lost its process: it gets a seat before new calls do.
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
    """Report that the call of a seat has begun; free the seat after the block."""
    pool.begin(seat)
    try:
        yield
    finally:
        pool.end(seat)


# How long a call that lost its process waits for a seat before its caller is told to wait, or
# another machine that has room is asked (chosen; Telnyx repeats a webhook after 2 s).
SEAT_S: Final = 2.0
HELD_S: Final = 20.0  # how long it waits in all, from the loss on (chosen)
SEAT_RETRY_S: Final = 0.25  # between two tries


async def seat_for(
    call_ref: str, pool: CallPool, clock: Clock, *, within_s: float, address: str = ""
) -> HeldSeat | NoSeat:
    """Reserve a seat for a call, trying for `within_s`; while draining, refuse at once.

    Only a call that has lost its process waits, and it gets a seat before new calls do. `address`
    is that of a public caller.
    """
    began_at = clock()
    while True:
        admitted = await pool.admit(call_ref, address=address, goes_on=within_s > 0)
        if isinstance(admitted, HeldSeat) or admitted.reason == DRAINING:
            return admitted
        patience_s = min(within_s, SEAT_S) if admitted.reason == ELSEWHERE else within_s
        if clock() - began_at >= patience_s:
            return admitted
        await asyncio.sleep(SEAT_RETRY_S)


@asynccontextmanager
async def claimed(peers: Peers, what: str) -> AsyncIterator[bool]:
    """Claim `what` on this machine during the block; yield False if it is refused."""
    is_ours = bool(await peers.claim(what))
    try:
        yield is_ours
    finally:
        if is_ours:
            peers.give_back(what)


LOCK_RETRY_S: Final = 0.01  # between two tries; a lock is held for a few milliseconds (chosen)
LOCK_S: Final = 2.0  # how long to wait for a lock before continuing without it (chosen)


class PoolLocks:
    """Named locks across the processes of the worker pool.

    A process that dies releases its locks. They hold on all machines that share a store, as long as
    it can be reached. If a lock is not free within `LOCK_S`, or the supervisor
    does not answer, the process continues without the lock.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, what: str) -> AsyncIterator[None]:
        """Hold the lock of this name while the block runs; without it if `LOCK_S` was not enough.

        Within this process it always holds.
        """
        async with self._here.setdefault(what, asyncio.Lock()):
            try:
                await self._claim_lock(what)
                yield
            finally:
                self._peers.give_back(what)  # does nothing if another process holds it

    async def _claim_lock(self, what: str) -> None:
        """Wait up to `LOCK_S` for a lock; after that, go on without it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCK_S):
                while not await self._peers.claim(what, everywhere=True):  # noqa: ASYNC110 - another process has it
                    await asyncio.sleep(LOCK_RETRY_S)
