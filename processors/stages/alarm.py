"""Waits for a moment or for news, whichever comes first: the one such loop of a call."""

import asyncio
from collections.abc import Awaitable, Callable


class Alarm:
    """Wakes whoever waits when a moment has come or something has changed.

    Moments are monotonic, in seconds. A decision says when it has something to do (`wake_at`); news
    that moves this moment rings the alarm:

        alarm = Alarm(clock)
        owner.create_task(alarm.run(lambda: decision.wake_at, act), "watch")
        alarm.ring()  # something has come: `act` looks at it, and `wake_at` is asked again
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._now = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits now or next; never waits itself."""
        self._rung.set()

    async def wait(self, until: float | None) -> float:
        """Return when the alarm rings or a moment has come, and say what moment it is.

        A timer may ring a hair early: when `until` was waited for, no earlier moment is returned.

        Args:
            until: None or infinity: only a ring ends the wait.
        """
        wait_s = None if until is None else until - self._now()
        if not self._rung.is_set() and (wait_s is None or wait_s > 0):
            try:
                async with asyncio.timeout(None if wait_s == float("inf") else wait_s):
                    await self._rung.wait()
            except TimeoutError:
                return self._now() if until is None else max(until, self._now())
        self._rung.clear()
        return self._now()

    async def run(
        self, wake_at: Callable[[], float | None], act: Callable[[float], Awaitable[None]]
    ) -> None:
        """Act at once, and again whenever the alarm rings or `wake_at` has come; never returns.

        Args:
            wake_at: When there is something to do next, as things stand; None: not by the clock.
            act: Does what is due at the moment it is given.
        """
        now = self._now()
        while True:
            await act(now)
            now = await self.wait(wake_at())
