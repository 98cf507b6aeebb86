"""Runs an owner's code outside of the event loop that carries the calls.

A blocking line, such as `time.sleep`, `requests` or a database driver, then delays only the owner's
own code. A plain function runs in a thread of its own. An asynchronous one runs in an event loop
that all calls of the process share, so that a client with open connections stays in its loop. If
such a function blocks that loop, the others run in a further loop until it is free again.
"""

import asyncio
import contextvars
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from loguru import logger

from bot.code_places import innermost_own

LOOPS: Final = 4  # of a process (chosen); each can be blocked by one function
BEGIN_S: Final = 0.5  # for a function to begin; after that, its loop is blocked

_CALLERS: Final = frozenset(
    str(Path(__file__).with_name(name))
    for name in ("own_functions.py", "owner_threads.py", "toolbox.py")
)
Outcome = tuple[Any, BaseException | None]
Work = Callable[[], Awaitable[Any]]


class OwnerBusy(Exception):  # noqa: N818 - not a bug
    """An owner's function cannot begin, because earlier ones occupy all threads."""


class _Job:
    """A function posted to one loop; another loop waits for its outcome."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._waiting = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._claim = threading.Lock()  # held from the start of the job, or once it is given up
        self._task: asyncio.Task[None] | None = None
        self.begun = asyncio.Event()
        # The error is part of the outcome, because a future cannot hold a StopIteration.
        self.outcome: asyncio.Future[Outcome] = self._waiting.create_future()

    def claim(self) -> bool:
        """Return whether the job has not begun; then no other loop begins it."""
        return self._claim.acquire(blocking=False)

    def begin(self) -> None:
        """Begin the job in the running loop, unless an earlier one blocks the loop first."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name="own tool", context=self._context)

    def cancel(self) -> None:
        """Cancel the job; called in the loop to which it was posted."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        if not self.claim():
            return
        _call_in(self._waiting, self.begun.set)
        value, error = None, None
        try:
            value = await self._work()
        except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as raised:  # noqa: BLE001 - raised in the waiting task
            error = raised
        _call_in(self._waiting, _settle, self.outcome, (value, error))


class _OwnerLoop:
    """An event loop in a daemon thread, which cannot delay the end of the process."""

    def __init__(self, number: int) -> None:
        self.blocked = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"own tools {number}")
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as raised:  # of a task that an owner started
                logger.warning("a task of an owner's tool ended with {!r}", raised)

    def post(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the loop's thread, once the loop is free."""
        _call_in(self._loop, callback)

    def block(self) -> None:
        """Mark the loop as blocked, until it is free."""
        self.blocked = True
        self.post(self._unblock)

    def _unblock(self) -> None:
        self.blocked = False

    def place(self) -> str:
        """Return the function in which the loop's thread is, with file and line."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - documented for such use
        return place_of(traceback.extract_stack(frame)) if frame else "a thread that has ended"


def place_of(stack: traceback.StackSummary) -> str:
    """Return the innermost function of a stack that is not a library's, with file and line."""
    frames = stack[::-1]
    if not frames:
        return "an unknown place"
    index = innermost_own(item.filename for item in frames)
    if index and frames[index].filename in _CALLERS:  # the tool is in an installed package
        index -= 1
    frame = frames[index]
    return f"{frame.name} ({frame.filename}:{frame.lineno})"


class OwnerLoops:
    """The event loops of an owner's asynchronous functions; the first one is preferred."""

    def __init__(self) -> None:
        self._loops: list[_OwnerLoop] = []

    async def run(self, work: Work) -> Any:
        """Run `work` in the first loop that is free, and return its result or raise its error.

        Raises:
            OwnerBusy: All loops are blocked.
        """
        for number in range(LOOPS):
            if number == len(self._loops):
                self._loops.append(_OwnerLoop(number))
            loop, job = self._loops[number], _Job(work)
            if not loop.blocked and await self._begin(job, loop):
                return await _outcome(job, loop)
        raise OwnerBusy("earlier requests to own tools block each other")

    async def _begin(self, job: _Job, loop: _OwnerLoop) -> bool:
        """Return whether the loop begins the job in time; otherwise tell what blocks it."""
        loop.post(job.begin)
        try:
            async with asyncio.timeout(BEGIN_S):
                await job.begun.wait()
        except TimeoutError:
            if not job.claim():
                return True  # at the last moment
            if not loop.blocked:
                loop.block()
                logger.warning("{} blocks the owner's asynchronous tools", loop.place())
            return False
        except asyncio.CancelledError:
            if not job.claim():
                loop.post(job.cancel)
            raise
        return True


async def _outcome(job: _Job, loop: _OwnerLoop) -> Any:
    try:
        return _result(await job.outcome)
    except asyncio.CancelledError:
        loop.post(job.cancel)
        raise


def _result(outcome: Outcome) -> Any:
    value, error = outcome
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        raise RuntimeError("it was stopped from inside") from error  # noqa: TRY004 - we were not cancelled
    if error is not None:
        raise error
    return value


def _settle(outcome: asyncio.Future[Outcome], value: Outcome) -> None:
    if not outcome.done():  # otherwise the wait was cancelled
        outcome.set_result(value)


def _call_in(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: Any
) -> None:
    """Call `callback` in another thread's loop; do nothing if that loop has been closed."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise


LOOPS_OF_PROCESS: Final = OwnerLoops()


async def in_owner_loop(work: Work) -> Any:
    """Run `work` in the loop of the owner's asynchronous functions.

    Raises:
        OwnerBusy: All loops are blocked.
    """
    return await LOOPS_OF_PROCESS.run(work)


async def in_thread(work: Callable[[], Any], free_threads: threading.BoundedSemaphore) -> Any:
    """Run `work` in a daemon thread and return its result.

    Raises:
        OwnerBusy: No thread is free.
    """
    if not free_threads.acquire(blocking=False):
        raise OwnerBusy("it is still busy with earlier requests")
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    outcome: asyncio.Future[Outcome] = loop.create_future()

    def body() -> None:
        value, error = None, None
        try:
            value = context.run(work)
        except (Exception, SystemExit, KeyboardInterrupt) as raised:  # noqa: BLE001 - raised in the waiting task
            error = raised
        finally:
            free_threads.release()
        _call_in(loop, _settle, outcome, (value, error))

    threading.Thread(target=body, daemon=True, name="own tool").start()
    return _result(await outcome)
