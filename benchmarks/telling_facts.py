"""Measures single events: how long telling one takes, and the cost of each listener."""

import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from benchmarks.telling_turn import TURN

if TYPE_CHECKING:
    from bot.workers.process import Process
    from operations.telemetry.emitter import Subscription

APART_S: Final = 0.005  # between two facts: 200 a second, as ten calls tell them
STEPS: Final = 400  # of the control: some 15 µs, about what a fact takes with cold caches
ROUNDS: Final = 2  # an even number
TURNS: Final = 15  # events that each listener is told alone, in each round
TURNS_APART_S: Final = 0.04
SETTLED_S: Final = 0.7  # by then the record is written, which happens twice a second


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFact:
    """How long telling one event took."""

    wall_s: float
    cpu_s: float  # of the thread that told it
    collected: bool  # garbage was collected meanwhile
    control_s: float  # the same clock on work that tells no listener, half-way to the next event


@dataclass(slots=True)
class Collections:
    """How often the interpreter collected garbage, and how long that took."""

    times: list[int] = field(default_factory=lambda: [0, 0, 0])  # by generation
    took_s: float = 0.0
    _began_s: float = 0.0

    def clear(self) -> None:
        """Count from here on."""
        self.times, self.took_s = [0, 0, 0], 0.0

    def note(self, phase: str, what: dict[str, int]) -> None:
        """Record what the interpreter reports of a collection (`gc.callbacks`)."""
        if phase == "start":
            self._began_s = time.perf_counter()
        else:
            self.times[what["generation"]] += 1
            self.took_s += time.perf_counter() - self._began_s


@contextmanager
def collections() -> Iterator[Collections]:
    """Count while the block runs."""
    found = Collections()
    gc.callbacks.append(found.note)
    try:
        yield found
    finally:
        gc.callbacks.remove(found.note)


async def tell_facts(process: "Process", facts: int) -> list[ToldFact]:
    """Tell events one by one; return how long each took."""
    tell = process.emitter.tell_for("measured")
    took: list[ToldFact] = []
    with collections() as seen:
        for number in range(facts):
            fact, before = TURN[number % len(TURN)], sum(seen.times)
            cpu_s, began_s = time.thread_time(), time.perf_counter()
            tell(fact)
            wall_s = time.perf_counter() - began_s
            cpu_s = time.thread_time() - cpu_s
            collected = sum(seen.times) > before
            await asyncio.sleep(APART_S / 2)
            control_s = _control_s()
            await asyncio.sleep(APART_S / 2)
            took.append(
                ToldFact(wall_s=wall_s, cpu_s=cpu_s, collected=collected, control_s=control_s)
            )
    return took


def _control_s() -> float:
    """Return how long a short computation without listeners takes: the machine's own tail."""
    total, began_s = 0, time.perf_counter()
    for step in range(STEPS):
        total += step
    return time.perf_counter() - began_s


async def listeners_cost(process: "Process") -> dict[str, float]:
    """Return the processor time that an event costs each listener, its threads included.

    It is the process's time while this listener alone is told, less the time while none is. Work
    that a listener does without events is in neither.
    """
    emitter: Any = process.emitter
    everyone: list[Subscription] = emitter._subscriptions  # noqa: SLF001 - only a benchmark may
    incidents, emitter._incidents = emitter._incidents, None  # noqa: SLF001
    took_s: defaultdict[str, float] = defaultdict(float)
    try:
        await _cost_of_turns(process)  # not counted: one-time work happens in it
        for number in range(ROUNDS):  # there and back, so that slow growth affects all alike
            for item in (None, *everyone)[:: 1 if number % 2 == 0 else -1]:
                emitter._subscriptions = [item] if item else []  # noqa: SLF001
                took_s[item.name if item else ""] += await _cost_of_turns(process)
    finally:
        emitter._subscriptions, emitter._incidents = everyone, incidents  # noqa: SLF001
    facts = ROUNDS * TURNS * len(TURN)
    return {
        subscription.name: (took_s[subscription.name] - took_s[""]) / facts
        for subscription in everyone
    }


async def _cost_of_turns(process: "Process") -> float:
    tell = process.emitter.tell_for("measured")
    began_s = time.process_time()
    for _ in range(TURNS):
        for fact in TURN:
            tell(fact)
        await asyncio.sleep(TURNS_APART_S)
    await asyncio.sleep(SETTLED_S)
    return time.process_time() - began_s
