"""The measuring of what telling costs: single facts, and calls with and without anybody to tell."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvicorn
from numpy.typing import NDArray
from sqlalchemy import func, select

from benchmarks.load import usual_phrases
from bot.alerts.reporter import AlertReporter
from bot.house.listener import bind_socket
from bot.http.application import Extras, application
from bot.lab.callers import RATE_HZ, answers, known
from bot.lab.process import LabOptions, RunningLab, lab_process, with_lab
from bot.outbound.call_ledger import CallLedger
from bot.process.opening import open_process
from bot.process.process import Process
from bot.record.record_keeper import record_keeper
from calls.entry import Entry, Tell
from calls.events import (
    AgentSaid,
    AnswerHeard,
    CallerStopped,
    Event,
    TranscriptFinal,
    TurnParts,
)
from fallbacks.facts import AttemptFailed, AttemptStarted, AttemptWon
from fallbacks.failure import Kind, failed
from faultlab.mulaw import decode, encode
from storage.alert_outbox import AlertOutbox
from storage.database import Database
from storage.record_tables import HAPPENINGS
from transports.loopback import LoopbackLeg

GREETING: Final = "Hello, this is Holdline. How can I help?"
ASKS_EVERY_S: Final = 7.0
RING_S: Final = 0.7  # between two callers
BEAT_S: Final = 0.01
APART_S: Final = 0.005  # between two facts: 200 a second, as ten calls tell them
SETTLED_S: Final = 6.0  # after the last ring its greeting is over
WARM_S: Final = 1.0  # of each window, in which what was told before it is still heard

PAGE: Final = """
import signal, sys, urllib.request
messages = 0
def leave(*_):
    print(messages, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
for line in urllib.request.urlopen(sys.argv[1]):
    messages += line.startswith(b"data:")
"""
"""Reads as a browser does, and says at the end how much there was."""

TURN: Final = (
    CallerStopped(at_s=1.0, noticed_at_s=1.2),
    TranscriptFinal(turn=1, at_s=1.3, provider="deepgram", text="what are your opening hours"),
    AttemptStarted(stage="llm", provider="openai", attempt=1, extra=False, left_s=1.1),
    AttemptFailed.of(failed(Kind.CUT, "llm", provider="openai", reason="closed"), after_s=0.1),
    AttemptWon(stage="llm", provider="openai", attempt=1, after_s=0.2),
    AnswerHeard(
        turn=1,
        at_s=2.0,
        v2v_s=0.9,
        parts=TurnParts(
            vad_s=0.2,
            transcript_s=0.1,
            decision_s=0.1,
            llm_s=0.2,
            tts_s=0.2,
            transport_s=0.1,
        ),
    ),
    AgentSaid(turn=1, text="We are open from nine to five, Monday to Friday."),
)


@dataclass
class Counted:
    """Counts what was told."""

    entries: int = 0

    async def hear(self, entry: Entry) -> None:
        """Count one."""
        self.entries += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some seconds of calls that were told of, or were not."""

    told: bool
    cores: float  # processor time of the whole process for each second
    lag_p95_s: float  # of a timer of 10 ms
    entries: int  # a second


@dataclass(slots=True)
class Found:
    """Everything that was measured."""

    tell_s: list[float] = field(default_factory=list[float])  # each fact, one by one
    in_calls_s: list[float] = field(default_factory=list[float])  # in the windows that are told
    windows: list[Window] = field(default_factory=list[Window])  # two and two are a pair
    lost: int = 0
    recorded: int = 0  # entries in the record's database at the end
    shown: int = 0  # messages that the console got


async def measure(*, calls: int, facts: int, windows: int, window_s: float, folder: Path) -> Found:
    """Tell facts to those who always listen, and hold calls with and without them, in turn.

    Args:
        calls: At once.
        facts: To be told before the calls.
        windows: Of each of both kinds.
        window_s: How long each is.
        folder: Where files go.
    """
    phrases = await asyncio.to_thread(usual_phrases)
    texts = (GREETING, *(answers([each], greeting=GREETING)[0] for each in phrases))
    utterances = tuple(known(text, sound) for text, sound in phrases.items())
    sound = [decode(encode(each)) for each in phrases.values()]
    length_s = windows * 2 * (window_s + WARM_S) + calls * RING_S + 30.0
    callers = [_caller(sound, number, length_s) for number in range(calls)]
    found = Found()
    options = LabOptions(steady=True, known=utterances, ready=texts)
    async with (
        lab_process(options=options) as lab,
        _process(lab, calls, folder=folder) as (process, counted),
        _console(process, found),
        asyncio.TaskGroup() as tasks,
    ):
        found.tell_s = await _tell(process, facts)
        await process.emitter.flush()
        _time_tells(process, found.in_calls_s)
        calling = [
            tasks.create_task(_call(process, caller, number))
            for number, caller in enumerate(callers)
        ]
        await asyncio.sleep(calls * RING_S + SETTLED_S)
        for number in range(2 * windows):
            told = number % 4 in (0, 3)  # in turn, so that what grows hits both alike
            found.windows.append(await _window(process, counted, told=told, length_s=window_s))
        found.lost = process.emitter.lost_entries
        found.recorded = await _recorded(process.settings.storage.url)
        for each in calling:
            each.cancel()
    return found


@asynccontextmanager
async def _process(
    lab: RunningLab, calls: int, *, folder: Path
) -> AsyncIterator[tuple[Process, Counted]]:
    """Be ready for calls with everyone who listens in a server, the record's database included."""
    tree: Any = {
        "logs": {"dir": folder / "logs"},
        "agent": {"greeting": GREETING, "silence": {"prompt_after_s": 3600.0}},
        "server": {"max_calls": calls},
        "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
    }
    settings = with_lab(lab, tree)
    outbox = AlertOutbox(settings.storage.url)
    reporter = AlertReporter(outbox, utc_s=time.time)
    counted = Counted()
    listeners = [reporter, CallLedger(), counted]
    async with (
        open_process(
            settings, words=False, listeners=listeners, keeper=record_keeper(settings)
        ) as process,
        asyncio.TaskGroup() as tasks,
    ):
        reporting = tasks.create_task(reporter.run())
        try:
            yield process, counted
        finally:
            reporting.cancel()
    await outbox.close()


@asynccontextmanager
async def _console(process: Process, found: Found) -> AsyncIterator[None]:
    """Serve the console while the block runs, and have it open in another process."""
    listening = bind_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/live?calls=1"
    async with asyncio.TaskGroup() as tasks:
        app = application(process, tasks, Extras())
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        serving = tasks.create_task(server.serve(sockets=[listening]))
        page = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PAGE, url, stdout=asyncio.subprocess.PIPE
        )
        try:
            yield
        finally:
            page.terminate()
            said, _ = await page.communicate()
            found.shown = int(said or 0)
            server.should_exit = server.force_exit = True
            await asyncio.wait([serving])


