"""The supervisor's side of the pool: seats, shared values, claims, limits, and messages."""

import socket
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from aiolimiter import AsyncLimiter
from loguru import logger

from bot.clock import Clock
from bot.config.settings import Settings
from bot.workers.admission_rules import PoolAdmission
from bot.workers.lease_rules import Leases
from bot.workers.pool import Claims, KeyValueStore, ViewRelay
from bot.workers.seats import SeatTable
from bot.workers.wire import WireError
from bot.workers.worker_process import Worker
from fallbacks.limits import MINUTE_S
from transports.pool import Answer

UNTOLD: Final = 100  # events that wait for a worker to emit them, while there is none


class PoolMessages:
    """Messages to all workers, and events that any one worker should emit."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        """Send to `workers`, by name; the owner of the mapping keeps it up to date."""
        self._workers = workers
        self._untold: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=UNTOLD)

    def broadcast(self, what: str, **fields: Any) -> None:
        """Send a message to every worker."""
        for worker in self._workers.values():
            worker.wire.send(what, **fields)

    def send_to_one(self, what: str, **fields: Any) -> None:
        """Let one worker emit an event of the supervisor; without one, the event waits."""
        for worker in sorted(self._workers.values(), key=lambda worker: worker.leaving):
            if worker.ready.is_set() and worker.wire.send(what, **fields):
                return
        self._untold.append((what, fields))

    def catch_up(self, worker: Worker) -> None:
        """Let a worker that is ready emit the waiting events."""
        while self._untold:
            what, fields = self._untold.popleft()
            worker.wire.send(what, **fields)


class Quotas:
    """The limits of all rungs that have some."""

    def __init__(self, settings: Settings) -> None:
        """Lease places by the limits in `settings`."""
        self._leases: dict[str, Leases] = {}
        self._paces: dict[str, AsyncLimiter] = {}
        self._workers: dict[str, Worker] = {}
        self.renew(settings)

    def renew(self, settings: Settings) -> None:
        """Change to the limits of a new configuration; existing leases stay."""
        for _, rung in settings.stages.rungs():
            if rung.limits.concurrent is not None:
                self._leases.setdefault(rung.name, Leases(0)).limit = rung.limits.concurrent
            pace = getattr(rung.limits, "per_minute", None)
            known = self._paces.get(rung.name)
            if pace and (known is None or known.max_rate != pace):
                self._paces[rung.name] = AsyncLimiter(pace, MINUTE_S)

    def receive(self, worker: Worker) -> None:
        """Lease places to a worker whose connection is open, and answer its requests to send."""
        self._workers[worker.name] = worker
        for leases in self._leases.values():
            leases.join(worker.name)
        worker.wire.on("places", lambda said: self._heed(worker, said))
        # A request that has given up must leave the queue, or its slot is lost.
        worker.wire.answer("pace", self._pace, revocable=True)
        self.divide()

    def lose(self, worker: Worker) -> None:
        """Take back the places of a worker that is gone."""
        self._workers.pop(worker.name, None)
        for leases in self._leases.values():
            leases.leave(worker.name)
        self.divide()

    def divide(self) -> None:
        """Lease the free places."""
        for rung, leases in self._leases.items():
            for name, lent in leases.divide().items():
                wire = self._workers[name].wire
                wire.send("lease", rung=rung, places=lent.places, number=lent.number)

    def full_paces(self) -> list[str]:
        """Return the rungs that have no free capacity for a request now."""
        return [name for name, pace in self._paces.items() if not pace.has_capacity()]

    def _heed(self, worker: Worker, said: Mapping[str, Any]) -> None:
        for rung, (number, inside, wanted) in said["rungs"].items():
            if leases := self._leases.get(rung):
                leases.heed(worker.name, number=number, inside=inside, wanted=wanted)
        self.divide()

    async def _pace(self, said: Mapping[str, Any]) -> None:
        pace = self._paces.get(said["rung"])
        if pace is not None:
            await pace.acquire()


AWAY_S: Final = 0.4  # chosen: two rounds of the supervisor; a longer gap is its own stall


class PoolServer:
    """Answers the workers' questions, and knows which workers there are.

    Attributes:
        workers: The workers by name.
        news: Messages to all workers, and events that one of them emits.
        seats: Admits calls.
        answers: The answers to the workers' other questions; complete before the first worker.
    """

    def __init__(self, admission: PoolAdmission, quotas: Quotas, *, clock: Clock) -> None:
        """Start with no worker."""
        self.workers: dict[str, Worker] = {}
        self._admission = admission
        self._quotas = quotas
        self._clock = clock
        self._store = KeyValueStore(clock=clock)
        self._claims = Claims()
        self._views = ViewRelay(self.workers)
        self.news = PoolMessages(self.workers)
        self.seats = SeatTable(admission, self.workers, clock=clock)
        self.answers: dict[str, Answer] = {}
        self._looked_at = clock()  # for workers that hang

    def receive(self, worker: Worker) -> None:
        """Add a new worker, before its connection is read."""
        self.workers[worker.name] = worker
        wire = worker.wire
        wire.on("configured", lambda _: worker.configured.set())
        wire.on("ready", lambda said: self._open(worker, said))
        wire.on("closing", lambda _: self._leave(worker))
        wire.on("leaving", lambda _: worker.close_hand())
        wire.on("report", lambda said: self._heed(worker, said))
        self.seats.serve(worker)
        self._store.serve(wire)
        self._claims.serve(wire, holder=worker.name)
        wire.answer("peer", self._ask_peer)
        for what, answer in self.answers.items():
            wire.answer(what, answer)

    def lose(self, worker: Worker) -> int:
        """Remove a worker that is gone; return how many calls were lost with it."""
        self.workers.pop(worker.name, None)
        self._views.lose(worker)
        self._claims.lose(worker.name)
        self._quotas.lose(worker)
        return self._admission.lose(worker.number)

    def retire(self, worker: Worker) -> None:
        """Give a worker no new calls; it ends after its calls, or at once if it is still loading.

        A loading worker does not listen yet: it would not learn of this and would stay.
        """
        worker.leaving = True
        self._leave(worker)
        if worker.ready.is_set():
            worker.wire.send("retire")
        else:
            worker.kill()

    def stop(self, *, drain_s: float) -> None:
        """Refuse all calls, and let every worker drain, with `drain_s` for its calls."""
        self.seats.stop()
        self.news.broadcast("stop", drain_s=drain_s)

    def hung(self, silent_s: float) -> list[Worker]:
        """Return the workers that have not reported for `silent_s`; called in every round.

        A gap between two rounds means that the supervisor itself stood still, perhaps with the
        whole machine, as in a paused container. That time does not count as a worker's silence.
        """
        now = self._clock()
        away_s, self._looked_at = now - self._looked_at, now
        if away_s > AWAY_S:
            for worker in self.workers.values():
                worker.heard_at = min(now, worker.heard_at + away_s)
            for load in self._admission.workers.values():
                load.reported_at = min(now, load.reported_at + away_s)
        oldest = now - silent_s
        return [
            worker
            for worker in self.workers.values()
            if worker.ready.is_set() and worker.heard_at < oldest
        ]

    def broadcast_state(self) -> None:
        """Tell every worker the state of the pool."""
        ready = [worker for worker in self.workers.values() if worker.ready.is_set()]
        staying = [worker for worker in ready if not worker.leaving]
        leader = min(staying, key=lambda worker: worker.closing.is_set(), default=None)
        self.news.broadcast(
            "pool",
            why_closed=self.seats.why_closed,
            calls=self._admission.taken,
            room=self._admission.room(self._clock()),
            leads=leader.name if leader else "",
            full_paces=self._quotas.full_paces(),
            workers=[worker.name for worker in ready],
        )

    def hand(self, connection: socket.socket, is_call: bool, name: str) -> bool:  # noqa: FBT001 - a Hand
        """Give a connection to the named worker, to the one with the most room, or to any."""
        now = self._clock()
        best = self._admission.best(now)
        order = sorted(
            self.workers.values(),
            key=lambda item: (item.name != name, item.number != best, item.leaving),
        )
        for worker in order:
            if worker.ready.is_set() and worker.hand_over(connection):
                if is_call:
                    self._admission.workers[worker.number].hand(now)
                return True
        return False

    def _leave(self, worker: Worker) -> None:
        worker.closing.set()
        if load := self._admission.workers.get(worker.number):
            load.leaving = True

    def _open(self, worker: Worker, said: Mapping[str, Any]) -> None:
        if worker.leaving:  # became ready while it was being ended
            return
        logger.info("worker {} is ready, as process {}", worker.name, worker.pid)
        self._admission.open(worker.number, self._clock())
        self._quotas.receive(worker)
        worker.heard_at = self._clock()
        worker.refused = tuple(said.get("refused", ()))  # an older version sends none
        worker.ready.set()
        self._views.receive(worker)
        self.broadcast_state()
        self.news.catch_up(worker)
        self.news.send_to_one(
            "worker_started",
            worker=worker.name,
            process=worker.pid,
            cause=worker.cause,
            replaces=worker.replaces,
            after_s=self._clock() - worker.replaces_since_s if worker.replaces else 0.0,
        )

    def _heed(self, worker: Worker, said: Mapping[str, Any]) -> None:
        worker.heard_at = self._clock()
        self._admission.heed(
            worker.number, cores=said["cores"], lag_s=said["lag_s"], now=worker.heard_at
        )

    async def _ask_peer(self, said: Mapping[str, Any]) -> Any:
        peer = self.workers.get(said["peer"])
        if peer is None:
            raise WireError(f"{said['peer']} is not running")
        return await peer.wire.ask(said["question"], **said["fields"])
