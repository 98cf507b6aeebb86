"""Counts the calls of lost workers that no process goes on with, here or at another machine.

A worker stores the state of each of its calls, with the call's epoch, at least every ten seconds. A
process that goes on with a call raises its epoch.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from runtime.clock import Clock
from transports.parked import PREFIX
from transports.pool import KeyValues

CHECK_INTERRUPTED_EVERY_S: Final = 1.0
STORED_S: Final = 20.0  # a call without a newer state is over: twice `SAVE_AGAIN_S`


class InterruptedCalls:
    """Knows which calls each worker has, by the states that it stores."""

    def __init__(self, values: KeyValues, *, clock: Clock) -> None:
        """Begin without calls.

        Args:
            values: The pool's values, which are asked for a call's epoch.
            clock: Monotonic, in seconds.
        """
        self._values, self._clock = values, clock
        # By worker and token: when the state was stored, and its epoch; the newest are last.
        self._stored: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, worker: str, value: Mapping[str, Any]) -> None:
        """Record a request to store a call's state, or `None` at its end; ignore other values."""
        token, now = value["token"], self._clock()
        if not token.startswith(PREFIX):
            return
        self._stored.pop((worker, token), None)
        if value["value"] is not None:
            self._stored[worker, token] = now, value["epoch"] or 0
        while self._stored and next(iter(self._stored.values()))[0] < now - STORED_S:
            del self._stored[next(iter(self._stored))]

    async def wait(self, worker: str, calls: int, *, within_s: float) -> int:
        """Wait until a lost worker's calls go on; return how many do not within this time.

        Those whose state was not stored count, too.
        """
        since = self._clock() - STORED_S
        epochs = {
            token: epoch
            for (holder, token), (at, epoch) in self._stored.items()
            if holder == worker and at >= since
        }
        left = calls
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while left > 0:
                    for token in [it for it in epochs if await self._goes_on(it, epochs[it])]:
                        del epochs[token]
                        left -= 1
                    await asyncio.sleep(CHECK_INTERRUPTED_EVERY_S)
        return max(0, left)

    async def _goes_on(self, token: str, epoch: int) -> bool:
        """Return whether the call has a later epoch, as far as the store answers."""
        if any(its == token and at > epoch for (_, its), (_, at) in self._stored.items()):
            return True
        with suppress(LookupError):
            return await self._values.epoch(token) > epoch
        return False
