"""A ladder of providers in the place of one: what its decision says is done here, in order.

Providers report from tasks of their own, which may be cancelled at any time; so what they report
waits in an inbox, and only the stage's own task and the call's frames make it work. Both hold the
lock: a decision sees one event at a time, and its actions are done before the next one.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from pipecat.processors.frame_processor import FrameProcessor

from processors.ladder.alarm import Alarm

INBOX: Final = 1000  # reports that wait; who reports more waits, too: nothing of it is lost

Report = TypeVar("Report")


class Stage(FrameProcessor, ABC, Generic[Report]):
    """The part that all stages share.

    A stage has `handle`, which hands a provider's report to the decision and does what it says;
    `tick`, the same for the passing of time; and `wake_at`. A frame of the call is taken inside
    `async with self.working():`, which asks for the next moment afterwards:

        class EchoStage(Stage[Heard]):
            async def handle(self, report: Heard, now: float) -> None:
                for action in self._decision.handle(report, now):
                    await self._do(action)

            async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
                await super().process_frame(frame, direction)
                async with self.working():
                    ...

    A provider's task reports with `await stage.report(...)`; `watch` and `stop_watching` begin and
    end the stage's own task.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self.now = clock
        self.lock = asyncio.Lock()
        self.alarm = Alarm(clock)
        self._inbox: asyncio.Queue[Report] = asyncio.Queue(INBOX)

    @property
    @abstractmethod
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""

    @abstractmethod
    async def handle(self, report: Report, now: float) -> None:
        """Decide on what a provider reported, and do it."""

    @abstractmethod
    async def tick(self, now: float) -> None:
        """Do what is due."""

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Keep the stage's own task out, and have it ask for the next moment afterwards."""
        try:
            async with self.lock:
                yield
        finally:
            self.alarm.ring()

    async def report(self, report: Report) -> None:
        """Leave a report for the stage's own task; waits only while the inbox is full."""
        await self._inbox.put(report)
        self.alarm.ring()

    def watch(self) -> None:
        """Begin to follow reports and the clock."""
        self.alarm.start(self, self._next_at, self._act)

    async def stop_watching(self) -> None:
        """End it."""
        await self.alarm.stop()

    def _next_at(self) -> float | None:
        return self.wake_at if self._inbox.empty() else self.now()

    async def _act(self, now: float) -> None:
        async with self.lock:
            while not self._inbox.empty():
                await self.handle(self._inbox.get_nowait(), self.now())
            due_at = self._next_at()
            if due_at is not None and due_at <= max(now, self.now()):
                await self.tick(max(now, self.now()))
