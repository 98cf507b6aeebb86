"""What the supervisor does for its workers: seats, what one leaves for another, who hears what."""

import socket
from collections.abc import Mapping
from typing import Any

from loguru import logger

from bot.clock import Clock
from bot.house.cloakroom import Cloakroom
from bot.house.crew import Worker
from bot.house.quotas import Quotas
from bot.house.wire import WireError
from fallbacks.admission import Admission


class Office:
    """Answers the workers' questions, and knows who is there."""

    def __init__(self, admission: Admission, quotas: Quotas, *, clock: Clock) -> None:
        """Open with no worker."""
        self.workers: dict[str, Worker] = {}
        self._admission = admission
        self._quotas = quotas
        self._clock = clock
        self._cloakroom = Cloakroom(clock=clock)
        self._watchers: set[tuple[str, int]] = set()  # of the live view: at which worker, which
        self._stopping = False

    @property
    def why_closed(self) -> str:
        """The name of the reason why no call is taken, or nothing."""
        return "draining" if self._stopping else self._admission.why_closed(self._clock())

    def receive(self, worker: Worker) -> None:
        """Take a new worker in, before its line is read."""
        self.workers[worker.name] = worker
        wire = worker.wire
        wire.on("configured", lambda _: worker.configured.set())
        wire.on("ready", lambda _: self._open(worker))
        wire.on("closing", lambda _: self._admission.leave(worker.number))
        wire.on("report", lambda said: self._heed(worker, said))
        wire.on("begin", lambda said: self._begin(worker, said["seat"]))
        wire.on("end", lambda said: self._admission.end(said["seat"]))
        wire.on("watch", lambda said: self._watch(worker.name, said["watcher"], on=said["on"]))
        wire.on("entry", self._pass_on)
        wire.answer("admit", self._admit)
        wire.answer("keep", self._keep)
        wire.answer("take", self._take)
        wire.answer("peer", self._ask_peer)

    def lose(self, worker: Worker) -> int:
        """Strike off a worker that is gone; return how many calls went with it."""
        self.workers.pop(worker.name, None)
        for name, watcher in tuple(self._watchers):
            if name == worker.name:
                self._watch(name, watcher, on=False)
        self._quotas.lose(worker)
        return self._admission.lose(worker.number)

    def retire(self, worker: Worker) -> None:
        """Give a worker nothing new; it ends when its calls have ended."""
        worker.leaving = True
        self._admission.leave(worker.number)
        worker.wire.tell("retire")

    def stop(self) -> None:
        """Take no more calls anywhere, and have all workers drain."""
        self._stopping = True
        self.tell_all("stop")

    def hung(self, silent_s: float) -> list[Worker]:
        """Return the workers that have reported nothing for so long."""
        oldest = self._clock() - silent_s
        return [
            each for each in self.workers.values() if each.ready.is_set() and each.heard_at < oldest
        ]

    def tell_all(self, what: str, **fields: Any) -> None:
        """Tell every worker."""
        for worker in self.workers.values():
            worker.wire.tell(what, **fields)

    def tell_state(self) -> None:
        """Tell every worker how the house is."""
        ready = [each for each in self.workers.values() if each.ready.is_set()]
        staying = [each.name for each in ready if not each.leaving]
        self.tell_all(
            "house",
            why_closed=self.why_closed,
            calls=self._admission.calls(),
            leads=staying[0] if staying else "",
            full_paces=self._quotas.full_paces(),
            workers=[each.name for each in ready],
        )

    def hand(self, connection: socket.socket, is_call: bool) -> bool:  # noqa: FBT001 - a Hand
        """Give a connection to the worker with most room, or to any that takes it."""
        now = self._clock()
        best = self._admission.best(now)
        order = sorted(self.workers.values(), key=lambda each: (each.number != best, each.leaving))
        for worker in order:
            if worker.ready.is_set() and worker.hand_over(connection):
                if is_call:
                    self._admission.hand(worker.number, now)
                return True
        return False

    def _open(self, worker: Worker) -> None:
        logger.info("worker {} is ready, as process {}", worker.name, worker.pid)
        self._admission.open(worker.number, self._clock())
        self._quotas.receive(worker)
        worker.heard_at = self._clock()
        worker.ready.set()
        for name, watcher in self._watchers:
            worker.wire.tell("stream", to=name, watcher=watcher, on=True)
        self.tell_state()

    def _heed(self, worker: Worker, said: Mapping[str, Any]) -> None:
        worker.heard_at = self._clock()
        self._admission.heed(
            worker.number, cores=said["cores"], lag_s=said["lag_s"], now=worker.heard_at
        )

    def _begin(self, worker: Worker, seat: int) -> None:
        self._admission.begin(seat, worker.number, self._clock())

    async def _admit(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        reason = self.why_closed
        seat = None if reason else self._admission.admit(self._clock())
        return {"reason": reason or "full"} if seat is None else {"seat": seat}

    async def _keep(self, said: Mapping[str, Any]) -> None:
        self._cloakroom.keep(said["token"], said["value"], for_s=said["for_s"])

    async def _take(self, said: Mapping[str, Any]) -> Any:
        return self._cloakroom.take(said["token"])

    async def _ask_peer(self, said: Mapping[str, Any]) -> Any:
        peer = self.workers.get(said["peer"])
        if peer is None:
            raise WireError(f"{said['peer']} is not there")
        return await peer.wire.ask(said["question"], **said["fields"])

    def _watch(self, name: str, watcher: int, *, on: bool) -> None:
        (self._watchers.add if on else self._watchers.discard)((name, watcher))
        for worker in self.workers.values():
            if worker.name != name and worker.ready.is_set():
                worker.wire.tell("stream", to=name, watcher=watcher, on=on)

    def _pass_on(self, said: Mapping[str, Any]) -> None:
        if watched_at := self.workers.get(said["to"]):
            watched_at.wire.tell("entry", watcher=said["watcher"], entry=said["entry"])
