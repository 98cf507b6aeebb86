"""Works on a database file in one thread: one round trip for a whole transaction.

Through aiosqlite each statement takes three round trips, and each of these costs the event loop
some steps (docs/decisions/0036).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from operations.database.database import ARGUMENTS, write_ahead

DRIVER: Final = "sqlite+pysqlite"
CLOSE_S: Final = 3.0  # for the end: a statement waits 2.5 s for another writer (`BUSY_S`)

Result = TypeVar("Result")


class FileThread:
    """Has one thread with one connection; later work is queued."""

    def __init__(self, url: URL) -> None:
        """Serve one file; it is opened later.

        Args:
            url: Of a SQLite database that has our tables.
        """
        self.engine: Final[Engine] = create_engine(
            url.set(drivername=DRIVER), connect_args=ARGUMENTS["sqlite"]
        )
        event.listen(self.engine, "connect", write_ahead)
        self._thread: ThreadPoolExecutor | None = None

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Run some work as one transaction.

        If it is cancelled, the result is unknown: the thread goes on.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="database file")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """Close the connection after the current work, unless that hangs."""
        thread, self._thread = self._thread, None
        if thread is not None:
            going = asyncio.get_running_loop().run_in_executor(thread, self.engine.dispose)
            await asyncio.wait([going], timeout=CLOSE_S)
            thread.shutdown(wait=False)
