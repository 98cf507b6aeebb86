"""What every carrier's door has of the house."""

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
    """Return a request's body; None: it is too big, or too slow in coming."""
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
    """Return a form's fields; None: it is no form, or names a field twice."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) else None


def elsewhere() -> Response:
    """Return the error after which a carrier asks the number's fallback URL, so another machine."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return Response(status.phrase, status_code=status, media_type="text/plain")


def refuse(tell: Tell, carrier: str, reason: str, status: HTTPStatus) -> Response:
    """Tell that a webhook was refused, and return the answer that says no more than that."""
    tell(InputRefused(transport=carrier, reason=reason))
    return Response(status.phrase, status_code=status, media_type="text/plain")


LOOK_S: Final = 0.01  # chosen: a turn takes some milliseconds
WAIT_S: Final = 2.0  # a supervisor that answers later has worse troubles (`bot/workers/wire.py`)


class OneAtATime:
    """Turns by name: who has one is alone with it in the house.

    A process that dies in its turn holds nobody up. A supervisor that does not answer does not for
    long: then each goes on, as it may be the only one.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[None]:
        """Wait for the turn of this name, and have it while the block runs."""
        async with self._here.setdefault(what, asyncio.Lock()):
            try:
                await self._come(what)
                yield
            finally:
                self._peers.give_back(what)  # harmless where it is another's

    async def _come(self, what: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not await self._peers.claim(what):  # noqa: ASYNC110 - another process has it
                    await asyncio.sleep(LOOK_S)


KEPT_S: Final = 4 * 3600.0  # the carriers' own limit of a call: so long one may come twice
MOST_WORD_CHARS: Final = 64  # of a carrier's word, and of our own id of a dial


@dataclass(slots=True, kw_only=True)
class StatusCallbacks:
    """Tells what is new in a carrier's callbacks and verdicts on answering machines.

    How far a call has come is kept for the house, since a callback reaches any of its processes:
    two at once, if it comes twice, or beside a verdict.
    """

    carrier: str
    pool: WorkerPool
    tell: Tell
    clock: Clock
    _one_at_a_time: OneAtATime = field(init=False)

    def __post_init__(self) -> None:
        """Take turns with the other processes."""
        self._one_at_a_time = OneAtATime(self.pool.peers)

    async def take(self, said: StatusCallback, *, place_of: str = "") -> Sequence[LegFact]:
        """Tell what is new, of what has been proven to be the carrier's, and return it.

        Args:
            said: What it says.
            place_of: Of what the progress is kept; the carrier's id of the call when not given.
        """
        facts, _ = await self._move(said, place_of or said.call_ref)
        for fact in facts:
            self.tell(fact)
        return facts

    async def is_over(self, call_ref: str) -> bool:
        """Say whether a call's end was told already: news may come behind it."""
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
    """What a door asks of the house."""

    @property
    def open(self) -> bool:
        """Whether a call could be taken now."""
        ...

    @property
    def why_closed(self) -> str:
        """The name of the reason why not."""
        ...

    async def answer(self, leg: Leg) -> None:
        """Run a call on `leg` until it ends; raises `SwitchboardFullError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorFrame:
    """What every carrier's door has of the house.

    Attributes:
        addresses: Scheme, host and perhaps a path: those that a carrier may sign a webhook for. The
            first is ours alone, and the one that carriers are told.
        switchboard: Takes the calls.
        tell: Is told what was refused.
        clock: Monotonic seconds.
        pool: Holds a seat from the first word of a call to its end.
    """

    addresses: tuple[str, ...]
    switchboard: DoorSwitchboard
    tell: Tell
    clock: Callable[[], float]
    pool: WorkerPool

    @property
    def public_url(self) -> str:
        """The address that carriers are told."""
        return self.addresses[0]

    def status_callbacks(self, carrier: str) -> StatusCallbacks:
        """Return what reads a carrier's callbacks."""
        return StatusCallbacks(carrier=carrier, pool=self.pool, tell=self.tell, clock=self.clock)

    def socket_url(self, path: str, worker: str = "") -> str:
        """Return where a carrier finds a media socket, at the one worker if it is named."""
        return socket_url(self.public_url, path) + (f"/{worker}" if worker else "")


def socket_url(public_url: str, path: str) -> str:
    """Return where a carrier finds a media socket."""
    scheme, _, rest = public_url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}"
