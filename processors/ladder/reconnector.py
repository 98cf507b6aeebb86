"""Makes a rung's lost connection again, in the background and never inside a turn."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from fallbacks.backoff import Backoff
from processors.ladder.alarm import Alarm


class TaskOwner(Protocol):
    """Owns background tasks: a Pipecat processor."""

    def create_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with its owner."""
        ...

    async def cancel_task(self, task: asyncio.Task[None]) -> None:
        """Cancel a task and wait for it."""
        ...


class Reconnector:
    """Connects one rung until it is connected, with longer and longer waits.

    `connect` makes one try and returns whether it succeeded; it must bound its own time.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[bool]],
        *,
        clock: Callable[[], float],
        allowed: Callable[[], bool] = lambda: True,
        backoff: Backoff | None = None,
    ) -> None:
        """Prepare.

        Args:
            name: Of the rung.
            connect: Makes one try.
            clock: Monotonic, in seconds.
            allowed: Whether the rung may be asked at the moment; if not, the try is left out.
            backoff: The waits between the tries, if they are not the usual ones.
        """
        self.backoff = backoff or Backoff()
        self._name = name
        self._connect = connect
        self._now = clock
        self._allowed = allowed
        self._hurry = Alarm(clock)
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a connection is being made again."""
        return self._task is not None and not self._task.done()

    def begin(self, owner: TaskOwner) -> None:
        """Begin to connect anew, unless that has begun already; returns at once."""
        if not self.busy and not self._closed:
            self._task = owner.create_task(self._run(), f"{self._name}: reconnect")

    def hurry(self) -> None:
        """Make the next try now: somebody waits for it."""
        self._hurry.ring()

    async def close(self, owner: TaskOwner) -> None:
        """Stop trying, for good: a try that is cut short tells that there is no connection."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            await owner.cancel_task(task)

    async def _run(self) -> None:
        while True:
            due_at = self._now() + self.backoff.next_s()
            if await self._hurry.wait(due_at) < due_at:
                self.backoff.hurried()
            if self._allowed() and await self._connect():
                self.backoff.up(self._now())
                return
