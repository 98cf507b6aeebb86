"""A long call on virtual time: process, lab and caller in one loop."""

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calls.entry import Entry
from calls.events import AgentSaid, AnswerHeard
from lab.simulators.lab import Lab
from providers.local_tts import say_locally
from runtime import clock
from tests.kit.near import near_process
from tests.lab.simulators import synthetic_caller as caller
from tests.lab.simulators.near_ears import bring_near
from transports.loopback.leg import LoopbackLeg

RATE_HZ = 16_000
TIMEOUT_S = 30.0  # far longer than any answer
CONTEXT_TOKENS = 600  # so that the call is summarised again and again, and not only at its end


@dataclass
class Ear:
    """A listener that wakes waiters at each event of the call and keeps none."""

    answers: int = 0
    said: str = ""
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # something new

    async def hear(self, entry: Entry) -> None:
        self.heard.set()
        match entry.event:
            case AnswerHeard():
                self.answers += 1
            case AgentSaid(text=text):
                self.said = text
            case _:
                pass


@dataclass(frozen=True, slots=True, kw_only=True)
class LongCall:
    """A running call, driven by a test."""

    lab: Lab
    leg: LoopbackLeg
    ear: Ear

    async def turn(self, text: str) -> str:
        """Say something, hear the answer to its end, and return it."""
        self.ear.said, answers = "", self.ear.answers
        samples = np.frombuffer(caller.say(text, rate_hz=RATE_HZ), "<i2").astype(np.int16)
        await self.leg.say(samples)
        await self.until(lambda: self.ear.answers > answers and self.ear.said)
        self.forget()
        return self.ear.said

    async def until(self, met: Callable[[], object]) -> None:
        """Wait until the condition holds; it is checked at each event."""
        async with asyncio.timeout(TIMEOUT_S):
            while not met():
                self.ear.heard.clear()
                await self.ear.heard.wait()

    def forget(self) -> None:
        """Drop data that only the test keeps: the lab's record and the sound on the line."""
        for kept in self.lab.record._requests.values():
            still_open = [item for item in kept if item.outcome == "open"]
            kept.clear()
            kept.extend(still_open)
            for request in still_open:
                request.marks.clear()
                request.details.get("finals", []).clear()
        self.lab.record._words.clear()
        self.leg.line._pieces.clear()


@asynccontextmanager
async def long_call(folder: Path) -> AsyncIterator[LongCall]:
    """Run one call during the block."""
    say_locally("One moment.", "en", rate_hz=RATE_HZ)  # 1.8 MB, allocated at the first use
    lab, ear = bring_near(Lab()), Ear()
    tree = {"agent": {"max_call_s": 1e6, "context_tokens": CONTEXT_TOKENS}}
    async with near_process(folder, ear, lab=lab, tree=tree, words=False) as process:
        leg = LoopbackLeg(
            np.zeros(0, np.int16),
            sample_rate_hz=RATE_HZ,
            linger_s=float("inf"),
            clock=clock.monotonic,
        )
        call = process.call(leg)
        async with asyncio.TaskGroup() as tasks:
            answered = tasks.create_task(process.switchboard.answer(leg, call))
            running_call = LongCall(lab=lab, leg=leg, ear=ear)
            await running_call.until(lambda: ear.said)  # the greeting
            try:
                yield running_call
            finally:
                await call.cancel("test")
                await answered


def held_bytes() -> int:
    """Return this process's own memory, without garbage and what `free` has kept back.

    Pages of files are left out: a library's code counts as resident from when it is first run. That
    was half of the growth of the resident memory in turns 80 to 140 (measured, /proc/self/smaps).
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc's; else its habits dominate the measurement
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    (anonymous,) = (line for line in rollup.splitlines() if line.startswith("Anonymous:"))
    return int(anonymous.split()[1]) * 1024


def open_descriptors() -> int:
    """Return how many files and sockets this process has open, without garbage."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def slope(samples: Sequence[tuple[int, int]]) -> float:
    """Return the slope of the least-squares line through (turn, bytes), in bytes per turn."""
    turns, held = (np.array(item, dtype=float) for item in zip(*samples, strict=True))
    return float(np.polyfit(turns, held, 1)[0])
