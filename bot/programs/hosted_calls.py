"""The calls of a host that is not our server: each opens a house of its own, and all end together.

A host calls `bot.bot` and hands over a connection, nothing else; so its calls are found by the
context in which it does so.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from loguru import logger

from bot.call.switchboard import Switchboard, SwitchboardFullError
from bot.workers.opening import CLOSE_S


class HostedCalls:
    """Those in progress, and how they end."""

    def __init__(self) -> None:
        """Begin with none."""
        self._switchboards: set[Switchboard] = set()
        self._here = 0
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a call, from its connection until all that was opened for it is closed."""
        self._here += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._here -= 1
            if not self._here:
                self._empty.set()

    @contextmanager
    def at(self, switchboard: Switchboard) -> Iterator[None]:
        """Have the call at this switchboard end with the others.

        Raises:
            SwitchboardFullError: They are being ended.
        """
        if self._closing:
            raise SwitchboardFullError("We are closing. Please call again in a few minutes.")
        self._switchboards.add(switchboard)
        try:
            yield
        finally:
            self._switchboards.discard(switchboard)

    async def close(self, *, drain_s: float) -> None:
        """Take no call any more, and return when those in progress have ended.

        Args:
            drain_s: How long a call may go on before it says goodbye.
        """
        self._closing = True
        ends = [each.close(drain_s=drain_s) for each in self._switchboards]
        for failed in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(failed, Exception):
                logger.error("{}", failed)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("what a call had opened was not closed within {:g} s", CLOSE_S)

    def hurry(self) -> None:
        """Have `close` wait for no call any more."""
        for each in tuple(self._switchboards):
            each.hurry()


HOSTED: Final[ContextVar[HostedCalls]] = ContextVar("the calls of our host")


def calls_of_host() -> HostedCalls:
    """Return the calls of the host in whose context we are; of another host, this call alone."""
    return HOSTED.get(None) or HostedCalls()
