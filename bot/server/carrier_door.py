"""Shared parts of the carriers' routes: reading webhooks, status callbacks, locks, settings."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

from fastapi import Request, Response

from bot.clock import Clock
from bot.workers.pool import Peers, WorkerPool
from calls.entry import Tell
from calls.events import InputRefused
from calls.leg_progress import LegFact, LegProgress, StatusCallback
from transports.leg import Leg

MAX_WEBHOOK_BYTES: Final = 64 * 1024  # a voice webhook has 1 to 3 kB
MAX_FIELDS: Final = 200
WEBHOOK_S: Final = 5.0


async def read_body(request: Request) -> bytes | None:
    """Return a request's body; `None` if it is too big or arrives too slowly."""
    body = bytearray()
    try:
        async with asyncio.timeout(WEBHOOK_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_WEBHOOK_BYTES:
                    return None
    except TimeoutError:
        return None
    return bytes(body)


def read_form(body: bytes) -> dict[str, str] | None:
    """Return a form's fields; `None` if it is not a form, or has a field twice."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) else None


def elsewhere() -> Response:
    """Return the error after which a carrier asks the number's fallback URL, on another machine."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return Response(status.phrase, status_code=status, media_type="text/plain")


def refuse(tell: Tell, carrier: str, reason: str, status: HTTPStatus) -> Response:
    """Report a refused webhook; return an answer without details."""
    tell(InputRefused(transport=carrier, reason=reason))
    return Response(status.phrase, status_code=status, media_type="text/plain")


LOOK_S: Final = 0.01  # chosen: a turn takes some milliseconds
WAIT_S: Final = 2.0  # a slower supervisor has bigger problems (`bot/workers/wire.py`)


class OneAtATime:
    """Named locks across the processes of the worker pool.

    A process that dies releases its locks. If the supervisor does not answer in time, the process
    goes on without the lock, since it may be the only process.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[None]:
        """Hold the lock of this name while the block runs."""
        async with self._here.setdefault(what, asyncio.Lock()):
            try:
                await self._come(what)
                yield
            finally:
                self._peers.give_back(what)  # does nothing if another process holds it

    async def _come(self, what: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not await self._peers.claim(what):  # noqa: ASYNC110 - another process has it
                    await asyncio.sleep(LOOK_S)


KEPT_S: Final = 4 * 3600.0  # the carriers' limit of a call: until then a callback may be repeated
MOST_WORD_CHARS: Final = 64  # of a carrier's word, and of our dial id


@dataclass(slots=True, kw_only=True)
class StatusCallbacks:
    """Emits the new events in a carrier's status callbacks and machine detection results.

    The progress of each call is kept for the worker pool, because a callback may reach any of its
    processes, and two of them at once if it is repeated or crosses a machine detection result.
    """

    carrier: str
    pool: WorkerPool
    tell: Tell
    clock: Clock
    _one_at_a_time: OneAtATime = field(init=False)

    def __post_init__(self) -> None:
        """Create the locks."""
        self._one_at_a_time = OneAtATime(self.pool.peers)

    async def take(self, said: StatusCallback, *, place_of: str = "") -> Sequence[LegFact]:
        """Emit and return the new events of an authenticated callback.

        Args:
            said: The callback.
            place_of: Key of the progress; the carrier's id of the call if empty.
        """
        facts, _ = await self._move(said, place_of or said.call_ref)
        for fact in facts:
            self.tell(fact)
        return facts

    async def is_over(self, call_ref: str) -> bool:
        """Return whether the end of a call is known already: callbacks may arrive after it."""
        _, after = await self._move(StatusCallback(call_ref=call_ref), call_ref)
        return after.ended

    async def _move(
        self, said: StatusCallback, kept_by: str
    ) -> tuple[Sequence[LegFact], LegProgress]:
        place = f"{self.carrier} progress {kept_by}"
        async with self._one_at_a_time.turn(place):
            kept, now = await self.pool.shelf.take(place), self.clock()
            before = LegProgress(**kept) if kept else LegProgress(began_at=now)
            after, facts = before.after(said, now)
            await self.pool.shelf.keep(place, asdict(after), for_s=KEPT_S)
        return facts, after


class DoorSwitchboard(Protocol):
    """The switchboard, as a carrier's routes see it."""

    @property
    def open(self) -> bool:
        """Whether a call could be accepted now."""
        ...

    @property
    def why_closed(self) -> str:
        """The reason why not, as a code."""
        ...

    async def answer(self, leg: Leg) -> None:
        """Run a call on `leg` until it ends; raises `SwitchboardFullError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorFrame:
    """Dependencies of every carrier's routes.

    Attributes:
        addresses: Scheme, host and perhaps a path for which a carrier may sign a webhook. The first
            is unique to this server, and is the one given to carriers.
        switchboard: Runs the calls.
        tell: Receives the events, such as refusals.
        clock: Monotonic seconds.
        pool: Holds a seat from a call's first webhook to its end.
    """

    addresses: tuple[str, ...]
    switchboard: DoorSwitchboard
    tell: Tell
    clock: Callable[[], float]
    pool: WorkerPool

    @property
    def public_url(self) -> str:
        """The address that is given to carriers."""
        return self.addresses[0]

    def status_callbacks(self, carrier: str) -> StatusCallbacks:
        """Return the reader of a carrier's callbacks."""
        return StatusCallbacks(carrier=carrier, pool=self.pool, tell=self.tell, clock=self.clock)

    def socket_url(self, path: str, worker: str = "") -> str:
        """Return the URL of a media socket, at one worker if it is named."""
        return socket_url(self.public_url, path) + (f"/{worker}" if worker else "")


def socket_url(public_url: str, path: str) -> str:
    """Return the URL of a media socket."""
    scheme, _, rest = public_url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}"
