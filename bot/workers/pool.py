"""What a door asks of the house: a seat, a place to leave things, the other processes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

from bot.clock import Clock
from bot.workers.admission_rules import HouseSeats
from bot.workers.wire import Wire
from bot.workers.worker_process import Worker

MOST: Final = 10_000  # rooms of a day; what was not asked for longest gives way


class Claims:
    """Things that one worker alone does, such as answering a call that all were told of."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._holders: dict[str, str] = {}

    def claim(self, what: str, *, holder: str) -> bool:
        """Return whether it is the holder's to do; nobody is told so twice."""
        if what in self._holders:
            # Rooms of calls that go on are found every second: theirs is never the oldest.
            self._holders[what] = self._holders.pop(what)
            return False
        while len(self._holders) >= self._most:
            del self._holders[next(iter(self._holders))]
        self._holders[what] = holder
        return True

    def give_back(self, what: str, *, holder: str) -> None:
        """Let anybody claim it again, the holder too; harmless where it is another's."""
        if self._holders.get(what) == holder:
            del self._holders[what]

    def serve(self, wire: Wire, *, holder: str) -> None:
        """Say whether it is the holder's to do when it asks, at the other end of a line."""

        async def claim(said: Mapping[str, Any]) -> bool:
            return self.claim(said["what"], holder=holder)

        # Whoever had no answer in time thinks that it is not theirs, and nobody would do it.
        wire.answer("claim", claim, revocable=True)
        wire.on("give_back", lambda said: self.give_back(said["what"], holder=holder))

    def lose(self, holder: str) -> None:
        """Let others claim what somebody who is gone had claimed."""
        self._holders = {what: who for what, who in self._holders.items() if who != holder}


MOST_KEPT: Final = (
    1000  # of a kind: tickets between webhook and stream, conversations of lost lines
)


@dataclass(frozen=True, slots=True)
class _Kept:
    until_s: float
    value: Any


class KeyValueStore:
    """Things by the token that fetches them; each token works once.

    What stands before a token's last space is its kind. Each kind has room for so many: how far
    every call of the last hours has come is kept here, too, and a call that goes on must not give
    way to that.
    """

    def __init__(self, *, clock: Callable[[], float], most: int = MOST_KEPT) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[str, dict[str, _Kept]] = {}  # by kind

    def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Keep a value; the oldest of its kind gives way when there are too many."""
        now, kind = self._clock(), _kind(token)
        kept = self._kept.get(kind, {})
        kept.pop(token, None)  # so that it is the latest again
        if kept and (len(kept) >= self._most or _first(kept).until_s <= now):
            kept = {key: each for key, each in kept.items() if each.until_s > now}
        while len(kept) >= self._most:
            del kept[next(iter(kept))]
        kept[token] = _Kept(now + for_s, value)
        self._kept[kind] = kept

    def take(self, token: str) -> Any:
        """Return the value of a token, once; None when there is none, or it is too old."""
        kept = self._kept.get(_kind(token), {}).pop(token, None)
        return kept.value if kept and kept.until_s > self._clock() else None

    def serve(self, wire: Wire) -> None:
        """Keep and give out what the other end of a line asks for."""

        async def keep(said: Mapping[str, Any]) -> None:
            self.keep(said["token"], said["value"], for_s=said["for_s"])

        async def take(said: Mapping[str, Any]) -> Any:
            return self.take(said["token"])

        wire.answer("keep", keep)
        wire.answer("take", take)


def _first(kept: Mapping[str, _Kept]) -> _Kept:
    return next(iter(kept.values()))


def _kind(token: str) -> str:
    return token.rpartition(" ")[0]


UNSEEN_ENTRIES: Final = 2_000  # of other processes, for one who watches; then the oldest is lost

Entries = AsyncIterator[Mapping[str, Any]]


class StreamedViews:
    """A worker's side: streams its own view out, and hands in what others stream to it."""

    def __init__(self, wire: Wire) -> None:
        """Stream over `wire`, the line to the supervisor."""
        self._wire = wire
        self._watchers: dict[int, asyncio.Queue[Mapping[str, Any]]] = {}
        self._numbers = count(1)
        self._own: Callable[[], Entries] | None = None
        self._streams: dict[tuple[str, int], asyncio.Task[None]] = {}
        wire.on("entry", self._hear)
        wire.on("stream", self._stream)

    def share(self, own: Callable[[], Entries]) -> None:
        """Stream this view, which yields the recent entries first, to whoever watches elsewhere."""
        self._own = own

    async def watch(self) -> Entries:
        """Yield what happens in the other workers, until the watcher goes."""
        number = next(self._numbers)
        queue = self._watchers[number] = asyncio.Queue(UNSEEN_ENTRIES)
        self._wire.tell("watch", watcher=number, on=True)
        try:
            while True:
                yield await queue.get()
        finally:
            del self._watchers[number]
            self._wire.tell("watch", watcher=number, on=False)

    def _hear(self, message: Mapping[str, Any]) -> None:
        queue = self._watchers.get(message["watcher"])
        if queue is None:
            return
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(message["entry"])

    def _stream(self, message: Mapping[str, Any]) -> None:
        to = (message["to"], message["watcher"])
        if old := self._streams.pop(to, None):
            old.cancel()
        if message["on"] and self._own is not None:
            stream = self._pour(self._own(), *to)
            self._streams[to] = asyncio.get_running_loop().create_task(stream, name="stream")

    async def _pour(self, entries: Entries, peer: str, watcher: int) -> None:
        async for entry in entries:
            self._wire.tell("entry", to=peer, watcher=watcher, entry=entry)
            await asyncio.sleep(0)  # the recent ones are many, and calls come first


