"""The worker pool as one process sees it: seats, shared values, claims and peer processes."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Final, Protocol

from bot.workers.admission_rules import PoolAdmission
from bot.workers.saved_values import SavedValues
from bot.workers.wire import Wire
from bot.workers.worker_process import Worker
from runtime.clock import Clock
from transports.pool import (
    ASK_PROCESS_S,
    Answer,
    CallPool,
    HeldSeat,
    KeepOutcome,
    KeyValues,
    NoSeat,
    TakenUp,
)

MAX_CLAIMS: Final = 10_000  # about the rooms of a day; the least recently used claim is dropped


class WiderClaims(Protocol):
    """Claims that hold on other machines as well."""

    async def claim(self, what: str) -> KeepOutcome:
        """Claim this on all machines.

        Returns `REFUSED` if another machine has it, and `KEPT_HERE` if another one may have it too.
        """
        ...

    def give_back(self, what: str) -> None:
        """Release a claim; does nothing if this machine does not hold it."""
        ...


class Claims:
    """Claims on work that only one worker may do, such as answering a call that all can see."""

    def __init__(self, *, most: int = MAX_CLAIMS, shared: "WiderClaims | None" = None) -> None:
        """Hold no claims.

        Args:
            most: How many are kept; then the least recently used one is dropped.
            shared: The claims that hold on all machines; `None` if there is only this one.
        """
        self._most, self._shared = most, shared
        self._holders: dict[str, str] = {}

    @property
    def is_shared(self) -> bool:
        """Whether claims may hold on other machines as well."""
        return self._shared is not None

    def claim(self, what: str, *, holder: str) -> bool:
        """Claim the work; return False if any holder, even this one, has it.

        A refused claim makes the existing one the newest; beyond `most`, the oldest is dropped.
        """
        if what in self._holders:
            # Rooms of calls in progress are claimed again every second, so they stay the newest.
            self._holders[what] = self._holders.pop(what)
            return False
        while len(self._holders) >= self._most:
            del self._holders[next(iter(self._holders))]
        self._holders[what] = holder
        return True

    def give_back(self, what: str, *, holder: str) -> None:
        """Allow a new claim, on all machines; does nothing unless this holder has it."""
        if self._holders.get(what) == holder:
            del self._holders[what]
            if self._shared:
                self._shared.give_back(what)

    def serve(self, wire: Wire, *, holder: str) -> None:
        """Answer one worker's claims over its wire, and accept their release, as `holder`."""

        async def claim(message: Mapping[str, Any]) -> KeepOutcome:
            """Claim something in this pool, and perhaps on all machines; undo it if that fails."""
            what = message["what"]
            if not self.claim(what, holder=holder):
                return KeepOutcome.REFUSED
            if self._shared is None or not message["everywhere"]:
                return KeepOutcome.KEPT_HERE
            outcome = KeepOutcome.REFUSED
            try:
                outcome = await self._shared.claim(what)
            finally:
                if not outcome:  # or the worker has revoked its request
                    self.give_back(what, holder=holder)
            return outcome

        # Revocable: a worker that no longer waits for the reply must not get the claim, because it
        # would never give it back.
        wire.answer("claim", claim, revocable=True)
        wire.on("give_back", lambda message: self.give_back(message["what"], holder=holder))

    def lose(self, holder: str) -> None:
        """Release the claims of a worker that is gone, on all machines."""
        for what in [what for what, by in self._holders.items() if by == holder]:
            self.give_back(what, holder=holder)


MAX_EPOCHS: Final = 10_000  # about the calls of a day; the least recently stored is dropped
MAX_KEPT: Final = 1000  # per kind: tickets between webhook and stream, states of lost calls
FAIR: Final[Mapping[str, Sequence[str]]] = {"session": ("role", "network")}
"""By kind, the fields of a value that name its owner: the owner of most values loses the oldest."""


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float  # when the value expires
    value: Any


