"""Measures the cost of telling events step by step: in the loop, in threads, and as loop lag.

Comparing windows with and without it gives the total, but coarsely, because other work on the
machine costs more. Here each loop step and each thread job that belongs to telling is timed on the
thread's own clock, so other work hardly counts. Not seen: colder caches, and the way from a
thread's end back into the loop.
"""

import asyncio
import threading
import time
from asyncio.events import Handle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = tuple(
    f"{ROOT}/{room}/"
    for room in (
        "operations/telemetry",
        "operations/database",
        "operations/record",
        "operations/notify",
    )
)
FEED: Final = ("/uvicorn/protocols/http/", "/starlette/responses.py")
"""Writes to an open console; the windows have no other HTTP request."""
NAMES: Final = ("the record", "incidents")  # tasks that other code watches over
WRITERS: Final = "log to "  # how the names of the log's threads begin
IDLE_S: Final = 50e-6  # a shorter wait of the loop counts as none


class Account:
    """Counts the cost of telling in one loop while `counting` runs.

    Attributes:
        loop_s: Processor time of its steps in the loop.
    """

    def __init__(self, owner: object) -> None:
        """Count `owner`'s callbacks, and the tasks that belong to telling."""
        self.loop_s = 0.0
        self._owner = owner
        self._known: WeakKeyDictionary[asyncio.Task[Any], bool] = WeakKeyDictionary()
        self._jobs_s = 0.0  # of threads, in jobs that are done
        self._jobs: dict[
            int, float
        ] = {}  # in progress: a thread, and its own clock at the beginning
        self._lock = threading.Lock()
        self._writers = [
            item.ident
            for item in threading.enumerate()
            if item.name.startswith(WRITERS) and item.ident is not None
        ]
        self._spell_at = (0.0, 0.0)  # the count when the loop was last idle

    @property
    def threads_s(self) -> float:
        """Processor time of threads: those that write the log, and others' work for telling."""
        with self._lock:
            running = [_clock_s(thread) - began_s for thread, began_s in self._jobs.items()]
            return self._jobs_s + sum(running) + sum(_clock_s(writer) for writer in self._writers)

    @property
    def owed_s(self) -> float:
        """Time of telling since the loop was last idle; its lag is at most this much.

        A thread need not have kept the loop from running.
        """
        loop_s, threads_s = self._spell_at
        return self.loop_s - loop_s + self.threads_s - threads_s

    def note_told(self, took_s: float) -> None:
        """Count the cost of telling an event in a call's own step."""
        self.loop_s += took_s

    def is_telling(self, owner: object) -> bool:
        """Return whether a step of the loop belongs to telling, by the method that it calls."""
        if not isinstance(owner, asyncio.Task):
            return owner is self._owner
        task: asyncio.Task[Any] = owner
        known = self._known.get(task)
        if known is None:
            known = self._known[task] = _tells(task)
        return known

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count while the block runs, in the loop that runs now."""
        loop: Any = asyncio.get_running_loop()
        handles: Any = Handle
        run, select, execute = handles._run, loop._selector.select, loop.run_in_executor  # noqa: SLF001 - asyncio's own; nothing else passes every step
        handles._run = self._stepping(run)  # noqa: SLF001
        loop._selector.select = self._selecting(select)  # noqa: SLF001
        loop.run_in_executor = self._executing(execute)
        try:
            yield
        finally:
            handles._run = run  # noqa: SLF001
            del loop._selector.select, loop.run_in_executor  # noqa: SLF001

    def _stepping(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        def run_counted(handle: Any) -> None:
            owner = getattr(handle._callback, "__self__", None)  # noqa: SLF001
            if owner is None or not self.is_telling(owner):
                run(handle)
                return
            began_s = time.thread_time()
            run(handle)
            self.loop_s += time.thread_time() - began_s

        return run_counted

    def _selecting(self, select: Callable[[Any], Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        def select_noted(timeout: float | None = None) -> Sequence[Any]:
            began_s = time.perf_counter()
            events = select(timeout)
            if time.perf_counter() - began_s > IDLE_S:
                self._spell_at = self.loop_s, self.threads_s
            return events

        return select_noted

    def _executing(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def execute_counted(executor: Any, work: Callable[..., Any], *arguments: Any) -> Any:
            task = asyncio.current_task()
            if task is not None and self.is_telling(task):
                return execute(executor, self._job, work, *arguments)
            return execute(executor, work, *arguments)

        return execute_counted

    def _job(self, work: Callable[..., Any], *arguments: Any) -> Any:
        thread, began_s = threading.get_ident(), time.thread_time()
        with self._lock:
            self._jobs[thread] = began_s
        try:
            return work(*arguments)
        finally:
            with self._lock:
                del self._jobs[thread]
                self._jobs_s += time.thread_time() - began_s


def _clock_s(thread: int) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


def _tells(task: asyncio.Task[Any]) -> bool:
    if task.get_name() in NAMES:
        return True
    code = getattr(task.get_coro(), "cr_code", None)
    file = code.co_filename if code else ""
    return file.startswith(ROOMS) or any(item in file for item in FEED)
