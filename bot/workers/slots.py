"""The slots of the workers: starts them, replaces lost ones, and reloads the configuration."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from loguru import logger

from bot.workers.plan import Reread, ServePlan
from bot.workers.pool_server import PoolServer
from bot.workers.worker_process import Worker
from calls.operations_events import ReloadOutcome, WorkerCause
from calls.resume import RESUMABLE_S
from configuration.settings import Settings
from runtime.clock import Clock
from runtime.exits import BAD_USAGE, DONE, FAILED

BECOME_READY_S: Final = 90.0  # a worker that takes longer to become ready is killed
OTHERS_READY_S: Final = 10.0  # from the first ready worker to the others: 7.9 s on a loaded machine
# Before replacing workers that die soon one after another; the last value is repeated.
REPLACE_PAUSES_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
LIVED_LONG_S: Final = 60.0  # a worker that lived for this long did not die soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """The result of a round of replacements."""

    workers: int  # replaced workers
    complete: bool  # False if the next new worker could not start


class Slots:
    """The slots of the pool, each with a worker.

    A worker may be lost at any moment, even during a round of replacements. So a task that replaces
    a worker first checks whether the worker still has its slot, and otherwise does nothing.

    Attributes:
        all_gone: Set when the pool is closing and no worker is left.
        failed: The first worker that failed while it was stopping; `None` if none did.
    """

    def __init__(
        self, plan: ServePlan, server: PoolServer, tasks: asyncio.TaskGroup, *, clock: Clock
    ) -> None:
        """Start no worker before `start_workers`; the workers' tasks run in `tasks`."""
        self._plan = plan
        self._server = server
        self._tasks = tasks
        self._clock = clock
        self._numbers = count(1)
        self._slots: list[Worker] = []
        self._early_deaths: dict[int, int] = {}  # by slot: how many workers died soon in a row
        self._closing = False
        self.all_gone = asyncio.Event()
        self.failed: Worker | None = None

    async def start_workers(self) -> int:
        """Start all workers; return `DONE` if any becomes ready, else an exit code.

        Once one is ready, this waits up to `OTHERS_READY_S` for the others. Those that fail are
        replaced later. An exit code is also returned if the pool is closed during the start.

        The first worker reads the configuration before the others start, so that an error in it is
        printed only once.
        """
        first = self._start_worker(0)
        await _wait_for_first(first.configured, first.ended)
        if not self._closing and not first.ended.is_set():
            self.fill()
        workers = tuple(self._slots)
        if not await _wait_until_some_ready(workers) or self._closing:
            await asyncio.gather(*(item.ended.wait() for item in workers))
            # Never the code itself: it is negative if a signal killed the worker.
            return BAD_USAGE if first.code == BAD_USAGE else FAILED
        for worker in workers:
            self._tasks.create_task(self._replace_unless_ready(worker), name="wait for a worker")
        return DONE

    def fill(self) -> Sequence[Worker]:
        """Start the missing workers; return them."""
        return [self._start_worker(slot) for slot in range(len(self._slots), self._plan.workers)]

    async def renew(self) -> Renewal:
        """Replace the workers one by one, then adjust their number.

        The round ends at the first new worker that does not become ready; the others stay.
        """
        kept = min(len(self._slots), self._plan.workers)
        for slot in range(kept):
            if not await self._replace_running(slot):
                return Renewal(workers=slot, complete=False)
        for surplus in self._slots[kept:]:
            self._server.retire(surplus)
        del self._slots[kept:]
        for added in self.fill():
            self._tasks.create_task(self._replace_unless_ready(added), name="wait for a worker")
        return Renewal(workers=kept, complete=True)

    def close(self) -> None:
        """Replace no more workers, and kill those that are still starting."""
        self._closing = True
        for worker in tuple(self._server.workers.values()):
            if not worker.ready.is_set():
                worker.kill()
        if not self._server.workers:
            self.all_gone.set()

    def _start_worker(self, slot: int, cause: WorkerCause = "start") -> Worker:
        """Give a slot to a new worker, and start it in a task; its predecessor runs on."""
        worker = Worker(self._plan.parameters(next(self._numbers)))
        worker.cause = cause
        self._slots[slot : slot + 1] = [worker]
        self._server.receive(worker)
        self._tasks.create_task(self._run_worker(worker), name=f"worker {worker.name}")
        return worker

    async def _run_worker(self, worker: Worker) -> None:
        """Run a worker to its end, report that, and replace the worker if it was lost.

        Another task reports how many of its calls were not continued. A worker that never became
        ready is replaced by the task that waits for it.
        """
        began_at = self._clock()
        try:
            await worker.start()
        except (OSError, RuntimeError) as full:  # out of processes, threads, descriptors or memory
            logger.error("worker {} cannot be started: {}", worker.name, full)
            worker.give_up()
            self._remove_ended_worker(worker)
            return
        if self._closing or worker.leaving:
            worker.kill()
        self._tasks.create_task(self._replace_early(worker), name="replace one that closes")
        code = await worker.run()
        calls = self._remove_ended_worker(worker)
        began_work = worker.ready.is_set()
        _report_end(self._server, worker, calls=calls, expected=worker.leaving or self._closing)
        if calls and not self._closing:
            counting = _count_lost(self._server, worker, calls)
            self._tasks.create_task(counting, name=f"the calls of {worker.name}")
        if worker not in self._slots or not began_work:
            return  # it has been replaced, or the task that waits for it to be ready replaces it
        if self._closing:
            self.failed = self.failed or (worker if code else None)
            return
        await self._replace_lost_worker(worker, lived_s=self._clock() - began_at)

    def _remove_ended_worker(self, worker: Worker) -> int:
        """Remove a worker that has ended; return how many calls it interrupted.

        While the pool is closing, the last one sets `all_gone`.
        """
        lost = self._server.lose(worker)
        if self._closing and not self._server.workers:
            self.all_gone.set()
        return lost

    async def _replace_early(self, worker: Worker) -> None:
        """Replace a worker that closes without our request, while it is still draining.

        An operator or a memory guard has sent it SIGTERM and expects a replacement. Without one, a
        pool of one worker could take no call until the worker's last call has ended.
        """
        await _wait_for_first(worker.closing, worker.ended)
        if worker.closing.is_set() and not worker.ended.is_set() and not worker.leaving:
            await self._replace_lost_worker(
                worker, lived_s=LIVED_LONG_S
            )  # without a pause: it did not fail

    async def _replace_lost_worker(self, worker: Worker, *, lived_s: float) -> None:
        """Start a replacement for a lost worker; repeat until one is ready.

        Args:
            worker: The lost worker; if it no longer has a slot, nothing happens.
            lived_s: How long it lived. After `LIVED_LONG_S`, it is replaced without a pause.
        """
        lost, lost_at = worker.name if worker.ready.is_set() else "", self._clock()
        while not self._closing and worker in self._slots:
            slot = self._slots.index(worker)
            deaths = 0 if lived_s >= LIVED_LONG_S else self._early_deaths.get(slot, 0)
            lived_s, self._early_deaths[slot] = 0.0, deaths + 1
            pause_s = REPLACE_PAUSES_S[min(deaths, len(REPLACE_PAUSES_S) - 1)]
            await wait_at_most(pause_s, self.all_gone)
            if self._closing or worker not in self._slots:
                return
            # During the pause, a reload may have removed the slot or given it to another worker.
            worker = self._start_worker(self._slots.index(worker), "lost")
            worker.replaces, worker.replaced_lost_at = lost, lost_at
            logger.info("worker {} replaces a lost worker", worker.name)
            if await _wait_until_ready(worker):
                return

    async def _replace_unless_ready(self, worker: Worker) -> None:
        """Wait for an initial or additional worker; replace it if it does not become ready."""
        if not await _wait_until_ready(worker) and not worker.ready.is_set():
            # One that was ready and then ended is replaced by `_run_worker`.
            await self._replace_lost_worker(worker, lived_s=0.0)

    async def _replace_running(self, slot: int) -> bool:
        """Replace a slot's worker, which then ends with its last call.

        Returns False if the new worker does not become ready; the old one then keeps the slot, but
        is replaced if it ended or closed meanwhile.
        """
        old = self._slots[slot]
        new = self._start_worker(slot, "relief")
        if await _wait_until_ready(new):
            logger.info("worker {} replaces {}", new.name, old.name)
            self._server.retire(old)
            return True
        if not self._closing:
            logger.error("a new worker cannot start; the running workers stay")
        if self._slots[slot] is not new:  # the new one was ready briefly, and is being replaced
            self._server.retire(self._slots[slot])
        self._slots[slot] = old
        if (old.ended.is_set() or old.closing.is_set()) and not self._closing:
            # In a task, so that the reload can first restore the old configuration: with the new
            # one, a worker may never start.
            replacing = self._replace_lost_worker(old, lived_s=LIVED_LONG_S)
            self._tasks.create_task(replacing, name="replace a worker")
        return False


