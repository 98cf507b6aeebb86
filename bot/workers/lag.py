"""Measures the event loop's lag and reports it.

A task in the loop beats every `PERIOD_S` (`fallbacks/lag.py`); `meter.py` gets the beats, too, to
compute how many calls fit. Once a second, an empty job measures how long work waits for a free
thread. Audio that is sent late is reported by its sender.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Final

from bot.code_places import stack_of
from bot.workers.lag_rules import Lagging
from calls.entry import Emit
from calls.events import ProcessLagged
from fallbacks.lag import PERIOD_S, Lag
from runtime.clock import Clock

SAMPLE_EVERY_S: Final = 0.05  # a step worth reporting lasts for several samples
SAMPLE_AFTER_S: Final = PERIOD_S + 0.05  # without a beat for this long, the loop's stack is sampled
PROJECT: Final = Path(__file__).resolve().parents[2]
NO_STEP: Final = "no step: the machine, or another thread, kept the loop waiting"
_WAIT_FUNCTIONS: Final = frozenset(
    {"select", "poll", "epoll"}
)  # the functions in which the loop waits


class LoopWatch:
    """A thread that samples a late loop, and names its longest step by function and file.

    watch = LoopWatch(clock)
    watch.start()
    watch.beat(now)         # in the loop
    watch.take_step()       # the step sampled most often since the last call; empty if none
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop_thread = threading.get_ident()
        self._beat_at = clock()
        self._seen: Counter[str] = Counter()  # samples, by step
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._sample_late_stacks, name="loop watch", daemon=True
        )

    def start(self) -> None:
        """Start sampling; called in the loop's thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling; does not wait."""
        self._stopped.set()

    def beat(self, now: float) -> None:
        """Record a beat of the loop at `now`, on the watch's clock."""
        self._beat_at = now

    def take_step(self) -> str:
        """Return the step that was sampled most often since the last call; empty if none was."""
        seen, self._seen = self._seen, Counter()
        return next((step for step, _ in seen.most_common(1)), "")

    def _sample_late_stacks(self) -> None:
        """Count where the loop is while a beat is late; runs in a thread until `_stopped`."""
        while not self._stopped.wait(SAMPLE_EVERY_S):
            if self._clock() - self._beat_at > SAMPLE_AFTER_S and (stack := self.read_stack()):
                self._seen[name_of(stack)] += 1

    def read_stack(self) -> list[CodeType]:
        """Return the call stack of the loop's thread, innermost function first.

        Returns code objects, not frames: a frame keeps its variables alive, and a detector cannot
        append to audio that something else still references.
        """
        return [code for code, _ in stack_of(self._loop_thread)]


def name_of(stack: Sequence[CodeType]) -> str:
    """Return the innermost function of Holdline, else the innermost one, with its file.

    Returns `NO_STEP` if the loop is waiting for events.
    """
    if stack[0].co_name in _WAIT_FUNCTIONS:
        return NO_STEP
    for code in stack:
        place = Path(code.co_filename)
        inside = place.relative_to(PROJECT) if place.is_relative_to(PROJECT) else None
        if inside and ".venv" not in inside.parts:
            return f"{code.co_qualname} ({inside})"
    place = Path(stack[0].co_filename)
    return f"{stack[0].co_qualname} ({'/'.join(place.parts[-2:])})"


Beat = Callable[[float, float], None]
"""Takes the time of a beat, and by how many seconds it was late."""

MEASURE_THREADS_EVERY_S: Final = 1.0  # how long a job waits for a thread


@dataclass(slots=True, kw_only=True)
class LagReporter:
    """Emits lag events, not too many (`bot.workers.lag_rules`), and passes on the loop's beats."""

    lag: Lag
    emit: Emit
    clock: Clock
    lagging: Lagging = field(default_factory=Lagging)
    listeners: list[Beat] = field(default_factory=list[Beat])

    @contextmanager
    def pass_beats_to(self, listener: Beat) -> Iterator[None]:
        """Pass every beat to another listener while the block runs."""
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

    def note_line(self, lag_s: float) -> None:
        """Record that audio was sent to a caller `lag_s` after it was available."""
        self.emit_all(self.lagging.note("line", lag_s, step="", now=self.clock()))

    def emit_all(self, events: Iterable[ProcessLagged]) -> None:
        """Emit the events."""
        for event in events:
            self.emit(event)


@asynccontextmanager
async def measure_lag(lag: Lag, *, emit: Emit, clock: Clock) -> AsyncIterator[LagReporter]:
    """Measure and report lag while the block runs; yields the reporter."""
    reporter = LagReporter(lag=lag, emit=emit, clock=clock)
    watch = LoopWatch(clock)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_beat_and_report(watch, reporter), name="beat"),
            tasks.create_task(_measure_threads(reporter), name="ask for a thread"),
        ]
        watch.start()
        try:
            yield reporter
        finally:
            for item in running:
                item.cancel()
            watch.stop()
            lag.stop()


async def _beat_and_report(watch: LoopWatch, reporter: LagReporter) -> None:
    """Beat every `PERIOD_S`, and report beats that were late by more than another `PERIOD_S`."""
    clock, lag, lagging = reporter.clock, reporter.lag, reporter.lagging
    due_at = clock()
    while True:
        now = clock()
        lag.beat(now)
        watch.beat(now)
        if now > due_at + PERIOD_S:
            step = watch.take_step()
            reporter.emit_all(lagging.note("loop", now - due_at, step=step, now=now))
        for listener in reporter.listeners:
            listener(now, max(0.0, now - due_at))
        reporter.emit_all(lagging.tick(now))
        due_at = now + PERIOD_S
        await asyncio.sleep(PERIOD_S)


async def _measure_threads(reporter: LagReporter) -> None:
    """Measure how long a job waits for a thread, not counting the loop's own lag."""
    clock, lag = reporter.clock, reporter.lag
    while True:
        await asyncio.sleep(MEASURE_THREADS_EVERY_S)
        asked_at, stalled_s = clock(), lag.stalled_s(clock())
        began_at = await asyncio.to_thread(clock)
        loop_lag_s = lag.stalled_s(clock()) - stalled_s
        waited_s = began_at - asked_at - loop_lag_s
        reporter.emit_all(reporter.lagging.note("executor", waited_s, step="", now=clock()))
