"""Measures each step of the event loop in its thread's CPU time, independent of other load."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class StepMeter:
    """The longest step of each kind, in seconds."""

    longest_s: dict[str, float] = field(default_factory=dict)
    steps: int = 0

    def over(self, limit_s: float) -> dict[str, float]:
        """Return the steps that took longer than that."""
        return {name: took_s for name, took_s in self.longest_s.items() if took_s > limit_s}

    def note(self, name: str, took_s: float) -> None:
        """Record a step."""
        self.steps += 1
        self.longest_s[name] = max(took_s, self.longest_s.get(name, 0.0))


@contextmanager
def metered() -> Iterator[StepMeter]:
    """Measure every step of every event loop of this thread during the block."""
    meter, run = StepMeter(), asyncio.events.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        name, began_s = _name(handle), time.thread_time()
        run(handle)
        meter.note(name, time.thread_time() - began_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.events.Handle, "_run", measured)
        yield meter


def _name(handle: asyncio.Handle) -> str:
    """Return where a task will continue, or the callback."""
    callback: Any = handle._callback
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return getattr(callback, "__qualname__", type(callback).__name__)
    at, name = task.get_coro(), task.get_name()
    while (code := getattr(at, "cr_code", None)) is not None:
        name = name if "/asyncio/" in code.co_filename else code.co_qualname
        at = getattr(at, "cr_await", None)
    return name
