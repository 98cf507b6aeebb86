"""The places of the workers: who works at each, who replaces or relieves whom."""

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol

from loguru import logger

from bot.clock import Clock
from bot.exits import DONE, FAILED
from bot.house.crew import Worker, WorkerOrder
from bot.house.office import Office
from calls.house_events import WorkerCause

READY_S: Final = 90.0  # a worker that takes longer to load is given up
WAITS_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before a worker that dies at once is replaced
WELL_S: Final = 60.0  # a worker that lived so long did not die at once


class Orders(Protocol):
    """What is to be run, as the configuration has it now."""

    def order(self, number: int) -> WorkerOrder:
        """Return what a new worker is told."""
        ...

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Relieved:
    """How far a round of new workers came."""

    workers: int  # that were relieved
    whole: bool  # False: the next new one could not start


class Slots:
    """So many places, each with a worker.

    Attributes:
        all_gone: Set when we are closing and no worker is left.
    """

    def __init__(
        self, orders: Orders, office: Office, tasks: asyncio.TaskGroup, *, clock: Clock
    ) -> None:
        """Prepare; `begin` starts the workers, in `tasks`."""
        self._orders = orders
        self._office = office
        self._tasks = tasks
        self._clock = clock
        self._numbers = count(1)
        self._slots: list[Worker] = []
        self._dying: dict[int, int] = {}  # by slot: workers in a row that died at once
        self._closing = False
        self.all_gone = asyncio.Event()

    @property
    def failed(self) -> Worker | None:
        """A worker that ended badly and was not replaced."""
        return next((each for each in self._slots if each.code), None)

    async def begin(self) -> int:
        """Start all workers; return the exit code if none can work.

        The first one reads the configuration alone: what is wrong with it is said once.
        """
        first = self._start(0)
        await _first_of(first.configured, first.ended)
        if not self._closing and not first.ended.is_set():
            self.fill()
        workers = tuple(self._slots)
        ready = await asyncio.gather(*(self._is_ready(each) for each in workers))
        if not any(ready) or self._closing:
            await asyncio.gather(*(each.ended.wait() for each in workers))
            return first.code or FAILED
        for slot, worker in enumerate(workers):
            if not worker.ready.is_set():
                self._tasks.create_task(self._replace(slot, lived_s=0.0), name="replace a worker")
        return DONE

    def fill(self) -> None:
        """Start the workers that are missing."""
        for slot in range(len(self._slots), self._orders.wanted):
            self._start(slot)

    async def renew(self) -> Relieved:
        """Have each worker relieved by a new one, until a new one cannot start."""
        workers = 0
        for slot, old in enumerate(tuple(self._slots)):
            if slot >= self._orders.wanted:
                self._slots.remove(old)
                self._office.retire(old)
            elif await self._relieve(slot, old):
                workers += 1
            else:
                return Relieved(workers=workers, whole=False)
        self.fill()
        return Relieved(workers=workers, whole=True)

    def close(self) -> None:
        """Replace nobody any more; who has not begun yet is ended."""
        self._closing = True
        for worker in tuple(self._office.workers.values()):
            if not worker.ready.is_set():
                worker.kill()
        if not self._office.workers:
            self.all_gone.set()

    def _start(self, slot: int, cause: WorkerCause = "start") -> Worker:
        worker = Worker(self._orders.order(next(self._numbers)))
        worker.cause = cause
        self._slots[slot : slot + 1] = [worker]
        self._office.receive(worker)
        self._tasks.create_task(self._live(worker), name=f"worker {worker.name}")
        return worker

    async def _live(self, worker: Worker) -> None:
        began = self._clock()
        try:
            await worker.start()
        except OSError as full:  # no more processes, or no memory for one
            logger.error("worker {} cannot be started: {}", worker.name, full)
            worker.give_up()
            self._lose(worker)
            return
        if self._closing:
            worker.kill()
        code = await worker.run()
        lost = self._lose(worker)
        told_to = worker.leaving or self._closing
        level = "INFO" if code == 0 and told_to else "ERROR"
        if worker.ready.is_set() and not told_to:
            self._office.news.tell_one("worker_lost", worker=worker.name, code=code, calls=lost)
        if worker.configured.is_set():  # otherwise it has said itself what is wrong
            logger.log(level, "worker {} has ended with {}, {} calls lost", worker.name, code, lost)
        if worker in self._slots and worker.ready.is_set() and not self._closing:
            slot, lived_s = self._slots.index(worker), self._clock() - began
            await self._replace(slot, lived_s=lived_s, lost=worker.name)

    def _lose(self, worker: Worker) -> int:
        lost = self._office.lose(worker)
        if self._closing and not self._office.workers:
            self.all_gone.set()
        return lost

    async def _replace(self, slot: int, *, lived_s: float, lost: str = "") -> None:
        """Start another worker in place of one that was lost; again until one is ready.

        Args:
            slot: Its place.
            lived_s: How long it worked.
            lost: Its name, if it was told that it is lost.
        """
        lost_at_s = self._clock()
        tries = 0 if lived_s >= WELL_S else self._dying.get(slot, 0)
        while not self._closing and slot < len(self._slots):
            wait_s = WAITS_S[min(tries, len(WAITS_S) - 1)]
            self._dying[slot] = tries = tries + 1
            await wait_at_most(wait_s, self.all_gone)
            if self._closing:
                return
            worker = self._start(slot, "lost")
            worker.replaces, worker.replaces_since_s = lost, lost_at_s
            logger.info("worker {} takes the place of one that was lost", worker.name)
            if await self._is_ready(worker):
                return

    async def _relieve(self, slot: int, old: Worker) -> bool:
        """Have a new worker take over from an old one, whose calls go on; False: it cannot."""
        new = self._start(slot, "relief")
        if not await self._is_ready(new):
            logger.error("a new worker cannot start: the workers that run stay as they are")
            self._slots[slot] = old
            if old.ended.is_set() and not self._closing:
                await self._replace(slot, lived_s=WELL_S, lost=old.name)
            return False
        logger.info("worker {} relieves {}", new.name, old.name)
        self._office.retire(old)
        return True

    async def _is_ready(self, worker: Worker) -> bool:
        """Wait until a worker answers; one that will not is ended."""
        try:
            async with asyncio.timeout(READY_S):
                await _first_of(worker.ready, worker.ended)
        except TimeoutError:
            logger.error("worker {} was not ready within {:g} s", worker.name, READY_S)
            worker.kill()
            await worker.ended.wait()
        return worker.ready.is_set() and not worker.ended.is_set()


async def wait_at_most(wait_s: float, event: asyncio.Event) -> None:
    """Wait for an event, and no longer than that."""
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events has come."""
    async with asyncio.TaskGroup() as waiting:
        tasks = [waiting.create_task(each.wait(), name="wait") for each in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            each.cancel()