def _report_end(server: PoolServer, worker: Worker, *, calls: int, expected: bool) -> None:
    """Log the end of a worker, which interrupts `calls`; emit an event if it was unexpected."""
    code, (kind, reason) = worker.code or 0, worker.loss
    began_work = worker.ready.is_set()
    if began_work and not expected:
        server.messages.send_to_one(
            "worker_lost", worker=worker.name, code=code, calls=calls, kind=kind, reason=reason
        )
    level = "INFO" if expected and (code == 0 or not began_work) else "ERROR"
    if worker.configured.is_set() or code < 0:  # otherwise the worker has printed the error
        logger.log(
            level, "worker {} has ended with {}, {} calls interrupted", worker.name, code, calls
        )
    if kind != "lost":
        logger.error("worker {} {}", worker.name, reason)


async def _count_lost(server: PoolServer, worker: Worker, calls: int) -> None:
    """Report how many calls of a worker that has ended were not continued within `RESUMABLE_S`."""
    lost = await server.interrupted.wait(worker.name, calls, within_s=RESUMABLE_S)
    if lost:
        logger.error("{} of {} calls of worker {} were lost", lost, calls, worker.name)
        server.messages.send_to_one("calls_lost", worker=worker.name, interrupted=calls, lost=lost)
    else:
        logger.info("all {} calls of worker {} go on", calls, worker.name)


