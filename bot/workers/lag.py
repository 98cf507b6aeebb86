"""Measures our own lag while the process is open, and tells it as what it is.

The loop beats (`fallbacks/lag.py`), which is heard by those who need to know (`meter.py` by
what room there is for calls). And now and then a job that does nothing says how long a call
waits for a free thread. What is late at the line, its sender tells.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from bot.clock import Clock
from bot.workers.lag_rules import Lagging
from bot.workers.loop_watch import LoopWatch
from calls.entry import Tell
from calls.events import ProcessLagged
from fallbacks.lag import PERIOD_S, Lag

Beat = Callable[[float, float], None]
"""Takes a beat's moment, and how much later it came than it should have."""

THREADS_ASKED_S: Final = 1.0  # between two looks at how long a job waits for a thread


@dataclass(slots=True, kw_only=True)
class LagTeller:
    """Tells how late something was, in good time; see `bot.workers.lag_rules`."""

    lag: Lag
    tell: Tell
    clock: Clock
    lagging: Lagging = field(default_factory=Lagging)
    listeners: list[Beat] = field(default_factory=list[Beat])

    @contextmanager
    def heard_by(self, listener: Beat) -> Iterator[None]:
        """Have every beat told to somebody else, too, while the block runs."""
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

    def note_line(self, lag_s: float) -> None:
        """Note that sound went to a caller so late, though it was there."""
        self.tell_all(self.lagging.note("line", lag_s, step="", now=self.clock()))

    def tell_all(self, facts: Iterable[ProcessLagged]) -> None:
        """Tell what is due."""
        for fact in facts:
            self.tell(fact)


@asynccontextmanager
async def measure_lag(lag: Lag, *, tell: Tell, clock: Clock) -> AsyncIterator[LagTeller]:
    """Measure while the block runs."""
    teller = LagTeller(lag=lag, tell=tell, clock=clock)
    watch = LoopWatch(clock)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_beat(watch, teller), name="beat"),
            tasks.create_task(_ask_threads(teller), name="ask for a thread"),
        ]
        watch.start()
        try:
            yield teller
        finally:
            for each in running:
                each.cancel()
            watch.stop()
            lag.rest()


async def _beat(watch: LoopWatch, teller: LagTeller) -> None:
    clock, lag, lagging = teller.clock, teller.lag, teller.lagging
    due_at = clock()
    while True:
        now = clock()
        lag.beat(now)
        watch.beat(now)
        if now > due_at + PERIOD_S:
            step = watch.take_step()
            teller.tell_all(lagging.note("loop", now - due_at, step=step, now=now))
        for listener in teller.listeners:
            listener(now, max(0.0, now - due_at))
        teller.tell_all(lagging.tick(now))
        due_at = now + PERIOD_S
        await asyncio.sleep(PERIOD_S)


async def _ask_threads(teller: LagTeller) -> None:
    """Find out how long a job waits for a thread; what the loop was late is not counted twice."""
    clock, lag = teller.clock, teller.lag
    while True:
        await asyncio.sleep(THREADS_ASKED_S)
        asked_at, stalled_s = clock(), lag.stalled_s(clock())
        began_at = await asyncio.to_thread(clock)
        own_s = lag.stalled_s(clock()) - stalled_s
        waited_s = began_at - asked_at - own_s
        teller.tell_all(teller.lagging.note("executor", waited_s, step="", now=clock()))
