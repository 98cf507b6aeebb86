"""Waits for a moment or for news, whichever comes first: the one such loop of a call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from loguru import logger
from pipecat.processors.frame_processor import FrameProcessor

WakeAt: TypeAlias = Callable[[], float | None]
"""Returns when there is something to do next, as things stand; None: not by the clock."""

Act: TypeAlias = Callable[[float], Awaitable[None]]
"""Does what is due at the moment it is given."""

AGAIN_S: Final = 0.05  # chosen: behind a mistake of ours, twice as long behind each one after it
MOST_AGAIN_S: Final = 5.0  # chosen: it is looked at so often, and so often logged, in the end


class Alarm:
    """Wakes a waiting task when a moment has come or something has changed.

    Moments are monotonic, in seconds. A decision says when it has something to do (`wake_at`); news
    that moves this moment rings the alarm:

        alarm = Alarm(clock)
        alarm.start(processor, lambda: decision.wake_at, act)
        alarm.ring()  # something has come: `act` looks at it, and `wake_at` is asked again
        await alarm.stop()
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._now = clock
        self._rung = asyncio.Event()
        self._running: tuple[FrameProcessor, asyncio.Task[None]] | None = None

    def start(self, owner: FrameProcessor, wake_at: WakeAt, act: Act) -> None:
        """Run in a task of `owner` until `stop`."""
        if self._running is None:
            task = owner.create_task(self.run(wake_at, act), f"{owner.name}: watch")
            self._running = owner, task

    async def stop(self) -> None:
        """End the task, unless it is the one that asks: that ends with its owner."""
        running, self._running = self._running, None
        if running is not None:
            owner, task = running
            if task is not asyncio.current_task():
                await owner.cancel_task(task)

    def ring(self) -> None:
        """Wake the task that waits now, or the next that does; never waits itself."""
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

    async def run(self, wake_at: WakeAt, act: Act) -> None:
        """Act at once, and again whenever the alarm rings or `wake_at` has come; never returns.

        What raises is logged, and done again: it may be one report alone that nobody had thought
        of, and without this loop a stage would be silent until the end of the call.
        """
        now, again_s = self._now(), AGAIN_S
        while True:
            try:
                await act(now)
                now, again_s = await self.wait(wake_at()), AGAIN_S
            except Exception as broken:  # noqa: BLE001 - a mistake of ours ends no stage
                logger.opt(exception=broken).error("what was due in a call failed, and goes on")
                await asyncio.sleep(again_s)
                now, again_s = self._now(), min(2 * again_s, MOST_AGAIN_S)
