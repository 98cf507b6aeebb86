"""Measures the cost of emitting events: one by one, and in windows of calls with and without them.

A comparison of windows with and without events gives the total cost, but only coarsely, because
other work on the machine costs more. `Account` times each loop step and each thread job that
processes events, by the thread's own clock, so other work hardly counts. It does not include colder
caches, nor the switch from a finished thread back to the loop.
"""

import asyncio
import gc
import threading
import time
from asyncio.events import Handle
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from benchmarks.telling_turn import TURN
from bot.workers.process import Process
from calls.entry import Emit, Entry
from calls.events import Event
from operations.telemetry.emitter import Subscription

# -- single events

EVENT_GAP_S: Final = 0.005  # 200 events a second, like ten calls
STEPS: Final = 400  # of the control: some 15 µs, about as long as an event with cold caches
ROUNDS: Final = 2  # an even number
TURNS: Final = 15  # whose events each listener gets alone, in each round
TURN_GAP_S: Final = 0.04
SETTLED_S: Final = 0.7  # by then the record is written, which happens twice a second


@dataclass(frozen=True, slots=True, kw_only=True)
class EmittedEvent:
    """How long emitting one event took."""

    wall_s: float
    cpu_s: float  # of the emitting thread
    collected: bool  # garbage was collected meanwhile
    control_s: float  # wall time of a computation without listeners, half-way to the next event


@dataclass(slots=True)
class Collections:
    """How often the interpreter collected garbage, and how long that took."""

    times: list[int] = field(default_factory=lambda: [0, 0, 0])  # by generation
    took_s: float = 0.0
    _began_s: float = 0.0

    def clear(self) -> None:
        """Restart the counts."""
        self.times, self.took_s = [0, 0, 0], 0.0

    def note(self, phase: str, what: dict[str, int]) -> None:
        """Record what the interpreter reports about a collection; for `gc.callbacks`."""
        if phase == "start":
            self._began_s = time.perf_counter()
        else:
            self.times[what["generation"]] += 1
            self.took_s += time.perf_counter() - self._began_s


@contextmanager
def collections() -> Iterator[Collections]:
    """Count garbage collections during the block."""
    found = Collections()
    gc.callbacks.append(found.note)
    try:
        yield found
    finally:
        gc.callbacks.remove(found.note)


async def tell_facts(process: Process, facts: int) -> list[EmittedEvent]:
    """Emit events one by one; return how long each took."""
    emit = process.emitter.emit_for("measured")
    took: list[EmittedEvent] = []
    with collections() as seen:
        for number in range(facts):
            fact, before = TURN[number % len(TURN)], sum(seen.times)
            cpu_s, began_s = time.thread_time(), time.perf_counter()
            emit(fact)
            wall_s = time.perf_counter() - began_s
            cpu_s = time.thread_time() - cpu_s
            collected = sum(seen.times) > before
            await asyncio.sleep(EVENT_GAP_S / 2)
            control_s = _control_s()
            await asyncio.sleep(EVENT_GAP_S / 2)
            took.append(
                EmittedEvent(wall_s=wall_s, cpu_s=cpu_s, collected=collected, control_s=control_s)
            )
    return took


def _control_s() -> float:
    """Return how long a short computation takes, which shows the machine's own delays."""
    total, began_s = 0, time.perf_counter()
    for step in range(STEPS):
        total += step
    return time.perf_counter() - began_s


async def listeners_cost(process: Process) -> dict[str, float]:
    """Return the CPU time that an event costs each listener, including its threads, in seconds.

    It is the process's CPU time while only this listener gets events, minus that while none does.
    Work that a listener does without events is not included.
    """
    emitter: Any = process.emitter
    everyone: list[Subscription] = emitter._subscriptions  # noqa: SLF001 - only a benchmark may
    incidents, emitter._incidents = emitter._incidents, None  # noqa: SLF001
    took_s: defaultdict[str, float] = defaultdict(float)
    try:
        await _cost_of_turns(process)  # not counted, because of one-time work
        for number in range(ROUNDS):  # in alternating order, so slow growth affects all alike
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


async def _cost_of_turns(process: Process) -> float:
    emit = process.emitter.emit_for("measured")
    began_s = time.process_time()
    for _ in range(TURNS):
        for fact in TURN:
            emit(fact)
        await asyncio.sleep(TURN_GAP_S)
    await asyncio.sleep(SETTLED_S)
    return time.process_time() - began_s


