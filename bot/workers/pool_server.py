"""The supervisor's side of the pool: seats, shared values, claims, limits and messages."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from bot.workers.admission_rules import PoolAdmission
from bot.workers.interrupted_calls import InterruptedCalls
from bot.workers.lease_rules import Leases
from bot.workers.pool import Claims, KeyValueStore, ViewRelay, serve_values
from bot.workers.seats import SeatTable
from bot.workers.share_rules import LeakyBucket, Share
from bot.workers.wire import WireError
from bot.workers.worker_process import Worker
from configuration.settings import Settings
from fallbacks.limits import MINUTE_S
from runtime.clock import Clock
from transports.pool import ASK_PROCESS_S, Answer

if TYPE_CHECKING:
    from bot.workers.shared_claims import SharedClaims
    from bot.workers.shared_shares import SharedShares
    from bot.workers.shared_values import SharedValues

MAX_PENDING: Final = 100  # events kept until a worker can emit them; then the oldest is dropped


class PoolMessages:
    """Sends messages to all workers, and events to any one worker, which emits them."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        """Send to `workers`, by name; the owner of the mapping keeps it up to date."""
        self._workers = workers
        self._pending: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=MAX_PENDING)

    def broadcast(self, what: str, **fields: Any) -> None:
        """Send a message to every worker, ready or not; one that cannot take it misses it."""
        for worker in self._workers.values():
            worker.wire.send(what, **fields)

    def send_to_one(self, what: str, **fields: Any) -> None:
        """Make one worker emit an event of the supervisor; if none is ready, the event waits.

        Workers that are leaving are asked last.
        """
        for worker in sorted(self._workers.values(), key=lambda worker: worker.leaving):
            if worker.ready.is_set() and worker.wire.send(what, **fields):
                return
        self._pending.append((what, fields))

    def catch_up(self, worker: Worker) -> None:
        """Make a worker that has become ready emit the waiting events."""
        while self._pending:
            what, fields = self._pending.popleft()
            worker.wire.send(what, **fields)


SHARE_EVERY_S: Final = 0.2
AT_ONCE: Final = 4  # requests for shares: half of the connections to the store


class RateLimit:
    """A limit on the rate of requests of all workers, and of all machines of a store.

    While the store is away, this machine's part of the rate applies, from a full bucket.
    """

    def __init__(
        self,
        name: str,
        rate: tuple[float, float],
        *,
        clock: Clock,
        shares: "SharedShares | None" = None,
        machines: Callable[[], int] = lambda: 1,
    ) -> None:
        """Limit the requests of `name` to a burst and a rate per second.

        `shares` asks the store; `None` without one. `machines` returns how many share the rate.
        """
        self.rate, self._machines = rate, machines
        burst, per_s = rate
        self._name, self._clock, self._shared = name, clock, shares
        self._bucket = LeakyBucket(capacity=burst, per_s=per_s, at=clock())
        self._part: LeakyBucket | None = None  # while the store is away
        self._full_until = 0.0  # by the store's last answer
        self._turn = asyncio.Lock()

    @property
    def is_full(self) -> bool:
        """Whether a request would have to wait; with a store, by its last answer."""
        now = self._clock()
        if self._shared and not self._part:
            return now < self._full_until
        return (self._part or self._bucket).wait_s(now) > 0

    async def wait(self) -> None:
        """Wait until a request may be sent, and count it; first come, first served."""
        async with self._turn:
            while wait_s := await self.take():  # noqa: ASYNC110 - for as long as Redis says
                await asyncio.sleep(wait_s)

    async def take(self) -> float:
        """Count a request and return 0; else return after how many seconds to try again."""
        if self._shared is None:
            return self._bucket.take(self._clock())
        try:
            wait_s = await self._shared.take(self._name, self._bucket)
        except LookupError:  # told by the link
            return self._take_part(self._clock())
        self._part, self._full_until = None, self._clock() + wait_s
        return wait_s

    def _take_part(self, now: float) -> float:
        """Take from this machine's part of the rate, whose bucket is full at the first request."""
        if self._part is None:
            machines, whole = self._machines(), self._bucket
            capacity, per_s = max(1, whole.capacity // machines), whole.per_s / machines
            self._part = LeakyBucket(capacity=capacity, per_s=per_s, level=capacity, at=now)
        return self._part.take(now)


class Quotas:
    """Divides the limits of concurrency and of request rate among the workers.

    With a store, a limit is that of all its machines: what is divided here is this machine's share.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        shares: "SharedShares | None" = None,
        machines: Callable[[], int] = lambda: 1,
    ) -> None:
        """Divide the limits in `settings`.

        `shares` asks the store for our share, `None` without a store; `machines` returns how many
        machines share the limits.
        """
        self._clock, self._shared, self._machines = clock, shares, machines
        self._leases: dict[str, Leases] = {}
        self._shares: dict[str, Share] = {}
        self._paces: dict[str, RateLimit] = {}
        self._workers: dict[str, Worker] = {}
        self.renew(settings)

    def renew(self, settings: Settings) -> None:
        """Apply the limits of a new configuration, numbers of places at the next `divide`.

        Existing leases stay, also those of rungs that are no longer limited. A rate that has
        changed begins with an empty bucket.
        """
        rates: dict[str, tuple[float, float]] = {}  # by name: the burst, and the rate per second
        for _, rung in settings.stages.rungs():
            if rung.limits.concurrent is not None:
                self._shares.setdefault(rung.name, Share(0)).limit = rung.limits.concurrent
                self._leases.setdefault(rung.name, Leases(0)).limit = rung.limits.concurrent
            if per_minute := getattr(rung.limits, "per_minute", None):
                rates[rung.name] = (per_minute, per_minute / MINUTE_S)
        for name, rate in rates.items():
            self._limit_rate(name, rate)

    def receive(self, worker: Worker) -> None:
        """Lease places to a worker that has become ready, and pace its requests to providers."""
        self._workers[worker.name] = worker
        for leases in self._leases.values():
            leases.join(worker.name)
        worker.wire.on("places", lambda message: self._note_use(worker, message))
        # Revocable: a request that has given up must not use up a place in the queue.
        worker.wire.answer("pace", self._wait_for_pace, revocable=True)
        worker.wire.answer("turn", self._take_turn)
        self.divide()

    def lose(self, worker: Worker) -> None:
        """Take back the places of a worker that is gone."""
        self._workers.pop(worker.name, None)
        for leases in self._leases.values():
            leases.leave(worker.name)
        self.divide()

    async def share(self) -> None:
        """Ask the store for our shares every `SHARE_EVERY_S`, and divide them, until cancelled.

        Returns at once without a store.
        """
        task, shared = asyncio.current_task(), self._shared
        at_once = asyncio.Semaphore(AT_ONCE)
        # The client may swallow a cancellation that arrives while it reads.
        while shared and not (task and task.cancelling()):
            # One after the other, they would take longer than `OWN_S` while it hangs.
            await asyncio.gather(
                *(
                    _renew_share(shared, name, self._shares[name], leases, self._clock, at_once)
                    for name, leases in self._leases.items()
                )
            )
            self.divide()
            await asyncio.sleep(SHARE_EVERY_S)

    def divide(self) -> None:
        """Divide the places again, with a store only our current share of them.

        Each worker whose number of places has changed is sent the new one.
        """
        for rung, leases in self._leases.items():
            if self._shared:
                leases.limit = self._shares[rung].places(self._clock())
            for name, message in leases.divide().items():
                wire = self._workers[name].wire
                wire.send("lease", rung=rung, places=message.places, number=message.number)

    def leased_until(self) -> Mapping[str, float]:
        """Return by rung until when our share may be used (monotonic); empty without a store."""
        return {name: share.until for name, share in self._shares.items() if self._shared}

    def full_paces(self) -> list[str]:
        """Return the rungs whose request rate is used up for now."""
        return [name for name, pace in self._paces.items() if pace.is_full]

    def _note_use(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """Record how many places a worker uses and wants, and divide the limits again."""
        for rung, (number, inside, wanted) in message["rungs"].items():
            if leases := self._leases.get(rung):
                leases.note_use(worker.name, number=number, inside=inside, wanted=wanted)
        self.divide()

    def _limit_rate(self, name: str, rate: tuple[float, float]) -> "RateLimit":
        """Return the limit of a name, or a new one with an empty bucket if its rate differs."""
        if name not in self._paces or self._paces[name].rate != rate:
            self._paces[name] = RateLimit(
                name, rate, clock=self._clock, shares=self._shared, machines=self._machines
            )
        return self._paces[name]

    async def _take_turn(self, message: Mapping[str, Any]) -> float:
        """Return 0 if the worker may send a request now, which counts; else the seconds to wait."""
        return await self._limit_rate(message["name"], (1, message["per_s"])).take()

    async def _wait_for_pace(self, message: Mapping[str, Any]) -> None:
        """Reply once a request to the rung may be sent; at once if its rate is not limited."""
        pace = self._paces.get(message["rung"])
        if pace is not None:
            await pace.wait()


async def _renew_share(
    shared: "SharedShares",
    name: str,
    share: Share,
    leases: Leases,
    clock: Clock,
    at_once: asyncio.Semaphore,
) -> None:
    """Ask the store for our share of a limit; record the answer, or that there was none."""
    async with at_once:
        asked_at = clock()
        try:
            places, machines = await shared.places(
                name, limit=share.limit, held=leases.held(), wanted=leases.wanted()
            )
        except LookupError:  # told by the link
            share.note_away(clock())
        else:
            share.grant(places, machines=machines, asked_at=asked_at)


STALL_S: Final = 0.4  # chosen: two of the supervisor's rounds; a longer gap means that it stalled


class PoolServer:
    """Keeps the list of workers and answers their requests.

    Attributes:
        workers: The workers by name.
        messages: Sends messages to all workers, and events for one of them to emit.
        seats: Admits calls.
        interrupted: The calls of lost workers.
        answers: Handlers of further requests by name; to be filled before the first worker.
        configuration: The fingerprint of the configuration for new workers.
        may_move: Returns whether calls should be moved to other machines.
    """

    def __init__(
        self,
        admission: PoolAdmission,
        quotas: Quotas,
        *,
        clock: Clock,
        values: "KeyValueStore | SharedValues",
        claims: "SharedClaims | None" = None,
    ) -> None:
        """Begin without workers, claims or answers; `receive` adds each worker."""
        self.workers: dict[str, Worker] = {}
        self._admission = admission
        self._quotas = quotas
        self._clock = clock
        self._values = values
        self._claims = Claims(shared=claims)
        self._views = ViewRelay(self.workers)
        self.messages = PoolMessages(self.workers)
        self.seats = SeatTable(admission, self.workers, clock=clock)
        self.interrupted = InterruptedCalls(values, clock=clock)
        self.answers: dict[str, Answer] = {}
        self.configuration = ""
        self.may_move: Callable[[], bool] = lambda: False
        self._hung_checked_at = clock()  # the last call of `find_hung`

    def receive(self, worker: Worker) -> None:
        """Add a new worker, and register what handles its messages, before its wire is read."""
        self.workers[worker.name] = worker
        wire = worker.wire
        wire.on("configured", lambda _: worker.configured.set())
        wire.on("ready", lambda message: self._start_admitting_to(worker, message))
        wire.on("closing", lambda _: self._stop_admitting_to(worker))
        wire.on("leaving", lambda _: worker.close_hand())
        wire.on("report", lambda message: self._note_load(worker, message))
        self.seats.serve(worker)
        serve_values(self._values, wire, on_keep=partial(self.interrupted.note, worker.name))
        self._claims.serve(wire, holder=worker.name)
        wire.answer("peer", self._ask_peer)
        for what, answer in self.answers.items():
            wire.answer(what, answer)

    def lose(self, worker: Worker) -> int:
        """Remove a worker that is gone, its claims and leases; return how many calls it had.

        For a few seconds, new calls leave as many seats free for those calls.
        """
        self.workers.pop(worker.name, None)
        self._views.lose(worker)
        self._claims.lose(worker.name)
        self._quotas.lose(worker)
        return self._admission.lose(worker.number, self._clock())

    def retire(self, worker: Worker) -> None:
        """Give a worker no new calls, and make it stop after its last one.

        A worker that is still loading is killed: it would not handle the message `retire`.
        """
        worker.leaving = True
        self._stop_admitting_to(worker)
        if worker.ready.is_set():
            worker.wire.send("retire")
        else:
            worker.kill()

    def stop(self, *, drain_s: float) -> None:
        """Refuse new calls, and make every worker drain its calls for up to `drain_s`."""
        self.seats.stop()
        self.messages.broadcast("stop", drain_s=drain_s)

    def find_hung(self, silent_s: float) -> list[Worker]:
        """Return the workers that have not reported for `silent_s`; called every round.

        A gap between two rounds means that the supervisor itself stalled, perhaps with the whole
        machine, as in a paused container. The gap does not count as a worker's silence.
        """
        now = self._clock()
        stalled_s, self._hung_checked_at = now - self._hung_checked_at, now
        if stalled_s > STALL_S:
            for worker in self.workers.values():
                worker.reported_at = min(now, worker.reported_at + stalled_s)
            for load in self._admission.workers.values():
                load.reported_at = min(now, load.reported_at + stalled_s)
        oldest = now - silent_s
        return [
            worker
            for worker in self.workers.values()
            if worker.ready.is_set() and worker.reported_at < oldest
        ]

    def broadcast_state(self) -> None:
        """Send every worker the state of the pool.

        The first ready worker that stays leads, if possible one that takes new calls.
        """
        ready = [worker for worker in self.workers.values() if worker.ready.is_set()]
        staying = [worker for worker in ready if not worker.leaving]
        leader = min(staying, key=lambda worker: worker.closing.is_set(), default=None)
        self.messages.broadcast(
            "pool",
            why_closed=self.seats.why_closed,
            calls=self._admission.taken,
            room=self._admission.room(self._clock()),
            leads=leader.name if leader else "",
            full_paces=self._quotas.full_paces(),
            leased_until=self._quotas.leased_until(),
            store_away=self._values.is_away,
            claims_everywhere=self._claims.is_shared and not self._values.is_away,
            configuration=self.configuration,
            may_move=self.may_move(),
            workers=[worker.name for worker in ready],
        )

    def hand(self, connection: socket.socket, is_call: bool, name: str) -> bool:  # noqa: FBT001 - a Hand
        """Send a connection to the named worker, else to the one with the most room, else to any.

        Returns False if no worker takes it. A connection that may begin a call (`is_call`) counts
        as a call on its way to that worker.
        """
        now = self._clock()
        best = self._admission.best(now)
        order = sorted(
            self.workers.values(),
            key=lambda item: (item.name != name, item.number != best, item.leaving),
        )
        for worker in order:
            if worker.ready.is_set() and worker.send_connection(connection):
                if is_call:
                    self._admission.workers[worker.number].note_sent(now)
                return True
        return False

    def _stop_admitting_to(self, worker: Worker) -> None:
        """Give a worker no further calls."""
        worker.closing.set()
        if load := self._admission.workers.get(worker.number):
            load.leaving = True

    def _start_admitting_to(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """Give calls and leases to a worker that has become ready, unless it is leaving.

        Also stores which of its providers failed, connects it to the live views, and makes it emit
        the waiting events. One of the ready workers emits `WorkerStarted`.
        """
        if worker.leaving:  # it became ready while it was being stopped
            return
        logger.info("worker {} is ready, as process {}", worker.name, worker.pid)
        self._admission.open(worker.number, self._clock())
        self._quotas.receive(worker)
        worker.reported_at = self._clock()
        worker.refused = tuple(message.get("refused", ()))  # an older version sends none
        worker.ready.set()
        self._views.receive(worker)
        self.broadcast_state()
        self.messages.catch_up(worker)
        self.messages.send_to_one(
            "worker_started",
            worker=worker.name,
            process=worker.pid,
            cause=worker.cause,
            replaces=worker.replaces,
            after_s=self._clock() - worker.replaced_lost_at if worker.replaces else 0.0,
        )

    def _note_load(self, worker: Worker, message: Mapping[str, Any]) -> None:
        worker.reported_at = self._clock()
        self._admission.note_load(
            worker.number, cores=message["cores"], lag_s=message["lag_s"], now=worker.reported_at
        )

    async def _ask_peer(self, message: Mapping[str, Any]) -> Any:
        """Pass a worker's question on to another one; raise `WireError` if that is not running."""
        peer = self.workers.get(message["peer"])
        if peer is None:
            raise WireError(f"{message['peer']} is not running")
        within_s = message.get("limit_s", ASK_PROCESS_S)  # an older worker sends none
        return await peer.wire.ask(message["question"], within_s=within_s, **message["fields"])