async def _wait_until_ready(worker: Worker) -> bool:
    """Wait until a worker is ready; return False if it ends. After `BECOME_READY_S`, kill it."""
    try:
        async with asyncio.timeout(BECOME_READY_S):
            await _wait_for_first(worker.ready, worker.ended)
    except TimeoutError:
        logger.error("worker {} was not ready within {:g} s", worker.name, BECOME_READY_S)
        worker.kill()
        await worker.ended.wait()
    return worker.ready.is_set() and not worker.ended.is_set()


async def _wait_until_some_ready(workers: Sequence[Worker]) -> bool:
    """Wait for the first ready worker, then briefly for the others; return whether one is ready."""
    ready = False
    async with asyncio.TaskGroup() as waiting:
        pending = {
            waiting.create_task(_wait_until_ready(worker), name="wait") for worker in workers
        }
        while pending and not ready:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            ready = any(item.result() for item in done)
        if pending:
            await asyncio.wait(pending, timeout=OTHERS_READY_S)
        for item in pending:
            item.cancel()
    return ready


async def wait_at_most(wait_s: float, event: asyncio.Event) -> None:
    """Wait for an event, at most `wait_s`; whether it was set is not returned."""
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return


async def _wait_for_first(*events: asyncio.Event) -> None:
    """Wait for the first of the events."""
    async with asyncio.TaskGroup() as waiting:
        tasks = [waiting.create_task(event.wait(), name="wait") for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


BY_SIGNAL: Final = "SIGHUP"
BUSY: Final = "the workers are starting, stopping or being replaced"

Emit = Callable[..., None]
"""Makes a worker emit an event, given by its name and its fields."""


class Reloading:
    """Reloads the configuration, one round at a time, on a signal or an HTTP request.

    A request during a round is refused. Signals during a round cause one more round after it, with
    the file's content at that time.

    Attributes:
        open: Whether reloads are possible: the workers have started and are not being stopped.
        signal_pending: Whether a signal has arrived that has not yet caused a round.
    """

    def __init__(
        self, plan: ServePlan, slots: Slots, *, apply: Callable[[Settings], None], emit: Emit
    ) -> None:
        """Refuse requests until `open` is set.

        Args:
            plan: The configuration to reload.
            slots: The workers.
            apply: Applies settings to the supervisor itself.
            emit: Makes a worker emit the result.
        """
        self._plan = plan
        self._slots = slots
        self._apply = apply
        self._emit = emit
        self._busy = False
        self.open = self.signal_pending = False

    async def run(self, by: str, *, reply: asyncio.Future[Mapping[str, Any]] | None = None) -> None:
        """Reload the configuration and, if it is valid, replace all workers one by one.

        Args:
            by: What caused the reload, for the log and the event.
            reply: Gets the response to an HTTP request: at once if the reload is refused, otherwise
                once the configuration is read. `None` for a signal.
        """
        if self._busy or not self.open:
            self.signal_pending = self.signal_pending or reply is None
            effect = "refused" if reply else "postponed"
            logger.warning("the reload by {} is {}: {}", by, effect, BUSY)
            _set_reply(reply, {"busy": BUSY})
            return
        self._busy, self.signal_pending = True, False
        try:
            await self._reload_once(by, reply)
            while self.signal_pending and self.open:
                self.signal_pending = False
                await self._reload_once(BY_SIGNAL, None)
        finally:
            self._busy = False

    async def _reload_once(self, by: str, reply: asyncio.Future[Mapping[str, Any]] | None) -> None:
        """Run one round, and report its result unless the server is being stopped.

        The old configuration applies again if no new worker becomes ready.
        """
        result = await self._reread_file()
        _set_reply(reply, {"problems": result.problems, "changed": result.changed})
        if result.problems:
            self._emit_outcome(by, "wrong")
            return
        self._apply(self._plan.settings)
        renewal = await self._slots.renew()
        if not self.open and not renewal.complete:
            # `Slots.close` kills workers that are still loading.
            logger.info("not all workers were replaced, because the server is stopping")
            return
        if not renewal.complete and not renewal.workers:
            self._plan.restore()  # no worker runs with the new configuration
            self._apply(self._plan.settings)
            self._emit_outcome(by, "no_worker", changed=result.changed)
            return
        if renewal.complete:
            logger.info("all workers were replaced; those with calls end with their last call")
        outcome: ReloadOutcome = "replaced" if renewal.complete else "partly"
        self._emit_outcome(by, outcome, changed=result.changed, workers=renewal.workers)

    async def _reread_file(self) -> Reread:
        """Reload the file in a thread; if anything fails, nothing changes, and it is a problem."""
        try:
            return await asyncio.to_thread(self._plan.renew)
        except Exception as broken:  # noqa: BLE001 - no file may end the supervisor and all calls
            line = f"the configuration cannot be read: {type(broken).__name__}: {broken}"
            logger.opt(exception=broken).error("{}; nothing changes", line)
            return Reread(problems=(line,))

    def _emit_outcome(self, by: str, outcome: ReloadOutcome, **fields: Any) -> None:
        self._emit("reloaded", by=by, outcome=outcome, **fields)


def _set_reply(reply: asyncio.Future[Mapping[str, Any]] | None, answer: Mapping[str, Any]) -> None:
    """Set the reply, unless no one waits for it any longer."""
    if reply and not reply.done():
        reply.set_result(answer)
