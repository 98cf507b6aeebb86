"""Passes events to a developer's function, in a thread that all calls of the process share.

The function may raise, or block for ever: no call waits for it. Then events beyond `WAITING` are
dropped.
"""

import inspect
import queue
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from loguru import logger

WAITING: Final = 1000  # events that wait for the hook (chosen)


class EventHook:
    """One call's hook."""

    def __init__(self, hook: Callable[[Any], object]) -> None:
        self._hook = hook
        self._is_logged = False  # that it raised, or was too slow

    def emit(self, event: Any) -> None:
        """Queue an event without waiting; drop it if too many wait."""
        try:
            _open_queue().put_nowait((self, event))
        except queue.Full:
            self._log_once("on_event is too slow; events are dropped")

    def call(self, event: Any) -> None:
        """Call the hook, in its thread; of its problems, only the first one is logged.

        If it returns a coroutine, that is a problem as well, and is closed without running.
        """
        try:
            returned = self._hook(event)
            if inspect.iscoroutine(returned):
                returned.close()
                self._log_once("on_event must be a function without async")
        except Exception as error:  # noqa: BLE001 - a developer's code
            self._log_once(f"on_event raised {type(error).__name__}: {error}")

    def _log_once(self, text: str) -> None:
        """Log the first problem of this call's hook, and no other."""
        if not self._is_logged:
            self._is_logged = True
            logger.error("{}", text)


@cache
def _open_queue() -> "queue.Queue[tuple[EventHook, Any]]":
    """Return the queue, after starting the thread that reads it until the process ends."""
    waiting = queue.Queue[tuple[EventHook, Any]](WAITING)

    def call_hooks() -> None:
        while True:
            hook, event = waiting.get()
            hook.call(event)

    threading.Thread(target=call_hooks, name="on_event", daemon=True).start()
    return waiting