async def _recorded(url: str) -> int:
    database = Database(url)
    try:
        async with (await database.engine()).connect() as connection:
            return (
                await connection.execute(select(func.count()).select_from(HAPPENINGS))
            ).scalar_one()
    finally:
        await database.close()


async def _tell(process: Process, facts: int) -> list[float]:
    """Return how long each fact took to be told."""
    tell = process.emitter.tell_for("measured")
    took: list[float] = []
    for number in range(facts):
        fact = TURN[number % len(TURN)]
        began = time.perf_counter()
        tell(fact)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(APART_S)
    return took


def _time_tells(process: Process, took: list[float]) -> None:
    """Note how long each fact of the calls takes to be told, while somebody listens."""
    emitter, tell_for = process.emitter, process.emitter.tell_for

    def timed(call_id: str) -> Tell:
        tell = tell_for(call_id)

        def tell_timed(event: Event) -> None:
            began = time.perf_counter()
            tell(event)
            lasted_s = time.perf_counter() - began
            if emitter._subscriptions:  # noqa: SLF001 - nobody else may do this
                took.append(lasted_s)

        return tell_timed

    emitter.tell_for = timed


async def _window(process: Process, counted: Counted, *, told: bool, length_s: float) -> Window:
    async with _listeners(process, told=told):
        await asyncio.sleep(WARM_S)
        before, entries, began = time.process_time(), counted.entries, time.monotonic()
        lags: list[float] = []
        while (now := time.monotonic()) < began + length_s:
            await asyncio.sleep(BEAT_S)
            lags.append(time.monotonic() - now - BEAT_S)
        lasted_s = time.monotonic() - began
        return Window(
            told=told,
            cores=(time.process_time() - before) / lasted_s,
            lag_p95_s=float(np.percentile(lags, 95)),
            entries=round((counted.entries - entries) / lasted_s),
        )


@asynccontextmanager
async def _listeners(process: Process, *, told: bool) -> AsyncIterator[None]:
    """Take everyone who listens away while the block runs, unless all are to be told."""
    if told:
        yield
        return
    emitter = process.emitter
    kept = emitter._subscriptions, emitter._incidents  # noqa: SLF001 - nobody else may do this
    emitter._subscriptions, emitter._incidents = [], None  # noqa: SLF001
    try:
        yield
    finally:
        emitter._subscriptions, emitter._incidents = kept  # noqa: SLF001


async def _call(process: Process, caller: NDArray[np.int16], number: int) -> None:
    await asyncio.sleep(number * RING_S)
    leg = LoopbackLeg(caller, sample_rate_hz=RATE_HZ, linger_s=1.0, clock=time.monotonic)
    await process.switchboard.answer(leg, process.call(leg))


def _caller(said: Sequence[NDArray[np.int16]], number: int, length_s: float) -> NDArray[np.int16]:
    """Return somebody who asks every few seconds, each at another moment."""
    sound = np.zeros(int(length_s * RATE_HZ), np.int16)
    at_s = 5.0 + ASKS_EVERY_S * (number % 10) / 10
    for turn in range(int((length_s - 15.0) / ASKS_EVERY_S)):
        phrase = said[(number + turn) % len(said)]
        at = round((at_s + turn * ASKS_EVERY_S) * 50) * (RATE_HZ // 50)  # whole 20 ms
        sound[at : at + len(phrase)] = phrase
    return sound
