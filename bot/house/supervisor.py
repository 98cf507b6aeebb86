"""The supervisor: one port, several workers, one that is lost is replaced; imports no Pipecat."""

import asyncio
import signal
import socket
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

from loguru import logger

from bot import clock
from bot.config.settings import Settings
from bot.exits import DONE, FAILED, CommandError
from bot.house.cores import own_cores, processes
from bot.house.crew import Worker, WorkerOrder
from bot.house.doorman import Doorman
from bot.house.office import Office
from bot.house.quotas import Quotas
from fallbacks.admission import Admission

STATE_S: Final = 0.2  # how long at most a worker does not know how the house is
READY_S: Final = 90.0  # a worker that takes longer to load is given up
STOP_S: Final = 20.0  # for goodbyes and connections, after the drain; then a worker is ended
WAITS_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before a worker that dies at once is replaced
HUNG_S: Final = 30.0  # a worker that reports nothing for so long serves nobody
TIDY_S: Final = 5.0  # at a MB a second the log grows by a quarter more than it should
WELL_S: Final = 60.0  # a worker that lived so long did not die at once


class Plan(Protocol):
    """What is to be run, as the configuration has it now."""

    settings: Settings

    def order(self, number: int) -> WorkerOrder:
        """Return what a new worker is told."""
        ...

    def tidy(self) -> None:
        """Do what one process does for all, such as putting a long log aside; blocks."""
        ...

    def renew(self) -> bool:
        """Read the configuration anew; False: it is wrong, which was said, and nothing changed."""
        ...