class KeyValueStore:
    """Values by token; `take` returns each once.

    The part of a token before its last space is its kind. Each kind has its own limit: the store
    also holds the resume state of calls, and other kinds must not displace it.
    """

    is_away = False  # as `SharedValues` may be

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        most: int = MAX_KEPT,
        saved: SavedValues | None = None,
    ) -> None:
        """Start with the values in `saved`, if given; blocks while it reads them."""
        self._clock = clock
        self._most = most
        self._saved = saved
        self._kept: dict[str, dict[str, _Kept]] = {}  # by kind
        self._epochs: dict[str, int] = {}
        for token, (left_s, value) in (saved.load() if saved else {}).items():
            self._kept.setdefault(kind_of(token), {})[token] = _Kept(clock() + left_s, value)

    async def keep(
        self,
        token: str,
        value: Any,
        *,
        for_s: float,
        moments: Sequence[str] = (),
        epoch: int | None = None,
    ) -> KeepOutcome:
        """Store a value for `for_s`, and save its kind if that has a file.

        A full kind loses an old value (`FAIR`). The value is refused if the token has a later epoch
        than `epoch`, which otherwise becomes the token's. `moments` is not needed: all readers of
        this store have the same clock.
        """
        if epoch is not None and not self.note_epoch(token, epoch):
            return KeepOutcome.REFUSED
        now, kind = self._clock(), kind_of(token)
        kept = self._kept.get(kind, {})
        kept.pop(token, None)  # so that it becomes the newest
        if kept and (len(kept) >= self._most or _oldest(kept).until <= now):
            kept = {key: item for key, item in kept.items() if item.until > now}
        while len(kept) >= self._most:
            del kept[_least_fair(kept, kind)]
        kept[token] = _Kept(now + for_s, value)
        self._kept[kind] = kept
        await self._save_kind(kind)
        return KeepOutcome.KEPT

    async def take_up(self, token: str, *, epoch: int | None = None) -> TakenUp | None:
        """Raise a token's epoch by 1; return that and its value, which stays and may be `None`.

        Returns `None`, and changes nothing, if `epoch` is given and is not the token's.
        """
        current = self._epochs.get(token, 0)
        if epoch not in (None, current):
            return None
        self.note_epoch(token, current + 1)
        return TakenUp(epoch=current + 1, value=await self.read(token))

    async def epoch(self, token: str) -> int:
        """Return a token's epoch; 0 if it has none."""
        return self._epochs.get(token, 0)

    def note_epoch(self, token: str, epoch: int) -> bool:
        """Make this the token's epoch; return False if it has a later one.

        Beyond `MAX_EPOCHS`, the least recently noted epoch is forgotten and counts as 0.
        """
        if self._epochs.get(token, 0) > epoch:
            return False
        self._epochs.pop(token, None)  # so that it becomes the newest
        while len(self._epochs) >= MAX_EPOCHS:
            del self._epochs[next(iter(self._epochs))]
        self._epochs[token] = epoch
        return True

    async def take(self, token: str) -> Any:
        """Return the value of a token, once; `None` if there is none or it has expired."""
        kept = self._kept.get(kind_of(token), {}).pop(token, None)
        return kept.value if kept and kept.until > self._clock() else None

    async def read(self, token: str) -> Any:
        """Return the value of a token and keep it; `None` if there is none or it has expired."""
        kept = self._kept.get(kind_of(token), {}).get(token)
        return kept.value if kept and kept.until > self._clock() else None

    async def read_all(self, kind: str) -> Mapping[str, Any]:
        """Return the values of a kind that have not expired, by token, the newest last."""
        now, kept = self._clock(), self._kept.get(kind, {})
        return {token: item.value for token, item in kept.items() if item.until > now}

    async def drop(self, token: str) -> None:
        """Remove a value; if `token` is a kind, all its values."""
        if self._kept.pop(token, None) is None:
            self._kept.get(kind_of(token), {}).pop(token, None)
        await self._save_kind(kind_of(token) or token)

    async def _save_kind(self, kind: str) -> None:
        """Save the values of a kind, if it is the one that outlives the process."""
        if self._saved and kind == self._saved.kind:
            await self._saved.save(lambda: self._values_with_time_left(kind))

    def _values_with_time_left(self, kind: str) -> Mapping[str, tuple[float, Any]]:
        """Return how long each value of a kind is still valid, in seconds, and the value."""
        now, kept = self._clock(), self._kept.get(kind, {})
        return {key: (item.until - now, item.value) for key, item in kept.items()}