# -- steps

ROOT: Final = Path(__file__).resolve().parent.parent
EVENT_FOLDERS: Final = tuple(
    f"{ROOT}/{folder}/"
    for folder in (
        "operations/telemetry",
        "operations/database",
        "operations/record",
        "operations/notify",
    )
)
CONSOLE_FILES: Final = ("/uvicorn/protocols/http/", "/starlette/responses.py")
"""Code that writes to an open console; there is no other HTTP request in the windows."""
EVENT_TASKS: Final = ("the record", "incidents")
"""The names of tasks that process events, although other code runs them (`keep_running`)."""
LOG_THREAD_PREFIX: Final = "log to "  # how the names of the log's threads begin
IDLE_S: Final = 50e-6  # if the loop waits for less, it was not idle


class Account:
    """Counts the CPU time that events cost in one loop, during `counting`.

    Attributes:
        loop_s: CPU time of the loop's steps that process events.
    """

    def __init__(self, owner: object) -> None:
        """Count `owner`'s callbacks, and the tasks that process events."""
        self.loop_s = 0.0
        self._owner = owner
        self._known: WeakKeyDictionary[asyncio.Task[Any], bool] = WeakKeyDictionary()
        self._jobs_s = 0.0  # CPU time of threads in jobs that have ended
        self._jobs: dict[int, float] = {}  # jobs in progress: by thread, its own clock at the start
        self._lock = threading.Lock()
        self._writers = [
            item.ident
            for item in threading.enumerate()
            if item.name.startswith(LOG_THREAD_PREFIX) and item.ident is not None
        ]
        self._at_last_idle = (0.0, 0.0)  # `loop_s` and `threads_s` when the loop was last idle

    @property
    def threads_s(self) -> float:
        """CPU time of threads: those that write the log, and others in jobs that process events."""
        with self._lock:
            running = [_clock_s(thread) - began_s for thread, began_s in self._jobs.items()]
            return self._jobs_s + sum(running) + sum(_clock_s(writer) for writer in self._writers)

    @property
    def owed_s(self) -> float:
        """CPU time that events cost since the loop was last idle.

        At most this much of the loop's lag is due to events; threads may not have delayed it.
        """
        loop_s, threads_s = self._at_last_idle
        return self.loop_s - loop_s + self.threads_s - threads_s

    def add_emit_time(self, took_s: float) -> None:
        """Count the cost of emitting an event in a step of a call."""
        self.loop_s += took_s

    def processes_events(self, owner: object) -> bool:
        """Return whether a step of the loop processes events, by the owner of its callback."""
        if not isinstance(owner, asyncio.Task):
            return owner is self._owner
        task: asyncio.Task[Any] = owner
        known = self._known.get(task)
        if known is None:
            known = self._known[task] = _is_event_task(task)
        return known

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count in the running loop during the block."""
        loop: Any = asyncio.get_running_loop()
        handles: Any = Handle
        run, select, execute = handles._run, loop._selector.select, loop.run_in_executor  # noqa: SLF001 - asyncio's own; nothing else passes every step
        handles._run = self._wrap_run(run)  # noqa: SLF001
        loop._selector.select = self._wrap_select(select)  # noqa: SLF001
        loop.run_in_executor = self._wrap_execute(execute)
        try:
            yield
        finally:
            handles._run = run  # noqa: SLF001
            del loop._selector.select, loop.run_in_executor  # noqa: SLF001

    def _wrap_run(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        def run_counted(handle: Any) -> None:
            owner = getattr(handle._callback, "__self__", None)  # noqa: SLF001
            if owner is None or not self.processes_events(owner):
                run(handle)
                return
            began_s = time.thread_time()
            run(handle)
            self.loop_s += time.thread_time() - began_s

        return run_counted

    def _wrap_select(self, select: Callable[[Any], Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        def select_noted(timeout: float | None = None) -> Sequence[Any]:
            began_s = time.perf_counter()
            events = select(timeout)
            if time.perf_counter() - began_s > IDLE_S:
                self._at_last_idle = self.loop_s, self.threads_s
            return events

        return select_noted

    def _wrap_execute(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def execute_counted(executor: Any, work: Callable[..., Any], *arguments: Any) -> Any:
            task = asyncio.current_task()
            if task is not None and self.processes_events(task):
                return execute(executor, self._run_job, work, *arguments)
            return execute(executor, work, *arguments)

        return execute_counted

    def _run_job(self, work: Callable[..., Any], *arguments: Any) -> Any:
        thread, began_s = threading.get_ident(), time.thread_time()
        with self._lock:
            self._jobs[thread] = began_s
        try:
            return work(*arguments)
        finally:
            with self._lock:
                del self._jobs[thread]
                self._jobs_s += time.thread_time() - began_s


def _clock_s(thread: int) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


def _is_event_task(task: asyncio.Task[Any]) -> bool:
    if task.get_name() in EVENT_TASKS:
        return True
    code = getattr(task.get_coro(), "cr_code", None)
    file = code.co_filename if code else ""
    return file.startswith(EVENT_FOLDERS) or any(item in file for item in CONSOLE_FILES)


# -- windows

BEAT_S: Final = 0.01
WARM_S: Final = 1.0  # before each window, while earlier events are still processed


@dataclass
class EntryCounter:
    """A listener that counts entries."""

    entries: int = 0

    async def hear(self, entry: Entry) -> None:
        """Count an entry."""
        self.entries += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some turns of all calls; `told` says whether their events were emitted."""

    told: bool
    cores: float  # CPU time of the whole process for each second
    lags_s: Sequence[float]  # how late the loop was at each tick
    owed_s: Sequence[float] = ()  # the part of each lag that may be due to events, at most
    counted_cores: float = 0.0  # the part of `cores` that processes events
    entries: int  # a second
    collections: Sequence[int] = ()  # of garbage, by generation
    collecting_s: float = 0.0


