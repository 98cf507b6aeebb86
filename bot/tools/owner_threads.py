"""Runs an owner's code outside of the event loop that carries the calls.

A blocking line, such as `time.sleep`, `requests` or a database driver, then delays only the owner's
own code. A plain function runs in a thread of its own. An asynchronous one runs in an event loop
that all calls of the process share, so that a client with open connections stays in its loop. If
such a function blocks that loop, the others run in a further loop until it is free again.
"""

import asyncio
import contextvars
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from loguru import logger

from bot.code_places import innermost_own, stack_of

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


class _OwnerLoop:
    """An event loop in a daemon thread, which cannot delay the end of the process."""

    def __init__(self, number: int) -> None:
        self.blocked = False
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run_for_ever, daemon=True, name=f"own tools {number}"
        )
        self._thread.start()

    def _run_for_ever(self) -> None:
        """Run the loop in its thread; log an exit that an owner's task raises, and run on."""
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as raised:  # of a task that an owner started
                logger.warning("a task of an owner's tool ended with {!r}", raised)

    def block(self) -> None:
        """Mark the loop as blocked, until it is free."""
        self.blocked = True
        self.loop.call_soon_threadsafe(self._mark_free)

    def _mark_free(self) -> None:
        self.blocked = False

    def place(self) -> str:
        """Return the function in which the loop's thread is, with file and line."""
        stack = stack_of(self._thread.ident or 0)
        if not stack:
            return "a thread that has ended"
        lines = [(code.co_filename, line or 0, code.co_name, "") for code, line in stack[::-1]]
        return place_of(traceback.StackSummary.from_list(lines))


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

        A loop that does not begin within `BEGIN_S` counts as blocked, and the next one is tried. If
        the wait is cancelled, so is the work.

        Raises:
            OwnerBusy: All loops are blocked.
        """
        for number in range(LOOPS):
            if number == len(self._loops):
                self._loops.append(_OwnerLoop(number))
            loop, begun = self._loops[number], Future[None]()
            if loop.blocked:
                continue
            running = asyncio.run_coroutine_threadsafe(_outcome_of_work(work, begun), loop.loop)
            outcome = asyncio.wrap_future(running)
            try:
                if await self._begins_in_time(begun, loop):
                    return _result_or_raise(await outcome)
            finally:
                begun.cancel()
                outcome.cancel()
        raise OwnerBusy("earlier requests to own tools block each other")

    async def _begins_in_time(self, begun: "Future[None]", loop: _OwnerLoop) -> bool:
        """Return whether the loop begins the work in time; otherwise tell what blocks it."""
        await asyncio.wait({asyncio.wrap_future(begun)}, timeout=BEGIN_S)
        if not begun.cancel():
            return True  # perhaps at the last moment
        if not loop.blocked:
            loop.block()
            logger.warning("{} blocks the owner's asynchronous tools", loop.place())
        return False


async def _outcome_of_work(work: Work, begun: "Future[None]") -> Outcome:
    """Do the work, unless it was given up before it began, and return its result or its error.

    The error is returned, because a future cannot hold a StopIteration.
    """
    if not begun.set_running_or_notify_cancel():
        return None, None
    begun.set_result(None)
    try:
        return await work(), None
    except BaseException as raised:  # noqa: BLE001 - raised in the waiting task
        return None, raised


# Python's words for a StopIteration in a coroutine or generator. An owner's error has others.
_RAISED_STOP_ITERATION: Final = tuple(
    (f"{kind} raised StopIteration",) for kind in ("coroutine", "generator", "async generator")
)


def _result_or_raise(outcome: Outcome) -> Any:
    """Return the value or raise the error.

    An error that would end the waiting task, such as a CancelledError, becomes a `RuntimeError`.
    """
    value, error = outcome
    if error is None:
        return value
    is_pythons = isinstance(error, RuntimeError) and error.args in _RAISED_STOP_ITERATION
    if is_pythons and isinstance(error.__cause__, StopIteration):
        error = error.__cause__  # only it knows the place
    if isinstance(error, Exception | SystemExit) and not isinstance(error, StopIteration):
        raise error
    # Any other, such as a CancelledError, would end the task that waits for the tool.
    stopped = RuntimeError(f"it was stopped from inside by {type(error).__name__}")
    raise stopped.with_traceback(error.__traceback__) from error


LOOPS_OF_PROCESS: Final = OwnerLoops()


async def in_owner_loop(work: Work) -> Any:
    """Run `work` in the loop of the owner's asynchronous functions.

    Raises:
        OwnerBusy: All loops are blocked.
    """
    return await LOOPS_OF_PROCESS.run(work)


async def in_thread(work: Callable[[], Any], free_threads: threading.BoundedSemaphore) -> Any:
    """Run `work` in a daemon thread and return its result or raise its error.

    If the wait is cancelled, the thread goes on, and keeps its place until the work is done.

    Raises:
        OwnerBusy: No thread is free.
    """
    if not free_threads.acquire(blocking=False):
        raise OwnerBusy("it is still busy with earlier requests")
    context, outcome = contextvars.copy_context(), Future[Outcome]()
    outcome.set_running_or_notify_cancel()  # the thread goes on if the wait is cancelled

    def body() -> None:
        """Do the work and free the thread's place; its error is raised in the waiting task."""
        try:
            found = context.run(work), None
        except BaseException as raised:  # noqa: BLE001 - raised in the waiting task
            found = None, raised
        finally:
            free_threads.release()
        outcome.set_result(found)

    threading.Thread(target=body, daemon=True, name="own tool").start()
    return _result_or_raise(await asyncio.wrap_future(outcome))