def serve_values(
    values: KeyValues, wire: Wire, *, on_keep: Callable[[Mapping[str, Any]], None]
) -> None:
    """Answer the requests of one worker over its wire; pass each `keep` to `on_keep` first."""

    async def keep(asked: Mapping[str, Any]) -> KeepOutcome:
        """Report the request to `on_keep`, then keep the value; return where it is kept."""
        on_keep(asked)
        return await values.keep(
            asked["token"],
            asked["value"],
            for_s=asked["for_s"],
            moments=asked["moments"],
            epoch=asked["epoch"],
        )

    async def take_up(asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        taken = await values.take_up(asked["token"], epoch=asked["epoch"])
        return asdict(taken) if taken else None

    wire.answer("keep", keep)
    wire.answer("take_up", take_up)
    wire.answer("epoch", lambda it: values.epoch(it["token"]))
    wire.answer("take", lambda it: values.take(it["token"]))
    wire.answer("read", lambda it: values.read(it["token"]))
    wire.answer("read_all", lambda it: values.read_all(it["kind"]))
    wire.answer("drop", lambda it: values.drop(it["token"]))


def _oldest(kept: Mapping[str, _Kept]) -> _Kept:
    return next(iter(kept.values()))


def _least_fair(kept: Mapping[str, _Kept], kind: str) -> str:
    """Return the token of the oldest value of the owner with the most, by the fields in `FAIR`."""
    tokens: Iterable[str] = kept
    for name in FAIR.get(kind, ()):
        owners = {token: str(kept[token].value.get(name)) for token in tokens}
        largest = Counter(owners.values()).most_common(1)[0][0]
        tokens = [token for token, owner in owners.items() if owner == largest]
    return next(iter(tokens))


def kind_of(token: str) -> str:
    """Return the kind of a token; empty if the token is itself a kind."""
    return token.rpartition(" ")[0]


MAX_QUEUED_ENTRIES: Final = 2_000  # for each watcher; then the oldest is dropped

Entries = AsyncIterator[Mapping[str, Any]]


class StreamedViews:
    """A worker's side of the live view: sends its own entries, and receives those of others."""

    def __init__(self, wire: Wire) -> None:
        """Stream over `wire`, the connection to the supervisor."""
        self._wire = wire
        self._watchers: dict[int, asyncio.Queue[Mapping[str, Any]]] = {}
        self._numbers = count(1)
        self._own: Callable[[], Entries] | None = None
        # By the watcher's worker and number.
        self._streams: dict[tuple[str, int], asyncio.Task[None]] = {}
        wire.on("entry", self._queue_entry)
        wire.on("stream", self._start_or_stop_stream)

    def share(self, own: Callable[[], Entries]) -> None:
        """Stream what `own` yields to each watcher in another worker that begins from now on."""
        self._own = own

    async def watch(self) -> Entries:
        """Yield the entries of the other workers; their streams stop when this is closed.

        A reader that is `MAX_QUEUED_ENTRIES` behind loses the oldest entry.
        """
        number = next(self._numbers)
        queue = self._watchers[number] = asyncio.Queue(MAX_QUEUED_ENTRIES)
        self._wire.send("watch", watcher=number, on=True)
        try:
            while True:
                yield await queue.get()
        finally:
            del self._watchers[number]
            self._wire.send("watch", watcher=number, on=False)

    def _queue_entry(self, message: Mapping[str, Any]) -> None:
        """Queue an entry for its watcher, unless that has gone; a full queue loses its oldest."""
        queue = self._watchers.get(message["watcher"])
        if queue is None:
            return
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(message["entry"])

    def _start_or_stop_stream(self, message: Mapping[str, Any]) -> None:
        """Stop a watcher's stream, if there is one; start a new one if the message says `on`."""
        watcher = (message["to"], message["watcher"])
        if old := self._streams.pop(watcher, None):
            old.cancel()
        if message["on"] and self._own is not None:
            stream = self._send_entries(self._own(), *watcher)
            self._streams[watcher] = asyncio.get_running_loop().create_task(stream, name="stream")

    async def _send_entries(self, entries: Entries, peer: str, watcher: int) -> None:
        async for entry in entries:
            self._wire.send("entry", to=peer, watcher=watcher, entry=entry)
            await asyncio.sleep(0)  # let calls run in between: there may be many recent entries


class ViewRelay:
    """The supervisor's side of the live view: relays entries to the watchers."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        """Relay between `workers`, by name; the owner of the mapping keeps it up to date."""
        self._workers = workers
        self._watchers: set[tuple[str, int]] = set()  # each watcher's worker and number

    def receive(self, worker: Worker) -> None:
        """Include a worker that has become ready; it begins to stream to the existing watchers."""
        worker.wire.on(
            "watch",
            lambda message: self._set_watching(worker.name, message["watcher"], message["on"]),
        )
        worker.wire.on("entry", self._pass_on)
        for name, watcher in self._watchers:
            worker.wire.send("stream", to=name, watcher=watcher, on=True)

    def lose(self, worker: Worker) -> None:
        """Forget the watchers in a worker that is gone."""
        for name, watcher in tuple(self._watchers):
            if name == worker.name:
                self._set_watching(name, watcher, False)  # noqa: FBT003 - as below

    def _set_watching(self, name: str, watcher: int, on: bool) -> None:  # noqa: FBT001 - as in the message
        """Add or remove a worker's watcher, and make the others start or stop streaming to it."""
        if on:
            self._watchers.add((name, watcher))
        else:
            self._watchers.discard((name, watcher))
        for worker in self._workers.values():
            if worker.name != name and worker.ready.is_set():
                worker.wire.send("stream", to=name, watcher=watcher, on=on)

    def _pass_on(self, message: Mapping[str, Any]) -> None:
        if worker := self._workers.get(message["to"]):
            worker.wire.send("entry", watcher=message["watcher"], entry=message["entry"])


NO_LIMIT: Final = 1_000_000  # seats; the switchboard has its own limit
OWN_NUMBER: Final = 0  # the number of the only process


class WorkerPool(CallPool, Protocol):
    """All processes that share one port, as one of them sees them."""

    @property
    def views(self) -> StreamedViews | None:
        """The live views of the other processes; `None` if there are none."""
        ...

    @property
    def why_closed(self) -> str:
        """Why the pool takes no call now; empty if it does."""
        ...

    @property
    def room(self) -> int:
        """How many more calls the pool could take, as far as this process knows."""
        ...

    @property
    def store_away(self) -> bool:
        """Whether the store that several machines share is away."""
        ...

    @property
    def configuration(self) -> str:
        """The fingerprint of the configuration for new calls; empty without a supervisor."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether the pool has no call in progress."""
        ...

    async def take_turn(self, name: str, *, per_s: float) -> float:
        """Count a request of `name`, which all processes together may send `per_s` times a second.

        Returns 0 if it may be sent now. Otherwise it is not counted, and has to wait for as many
        seconds as are returned.
        """
        ...


class NoPeers:
    """The peers of a single process, which has only itself to ask."""

    def __init__(self) -> None:
        self._claims = Claims()
        self._answers: dict[str, Answer] = {}

    async def claim(self, what: str, *, everywhere: bool = False) -> KeepOutcome:
        """Claim work for this process; refused if it already has it."""
        is_ours = self._claims.claim(what, holder="")
        return KeepOutcome.KEPT_HERE if is_ours else KeepOutcome.REFUSED

    def give_back(self, what: str) -> None:
        """Allow a new claim."""
        self._claims.give_back(what, holder="")

    def answer(self, what: str, answer: Answer) -> None:
        """Register the answer to a question."""
        self._answers[what] = answer

    async def ask(
        self, name: str, what: str, /, *, within_s: float = ASK_PROCESS_S, **fields: Any
    ) -> Any:
        """Raise `LookupError`: there is no other process."""
        raise LookupError(f"{name} is not a process of this server")

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Return this process's own answer, which must have been registered."""
        return [await self._answers[what](fields)]


class SingleProcess:
    """A pool of one process."""

    name = ""
    views = None
    leads = True
    store_away = claims_everywhere = False
    configuration = ""

    def __init__(
        self,
        *,
        why_closed: Callable[[], str],
        clock: Clock,
        seats: PoolAdmission | None = None,
    ) -> None:
        """Admit calls unless the switchboard or the seats refuse them.

        Args:
            why_closed: Returns why the switchboard takes no call; empty if it does.
            clock: The monotonic clock.
            seats: Limits the calls; by default, neither their number nor the load does.
        """
        self._why_switchboard_closed = why_closed
        self._clock = clock
        self.id = secrets.token_hex(8)
        self.key_values = KeyValueStore(clock=clock)
        self.peers = NoPeers()
        self.seats = seats or PoolAdmission(seats=NO_LIMIT, cores=1, measured=False)
        self.seats.open(OWN_NUMBER, clock())

    @property
    def why_closed(self) -> str:
        """Why no call is taken, by the switchboard or the load; empty if one is."""
        return self._why_switchboard_closed() or self.seats.why_closed(self._clock())

    @property
    def room(self) -> int:
        """How many more calls the seats and the load allow."""
        return self.seats.room(self._clock())

    @property
    def quiet(self) -> bool:
        """Whether no call is in progress."""
        return not self.seats.taken

    def report(self, cores: float, lag_s: float) -> None:
        """Report the cores in use and the event loop's lag in seconds."""
        self.seats.note_load(OWN_NUMBER, cores=cores, lag_s=lag_s, now=self._clock())

    async def admit(
        self, call: str = "", *, address: str = "", goes_on: bool = False
    ) -> HeldSeat | NoSeat:
        """Reserve a seat in this process, or say why there is none."""
        if reason := self._why_switchboard_closed():
            return NoSeat(reason=reason)
        now = self._clock()
        seat = self.seats.admit(now, call=call, address=address, goes_on=goes_on)
        if seat is not None:
            return HeldSeat(seat=seat)
        return NoSeat(reason=self.seats.why_closed(now, address) or "full")

    async def take_turn(self, name: str, *, per_s: float) -> float:
        """Return 0 and count nothing: there is no other process to share the rate with."""
        del name, per_s
        return 0.0

    def begin(self, seat: int) -> None:
        """Record that the call of a seat has begun."""
        self.seats.begin(seat, OWN_NUMBER, self._clock())

    def end(self, seat: int) -> None:
        """Free the seat of a call that has ended."""
        self.seats.end(seat, self._clock())