class ViewRelay:
    """The supervisor's side: knows who watches where, and passes entries on."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        """Relay between `workers`, by name; the mapping is kept up to date by its owner."""
        self._workers = workers
        self._watchers: set[tuple[str, int]] = set()  # at which worker, and which of its own

    def receive(self, worker: Worker) -> None:
        """Have a worker that is ready stream to those who watch already."""
        worker.wire.on("watch", lambda said: self._watch(worker.name, said["watcher"], said["on"]))
        worker.wire.on("entry", self._pass_on)
        for name, watcher in self._watchers:
            worker.wire.tell("stream", to=name, watcher=watcher, on=True)

    def lose(self, worker: Worker) -> None:
        """Forget who watched at a worker that is gone."""
        for name, watcher in tuple(self._watchers):
            if name == worker.name:
                self._watch(name, watcher, False)  # noqa: FBT003 - as below

    def _watch(self, name: str, watcher: int, on: bool) -> None:  # noqa: FBT001 - as it is told
        (self._watchers.add if on else self._watchers.discard)((name, watcher))
        for worker in self._workers.values():
            if worker.name != name and worker.ready.is_set():
                worker.wire.tell("stream", to=name, watcher=watcher, on=on)

    def _pass_on(self, said: Mapping[str, Any]) -> None:
        if watched_at := self._workers.get(said["to"]):
            watched_at.wire.tell("entry", watcher=said["watcher"], entry=said["entry"])


Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]
NO_LIMIT: Final = 1_000_000  # seats; the switchboard has its own
OWN: Final = 0  # the number of the only process of a house


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeat:
    """A seat that is held for a call that is coming."""

    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSeat:
    """There is none, and why: `full`, `busy` or `draining`."""

    reason: str


class KeyValues(Protocol):
    """Where a process leaves what any process of the house may take."""

    async def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Leave something: it can be taken once, within this time."""
        ...

    async def take(self, token: str) -> Any:
        """Return what was left; None: nothing, or it was taken, or it is too old."""
        ...


