"""What one process of the house does at a time: to read what is kept of a call, and to renew it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from weakref import WeakValueDictionary

from bot.workers.pool import Peers

LOOK_S: Final = 0.01  # chosen: a turn takes some milliseconds
WAIT_S: Final = 2.0  # a supervisor that answers later has worse troubles (`bot/workers/wire.py`)


class OneAtATime:
    """Turns by name: who has one is alone with it in the house.

    A process that dies in its turn holds nobody up. A supervisor that does not answer does not for
    long: then each goes on, as it may be the only one.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[None]:
        """Wait for the turn of this name, and have it while the block runs."""
        async with self._here.setdefault(what, asyncio.Lock()):
            try:
                await self._come(what)
                yield
            finally:
                self._peers.give_back(what)  # harmless where it is another's

    async def _come(self, what: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not await self._peers.claim(what):  # noqa: ASYNC110 - another process has it
                    await asyncio.sleep(LOOK_S)
