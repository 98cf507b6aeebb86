"""The calls in progress and the configuration of several machines, shared through `server.store`.

The leading worker of each machine publishes those of its own machine.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from bot.workers.pool import WorkerPool
from configuration.settings import ServerSettings
from operations.keep_running import at_work, keep_running
from runtime import clock
from runtime.clock import Clock

VIEW: Final = "view"  # kind of the values in the store
PUBLISH_EVERY_S: Final = 2.0  # chosen: one call's row has 0.6 kB
VIEW_S: Final = 6.0  # three times as long: then the machine is gone
READ_EVERY_S: Final = 1.0
MAX_CALLS: Final = 100  # in the view of one machine; the oldest ones

View = dict[str, Any]
"""`machine` (its name, which may be empty), `configuration` (a fingerprint), `calls`."""


class MachineViews:
    """Publishes the view of this machine, and reads those of the others.

    Attributes:
        machine: The name of this machine; empty if it has none.
    """

    def __init__(
        self, pool: WorkerPool, server: ServerSettings, *, clock: Clock = clock.monotonic
    ) -> None:
        """Share through the key-value store of `pool`, if the server has a shared one."""
        self._pool = pool
        self._clock = clock
        self.machine = server.machine or ""
        self._is_shared = server.store is not None
        self._others: Sequence[View] = ()
        self._read_at = -READ_EVERY_S

    @property
    def problem(self) -> str:
        """Why the other machines cannot be seen, as a sentence; empty if they can."""
        if not self._pool.store_away:
            return ""
        name = f"machine {self.machine}" if self.machine else "this machine"
        return f"Only {name} is shown. Calls of the others go on, too."

    def own(self, calls: Sequence[Mapping[str, Any]] = ()) -> View:
        """Return the view of this machine, with these calls."""
        named = [{**call, "machine": self.machine} for call in calls]
        configuration = self._pool.configuration
        return {"machine": self.machine, "configuration": configuration, "calls": named}

    async def publish(self, calls: Sequence[Mapping[str, Any]]) -> None:
        """Store the view of this machine for `VIEW_S`, with the first `MAX_CALLS` of its calls."""
        await self._pool.key_values.keep(self._token, self.own(calls[:MAX_CALLS]), for_s=VIEW_S)

    async def others(self) -> Sequence[View]:
        """Return the views of the other machines, the newest last, read once in `READ_EVERY_S`.

        Empty without a store, while it is away, and after a read that failed.
        """
        if not self._is_shared or self._pool.store_away:
            return ()
        if self._clock() >= self._read_at + READ_EVERY_S:
            self._read_at = self._clock()
            try:
                views = await self._pool.key_values.read_all(VIEW)
            except LookupError:
                views = {}
            self._others = [view for token, view in views.items() if token != self._token]
        return self._others

    @property
    def _token(self) -> str:
        return f"{VIEW} {self.machine or self._pool.id}"


@asynccontextmanager
async def publish_view(pool: WorkerPool, server: ServerSettings) -> AsyncIterator[None]:
    """Publish the view of this machine while the block runs and this process leads the pool.

    Does nothing without a shared store.
    """
    views = MachineViews(pool, server)

    async def repeat() -> None:
        while True:
            await asyncio.sleep(PUBLISH_EVERY_S)
            if pool.leads:
                answers = await pool.peers.ask_all("calls")
                await views.publish([call for calls in answers for call in calls])

    if server.store is None:
        yield
        return
    async with at_work(view=keep_running("publishing the live view", repeat)):
        yield
