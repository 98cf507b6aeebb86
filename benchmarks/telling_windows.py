"""Windows in which the events of calls are told or not: cost of the process, and its lag."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.telling_account import Account
from benchmarks.telling_facts import collections
from calls.entry import Entry, Tell
from calls.events import Event

BEAT_S: Final = 0.01
WARM_S: Final = 1.0  # before each window: events of the time before are still handled


@dataclass
class Counted:
    """Counts what was told."""

    entries: int = 0

    async def hear(self, entry: Entry) -> None:
        """Count one."""
        self.entries += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some turns of all calls, whose events were told or not."""

    told: bool
    cores: float  # processor time of the whole process for each second
    lags_s: Sequence[float]  # how late the loop was at each tick
    owed_s: Sequence[float] = ()  # the part of that which may be due to telling, at most
    counted_cores: float = 0.0  # of `cores`, the part that belongs to telling
    entries: int  # a second
    collections: Sequence[int] = ()  # of garbage, by generation
    collecting_s: float = 0.0


class Switch:
    """Switches the telling of calls on and off: while it is off, `tell` does nothing.

    Attributes:
        took_s: How long each event of the calls took to be told.
        account: Counts the cost of telling.
    """

    def __init__(self, emitter: Any) -> None:
        """Wrap the `tell` of all future calls."""
        self.took_s: list[float] = []
        self.account = Account(emitter)
        self._on = True
        self._emitter = emitter
        self._tell_for = emitter.tell_for
        emitter.tell_for = self._timed

    def _timed(self, call_id: str) -> Tell:
        tell = self._tell_for(call_id)

        def tell_timed(event: Event) -> None:
            if not self._on:
                return
            began = time.perf_counter()
            tell(event)
            took_s = time.perf_counter() - began
            self.took_s.append(took_s)
            self.account.note_told(took_s)

        return tell_timed

    @contextmanager
    def set(self, *, told: bool) -> Iterator[None]:
        """Tell while the block runs, or do not; this holds for the process's own events as well."""
        emitter = self._emitter
        kept = emitter._subscriptions, emitter._incidents  # noqa: SLF001 - only a benchmark may
        if not told:
            self._on = False
            emitter._subscriptions, emitter._incidents = [], None  # noqa: SLF001
        try:
            yield
        finally:
            self._on = True
            emitter._subscriptions, emitter._incidents = kept  # noqa: SLF001


async def measure_window(
    switch: Switch, counted: Counted, *, told: bool, length_s: float
) -> Window:
    """Measure for this long, once earlier events are handled."""
    account = switch.account
    with switch.set(told=told), collections() as garbage:
        await asyncio.sleep(WARM_S)
        garbage.clear()
        before, entries, began = time.process_time(), counted.entries, time.monotonic()
        counted_s = account.loop_s + account.threads_s
        lags, owed = await _lags(began, length_s, account)
        lasted_s = time.monotonic() - began
        return Window(
            told=told,
            cores=(time.process_time() - before) / lasted_s,
            lags_s=lags,
            owed_s=owed,
            counted_cores=(account.loop_s + account.threads_s - counted_s) / lasted_s,
            entries=round((counted.entries - entries) / lasted_s),
            collections=tuple(garbage.times),
            collecting_s=garbage.took_s,
        )


async def _lags(
    began_s: float, length_s: float, account: Account
) -> tuple[list[float], list[float]]:
    """Return how late the loop came to each tick, and the part of it that may be due to telling.

    A stall that covers ten ticks is late for all ten.
    """
    lags: list[float] = []
    owed: list[float] = []
    due_s = began_s + BEAT_S
    while due_s <= began_s + length_s:
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        now, owed_s = time.monotonic(), account.owed_s
        while due_s <= min(now, began_s + length_s):
            lags.append(now - due_s)
            owed.append(min(owed_s, now - due_s))
            due_s += BEAT_S
    return lags, owed
