"""The slots of the workers: starts them, replaces lost ones, and reloads the configuration."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from loguru import logger

from bot.clock import Clock
from bot.config.settings import Settings
from bot.exits import BAD_USAGE, DONE, FAILED
from bot.workers.plan import Reread, ServePlan
from bot.workers.pool_server import PoolServer
from bot.workers.worker_process import Worker
from calls.operations_events import ReloadOutcome, WorkerCause

READY_S: Final = 90.0  # a worker that loads for longer is killed
TOGETHER_S: Final = 10.0  # for the others, after the first: took 7.9 s on a machine under load
WAITS_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before replacing a worker that dies at once
WELL_S: Final = 60.0  # a worker that lived for longer did not die at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Relieved:
    """The result of a round of replacements."""

    workers: int  # replaced workers
    whole: bool  # False if the next new worker could not start


class Slots:
    """The slots of the pool, each with a worker.

    A worker may be lost at any moment, also during a round of replacements. A task that looks after
    a slot checks which worker has it now, and stops if it is another one.

    Attributes:
        all_gone: Set when the pool is closing and no worker is left.
        failed: A worker that failed while it was stopping.
    """

    def __init__(
        self, plan: ServePlan, server: PoolServer, tasks: asyncio.TaskGroup, *, clock: Clock
    ) -> None:
        """Prepare; `begin` starts the workers, in `tasks`."""
        self._plan = plan
        self._server = server
        self._tasks = tasks
        self._clock = clock
        self._numbers = count(1)
        self._slots: list[Worker] = []
        self._dying: dict[int, int] = {}  # by slot: how many workers in a row died at once
        self._closing = False
        self.all_gone = asyncio.Event()
        self.failed: Worker | None = None

    async def begin(self) -> int:
        """Start all workers; return once calls can be taken, or an exit code if none can start.

        The first worker reads the configuration alone, so that an error in it is printed once.
        """
        first = self._start(0)
        await _first_of(first.configured, first.ended)
        if not self._closing and not first.ended.is_set():
            self.fill()
        workers = tuple(self._slots)
        if not await _some_are_ready(workers) or self._closing:
            await asyncio.gather(*(item.ended.wait() for item in workers))
            return BAD_USAGE if first.code == BAD_USAGE else FAILED  # negative after a signal
        for worker in workers:
            self._tasks.create_task(self._see_in(worker), name="see a worker in")
        return DONE

    def fill(self) -> Sequence[Worker]:
        """Start the missing workers; return them."""
        return [self._start(slot) for slot in range(len(self._slots), self._plan.wanted)]

    async def renew(self) -> Relieved:
        """Replace each worker by a new one, until a new one cannot start."""
        kept = min(len(self._slots), self._plan.wanted)
        for slot in range(kept):
            if not await self._relieve(slot):
                return Relieved(workers=slot, whole=False)
        for surplus in self._slots[kept:]:
            self._server.retire(surplus)
        del self._slots[kept:]
        for added in self.fill():
            self._tasks.create_task(self._see_in(added), name="see a worker in")
        return Relieved(workers=kept, whole=True)

    def close(self) -> None:
        """Replace no more workers, and kill those that are still starting."""
        self._closing = True
        for worker in tuple(self._server.workers.values()):
            if not worker.ready.is_set():
                worker.kill()
        if not self._server.workers:
            self.all_gone.set()

    def _start(self, slot: int, cause: WorkerCause = "start") -> Worker:
        worker = Worker(self._plan.order(next(self._numbers)))
        worker.cause = cause
        self._slots[slot : slot + 1] = [worker]
        self._server.receive(worker)
        self._tasks.create_task(self._live(worker), name=f"worker {worker.name}")
        return worker

    async def _live(self, worker: Worker) -> None:
        began = self._clock()
        try:
            await worker.start()
        except (OSError, RuntimeError) as full:  # out of processes, threads, descriptors or memory
            logger.error("worker {} cannot be started: {}", worker.name, full)
            worker.give_up()
            self._lose(worker)
            return
        if self._closing or worker.leaving:
            worker.kill()
        self._tasks.create_task(self._replace_early(worker), name="replace one that closes")
        code = await worker.run()
        lost = self._lose(worker)
        told_to = worker.leaving or self._closing
        began_work = worker.ready.is_set()
        level = "INFO" if told_to and (code == 0 or not began_work) else "ERROR"
        if began_work and not told_to:
            self._server.news.send_to_one("worker_lost", worker=worker.name, code=code, calls=lost)
        if worker.configured.is_set() or code < 0:  # otherwise it has printed the error itself
            logger.log(level, "worker {} has ended with {}, {} calls lost", worker.name, code, lost)
        if worker not in self._slots or not began_work:
            return
        if self._closing:
            self.failed = self.failed or (worker if code else None)
            return
        await self._replace(worker, lived_s=self._clock() - began)

    def _lose(self, worker: Worker) -> int:
        lost = self._server.lose(worker)
        if self._closing and not self._server.workers:
            self.all_gone.set()
        return lost

    async def _replace_early(self, worker: Worker) -> None:
        """Replace a worker that closes without our request, while it still drains.

        Something else sent it SIGTERM, such as an operator or a memory guard, and expects a
        replacement. With a single worker, no call could be taken until its last one has ended.
        """
        await _first_of(worker.closing, worker.ended)
        if worker.closing.is_set() and not worker.ended.is_set() and not worker.leaving:
            await self._replace(worker, lived_s=WELL_S)

    async def _replace(self, worker: Worker, *, lived_s: float) -> None:
        """Start another worker for one that has ended; repeat until one is ready.

        Args:
            worker: The worker of the slot; if the slot has another one, this does nothing.
            lived_s: How long it worked.
        """
        lost, lost_at_s = worker.name if worker.ready.is_set() else "", self._clock()
        while not self._closing and worker in self._slots:
            slot = self._slots.index(worker)
            tries = 0 if lived_s >= WELL_S else self._dying.get(slot, 0)
            lived_s, self._dying[slot] = 0.0, tries + 1
            await wait_at_most(WAITS_S[min(tries, len(WAITS_S) - 1)], self.all_gone)
            if self._closing or worker not in self._slots:
                return
            worker = self._start(self._slots.index(worker), "lost")
            worker.replaces, worker.replaces_since_s = lost, lost_at_s
            logger.info("worker {} replaces a lost worker", worker.name)
            if await _is_ready(worker):
                return

    async def _see_in(self, worker: Worker) -> None:
        """Replace a first or additional worker if it does not become ready."""
        if not await _is_ready(worker) and not worker.ready.is_set():
            await self._replace(worker, lived_s=0.0)

    async def _relieve(self, slot: int) -> bool:
        """Replace an old worker, whose calls continue, by a new one; return False if that fails."""
        old = self._slots[slot]
        new = self._start(slot, "relief")
        if await _is_ready(new):
            logger.info("worker {} replaces {}", new.name, old.name)
            self._server.retire(old)
            return True
        if not self._closing:
            logger.error("a new worker cannot start; the running workers stay")
        if self._slots[slot] is not new:  # it was ready briefly, and is being replaced
            self._server.retire(self._slots[slot])
        self._slots[slot] = old
        if old.ended.is_set() and not self._closing:
            # Later, with the configuration then in force: with this one no worker may ever start.
            self._tasks.create_task(self._replace(old, lived_s=WELL_S), name="replace a worker")
        return False


async def _is_ready(worker: Worker) -> bool:
    """Wait until a worker is ready; kill one that does not become ready in time."""
    try:
        async with asyncio.timeout(READY_S):
            await _first_of(worker.ready, worker.ended)
    except TimeoutError:
        logger.error("worker {} was not ready within {:g} s", worker.name, READY_S)
        worker.kill()
        await worker.ended.wait()
    return worker.ready.is_set() and not worker.ended.is_set()


async def _some_are_ready(workers: Sequence[Worker]) -> bool:
    """Wait for one ready worker, then briefly for the others; return False if none is ready."""
    ready = False
    async with asyncio.TaskGroup() as waiting:
        left = {waiting.create_task(_is_ready(worker), name="wait") for worker in workers}
        while left and not ready:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            ready = any(item.result() for item in done)
        if left:
            await asyncio.wait(left, timeout=TOGETHER_S)
        for item in left:
            item.cancel()
    return ready


async def wait_at_most(wait_s: float, event: asyncio.Event) -> None:
    """Wait for an event, at most `wait_s`."""
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return


async def _first_of(*events: asyncio.Event) -> None:
    """Wait for the first of the events."""
    async with asyncio.TaskGroup() as waiting:
        tasks = [waiting.create_task(event.wait(), name="wait") for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


BY_SIGNAL: Final = "SIGHUP"
BUSY: Final = "the workers are starting, stopping or being replaced"

Emit = Callable[..., None]
"""Lets a worker emit an event, given by its name and its fields."""


class Reloading:
    """Reloads the configuration, one round at a time, on a signal or an HTTP request.

    A request during a round is refused. A signal during a round starts another round after it, with
    the file's content at that time; several signals start one.

    Attributes:
        open: Set while the workers serve.
        owed: Whether a signal is pending.
    """

    def __init__(
        self, plan: ServePlan, slots: Slots, *, apply: Callable[[Settings], None], emit: Emit
    ) -> None:
        """Prepare.

        Args:
            plan: The configuration to read again.
            slots: The workers.
            apply: Applies settings to the supervisor itself.
            emit: Lets a worker emit the result.
        """
        self._plan = plan
        self._slots = slots
        self._apply = apply
        self._emit = emit
        self._busy = False
        self.open = self.owed = False

    async def run(self, by: str, *, read: asyncio.Future[Mapping[str, Any]] | None = None) -> None:
        """Read the configuration and, if it is valid, replace all workers, one after another.

        Args:
            by: The origin of the request.
            read: Gets the answer for a request as soon as the configuration is read.
        """
        if self._busy or not self.open:
            self.owed = self.owed or read is None
            heeded = "refused" if read else "postponed"
            logger.warning("{} is {}: {}", by, heeded, BUSY)
            _answer(read, {"busy": BUSY})
            return
        self._busy, self.owed = True, False
        try:
            await self._reload(by, read)
            while self.owed and self.open:
                self.owed = False
                await self._reload(BY_SIGNAL, None)
        finally:
            self._busy = False

    async def _reload(self, by: str, read: asyncio.Future[Mapping[str, Any]] | None) -> None:
        said = await self._reread()
        _answer(read, {"problems": said.problems, "changed": said.changed})
        if said.problems:
            self._say(by, "wrong")
            return
        self._apply(self._plan.settings)
        relieved = await self._slots.renew()
        if not self.open and not relieved.whole:
            logger.info("not all workers were replaced: stopping")  # loading ones killed
            return
        if not relieved.whole and not relieved.workers:
            self._plan.restore()
            self._apply(self._plan.settings)
            self._say(by, "no_worker", changed=said.changed)
            return
        if relieved.whole:
            logger.info("all workers were replaced; those with calls end with their last call")
        outcome: ReloadOutcome = "replaced" if relieved.whole else "partly"
        self._say(by, outcome, changed=said.changed, workers=relieved.workers)

    async def _reread(self) -> Reread:
        try:
            return await asyncio.to_thread(self._plan.renew)
        except Exception as broken:  # noqa: BLE001 - no file may end the supervisor and all calls
            line = f"the configuration cannot be read: {type(broken).__name__}: {broken}"
            logger.opt(exception=broken).error("{}; nothing changes", line)
            return Reread(problems=(line,))

    def _say(self, by: str, outcome: ReloadOutcome, **fields: Any) -> None:
        self._emit("reloaded", by=by, outcome=outcome, **fields)


def _answer(read: asyncio.Future[Mapping[str, Any]] | None, answer: Mapping[str, Any]) -> None:
    if read and not read.done():
        read.set_result(answer)