class Switch:
    """Switches the calls' events on and off; while they are off, `emit` does nothing.

    Attributes:
        took_s: How long emitting each event of the calls took.
        account: Counts the CPU time that events cost.
    """

    def __init__(self, emitter: Any) -> None:
        """Wrap the `emit` of all future calls."""
        self.took_s: list[float] = []
        self.account = Account(emitter)
        self._on = True
        self._emitter = emitter
        self._emit_for = emitter.emit_for
        emitter.emit_for = self._timed_emit

    def _timed_emit(self, call_id: str) -> Emit:
        """Return the `emit` of a call, timed; it does nothing while events are off."""
        emit = self._emit_for(call_id)

        def tell_timed(event: Event) -> None:
            if not self._on:
                return
            began = time.perf_counter()
            emit(event)
            took_s = time.perf_counter() - began
            self.took_s.append(took_s)
            self.account.add_emit_time(took_s)

        return tell_timed

    @contextmanager
    def set(self, *, told: bool) -> Iterator[None]:
        """Emit events during the block, or emit none; this includes the process's own events."""
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
    switch: Switch, counted: EntryCounter, *, told: bool, length_s: float
) -> Window:
    """Measure for this long, after earlier events have been processed."""
    account = switch.account
    with switch.set(told=told), collections() as garbage:
        await asyncio.sleep(WARM_S)
        garbage.clear()
        before, entries, began = time.process_time(), counted.entries, time.monotonic()
        counted_s = account.loop_s + account.threads_s
        lags, owed = await _loop_lags(began, length_s, account)
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


async def _loop_lags(
    began_s: float, length_s: float, account: Account
) -> tuple[list[float], list[float]]:
    """Return how late the loop was at each tick, and the part that may be due to events.

    A stall that covers ten ticks counts as a lag at all ten.
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


@dataclass(slots=True)
class Found:
    """Everything that was measured."""

    facts: list[EmittedEvent] = field(default_factory=list[EmittedEvent])  # one by one
    listeners: dict[str, float] = field(default_factory=dict[str, float])  # CPU s for each event
    in_calls_s: list[float] = field(default_factory=list[float])  # each event in told windows
    windows: list[Window] = field(default_factory=list[Window])  # two adjacent ones are a pair
    calls: int = 0  # calls that lasted the whole time
    on_the_line: bool = False  # all planned calls lasted the whole time
    lost: int = 0
    recorded: int = 0  # entries in the record's database at the end
    shown: int = 0  # messages that the console got