class Supervisor:
    """Keeps so many workers at work behind one listening socket."""

    def __init__(self, plan: Plan, listener: socket.socket) -> None:
        """Prepare; `run` starts the workers."""
        server = plan.settings.server
        self._plan = plan
        self._listener = listener
        self._numbers = count(1)
        self._slots: list[Worker] = []
        self._dying: dict[int, int] = {}  # by slot: workers in a row that died at once
        self._all_gone = asyncio.Event()
        self._signals = 0
        self._renewing: asyncio.Task[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._admission = Admission(
            seats=server.max_calls, cores=own_cores(), measured=server.admission == "measured"
        )
        self._quotas = Quotas(plan.settings)
        self.office = Office(self._admission, self._quotas, clock=clock.monotonic)

    @property
    def stopping(self) -> bool:
        """Whether no more calls are taken, for good."""
        return self._signals > 0

    async def run(self, ready: Callable[[], None]) -> int:
        """Serve until SIGTERM or SIGINT, then drain; return the exit code.

        The first worker reads the configuration alone: what is wrong with it is said once.

        Args:
            ready: Called when calls can be taken.
        """
        self._listen_to_signals()
        async with self._tasks:
            if code := await self._begin():
                return DONE if self.stopping else code
            doorman = Doorman(self._listener, hand=self.office.hand)
            around = [
                self._tasks.create_task(doorman.run(), name="take connections"),
                self._tasks.create_task(self._tell_state(), name="tell how the house is"),
                self._tasks.create_task(self._tidy(), name="tidy up"),
            ]
            ready()
            await self._all_gone.wait()
            for each in around:
                each.cancel()
        return self._code()

    def _code(self) -> int:
        failed = [each for each in self._slots if each.code]
        if failed and self._signals == 1:
            raise CommandError(f"worker {failed[0].name} ended with {failed[0].code}")
        return DONE

    async def _begin(self) -> int:
        """Start all workers; return the exit code if none can work."""
        first = self._start(0)
        await _first_of(first.configured, first.ended)
        if not self.stopping and not first.ended.is_set():
            self._fill()
        workers = tuple(self._slots)
        ready = await asyncio.gather(*(self._is_ready(each) for each in workers))
        if not any(ready) or self.stopping:
            await asyncio.gather(*(each.ended.wait() for each in workers))
            return first.code or FAILED
        for slot, worker in enumerate(workers):
            if not ready[slot] and not worker.ready.is_set():
                self._tasks.create_task(self._replace(slot, lived_s=0.0), name="replace a worker")
        return DONE

    def _fill(self) -> None:
        """Start the workers that are missing."""
        for slot in range(len(self._slots), processes(self._plan.settings)):
            self._start(slot)

    def _start(self, slot: int) -> Worker:
        worker = Worker(self._plan.order(next(self._numbers)))
        self._slots[slot : slot + 1] = [worker]
        self.office.receive(worker)
        self._tasks.create_task(self._live(worker), name=f"worker {worker.name}")
        return worker

    async def _live(self, worker: Worker) -> None:
        began = clock.monotonic()
        await worker.start()
        code = await worker.run()
        lost = self.office.lose(worker)
        expected = code == 0 and (worker.leaving or self.stopping)
        level = "INFO" if expected else "ERROR"
        if worker.configured.is_set():  # otherwise it has said itself what is wrong
            logger.log(level, "worker {} has ended with {}, {} calls lost", worker.name, code, lost)
        if self.stopping:
            if not self.office.workers:
                self._all_gone.set()
        elif worker in self._slots and worker.ready.is_set():
            await self._replace(self._slots.index(worker), lived_s=clock.monotonic() - began)

    async def _replace(self, slot: int, *, lived_s: float) -> None:
        """Start another worker in place of one that was lost; again until one is ready."""
        tries = 0 if lived_s >= WELL_S else self._dying.get(slot, 0)
        while not self.stopping and slot < len(self._slots):
            wait_s = WAITS_S[min(tries, len(WAITS_S) - 1)]
            self._dying[slot] = tries = tries + 1
            await self._sleep(wait_s)
            if self.stopping:
                return
            worker = self._start(slot)
            logger.info("worker {} takes the place of one that was lost", worker.name)
            if await self._is_ready(worker):
                return

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

    async def _tell_state(self) -> None:
        while True:
            self.office.tell_state()
            self._quotas.divide()
            for each in self.office.hung(HUNG_S):
                logger.error("worker {} hangs and is killed", each.name)
                each.kill()
            await asyncio.sleep(STATE_S)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            try:
                await asyncio.to_thread(self._plan.tidy)
            except OSError as full:
                logger.error("the log cannot be put aside: {}", full)

    async def _sleep(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._all_gone.wait()
        except TimeoutError:
            return

    # Signals.

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._renew)

    def _stop(self) -> None:
        self._signals += 1
        if self._signals > 1:
            self.office.tell_all("hurry")
            return
        self.office.stop()
        for worker in tuple(self.office.workers.values()):
            if not worker.ready.is_set():
                worker.kill()
        self._tasks.create_task(self._end_late(), name="end what does not end")
        if not self.office.workers:
            self._all_gone.set()

    async def _end_late(self) -> None:
        await self._sleep(self._plan.settings.shutdown.drain_s + STOP_S)
        for worker in tuple(self.office.workers.values()):
            logger.error("worker {} did not end and is killed", worker.name)
            worker.kill()

    def _renew(self) -> None:
        """Replace all workers, one after another; while that goes on it is not begun again."""
        if self.stopping or (self._renewing and not self._renewing.done()):
            logger.warning("SIGHUP is not heeded: the workers are being replaced, or stopped")
            return
        self._renewing = self._tasks.create_task(self._roll(), name="replace the workers")

    async def _roll(self) -> None:
        if not await asyncio.to_thread(self._plan.renew):
            return
        self._admission.seats = self._plan.settings.server.max_calls
        self._quotas.renew(self._plan.settings)
        for slot, old in enumerate(tuple(self._slots)):
            if slot >= processes(self._plan.settings):
                self._slots.remove(old)
                self.office.retire(old)
            elif not await self._relieve(slot, old):
                return
        self._fill()
        logger.info("all workers were replaced; those with calls end when their calls have ended")

    async def _relieve(self, slot: int, old: Worker) -> bool:
        """Have a new worker take over from an old one, whose calls go on; False: it cannot."""
        new = self._start(slot)
        if not await self._is_ready(new):
            logger.error("a new worker cannot start: the workers that run stay as they are")
            self._slots[slot] = old
            if old.ended.is_set() and not self.stopping:
                await self._replace(slot, lived_s=WELL_S)
            return False
        logger.info("worker {} relieves {}", new.name, old.name)
        self.office.retire(old)
        return True


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events has come."""
    waits = [asyncio.ensure_future(each.wait()) for each in events]  # noqa: TID251 - ended below
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


def run_supervisor(plan: Plan, listener: socket.socket, ready: Callable[[], None]) -> int:
    """Run a house of several workers until it was told to stop; return the exit code."""

    async def run() -> int:
        return await Supervisor(plan, listener).run(ready)

    return asyncio.run(run())