class Peers(Protocol):
    """The processes of the house, as one of them asks them."""

    async def claim(self, what: str) -> bool:
        """Return whether this process is the first to claim this, of all that live."""
        ...

    def give_back(self, what: str) -> None:
        """Let any process claim this again, this one too."""
        ...

    def answer(self, what: str, answer: Answer) -> None:
        """Answer what other processes of the house ask of this one."""
        ...

    async def ask(self, name: str, what: str, /, **fields: Any) -> Any:
        """Return what the process of this name answers; raises `LookupError`: it does not."""
        ...

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Return what every process answers, this one first."""
        ...


class WorkerPool(Protocol):
    """All processes behind one port, as one of them sees it."""

    @property
    def views(self) -> StreamedViews | None:
        """What happens in the other processes; None: there are none."""
        ...

    @property
    def shelf(self) -> KeyValues:
        """Where tickets and conversations are left."""
        ...

    @property
    def peers(self) -> Peers:
        """What the processes know, each for itself."""
        ...

    @property
    def id(self) -> str:
        """A random text that all its processes share, and no other server has."""
        ...

    @property
    def name(self) -> str:
        """Which of them this is; empty: there are no others."""
        ...

    @property
    def why_closed(self) -> str:
        """The name of the reason why the house takes no call now, or nothing."""
        ...

    @property
    def room(self) -> int:
        """How many more calls the house could take, as far as is known here."""
        ...

    @property
    def leads(self) -> bool:
        """Whether what is done once for the house, such as rendering clips, is done here."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether nobody in the house is in a call."""
        ...

    async def admit(self, call: str = "") -> HeldSeat | NoSeat:
        """Hold a seat for a call that is coming; one of the same name keeps the seat it has."""
        ...

    def begin(self, seat: int) -> None:
        """Say that the call has begun in this process."""
        ...

    def end(self, seat: int) -> None:
        """Give the seat back."""
        ...


@contextmanager
def take_seat(pool: WorkerPool, seat: int) -> Iterator[None]:
    """Have the call on its seat while the block runs."""
    pool.begin(seat)
    try:
        yield
    finally:
        pool.end(seat)


class OwnShelf:
    """The shelf of the only process."""

    def __init__(self, clock: Clock) -> None:
        self._room = KeyValueStore(clock=clock)

    async def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Keep it here."""
        self._room.keep(token, value, for_s=for_s)

    async def take(self, token: str) -> Any:
        """Take what was kept here."""
        return self._room.take(token)


class NoPeers:
    """The only process asks itself."""

    def __init__(self) -> None:
        self._claims = Claims()
        self._answers: dict[str, Answer] = {}

    async def claim(self, what: str) -> bool:
        """Claim it here."""
        return self._claims.claim(what, holder="")

    def give_back(self, what: str) -> None:
        """Let it be claimed here again."""
        self._claims.give_back(what, holder="")

    def answer(self, what: str, answer: Answer) -> None:
        """Answer it when this process itself asks."""
        self._answers[what] = answer

    async def ask(self, name: str, what: str, /, **fields: Any) -> Any:
        """Find nobody: there is no other process."""
        raise LookupError(f"{name} is no process of this house")

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Ask this process alone."""
        return [await self._answers[what](fields)]


class SingleProcess:
    """A house of one process."""

    name = ""
    views = None
    leads = True

    def __init__(
        self,
        *,
        why_closed: Callable[[], str],
        clock: Clock,
        seats: HouseSeats | None = None,
    ) -> None:
        """Let calls in as `why_closed` and the load allow; without `seats` no load counts."""
        self._why = why_closed
        self._clock = clock
        self.id = secrets.token_hex(8)
        self.shelf = OwnShelf(clock)
        self.peers = NoPeers()
        self.seats = seats or HouseSeats(seats=NO_LIMIT, cores=1, measured=False)
        self.seats.open(OWN, clock())

    @property
    def why_closed(self) -> str:
        """Return what the switchboard or the load says."""
        return self._why() or self.seats.why_closed(self._clock())

    @property
    def room(self) -> int:
        """Return what the seats and the load say."""
        return self.seats.room(self._clock())

    @property
    def quiet(self) -> bool:
        """Return whether no call is in progress."""
        return not self.seats.taken

    def report(self, cores: float, lag_s: float) -> None:
        """Report how many cores are in use and how late the loop is, in seconds."""
        self.seats.heed(OWN, cores=cores, lag_s=lag_s, now=self._clock())

    async def admit(self, call: str = "") -> HeldSeat | NoSeat:
        """Hold a seat here."""
        seat = None if self._why() else self.seats.admit(self._clock(), call=call)
        return NoSeat(reason=self.why_closed or "full") if seat is None else HeldSeat(seat=seat)

    def begin(self, seat: int) -> None:
        """Count the call."""
        self.seats.begin(seat, OWN, self._clock())

    def end(self, seat: int) -> None:
        """Count it no more."""
        self.seats.end(seat, self._clock())
