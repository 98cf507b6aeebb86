"""The measuring of what telling costs: single facts, and calls with and without anybody to tell."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvicorn
from numpy.typing import NDArray
from sqlalchemy import func, select

from benchmarks.load import usual_phrases
from benchmarks.telling_facts import ToldFact, listeners_cost, tell_facts
from benchmarks.telling_windows import WARM_S, Counted, Switch, Window, measure_window
from bot.alerts.reporter import AlertReporter
from bot.house.listener import bind_socket
from bot.http.application import Extras, application
from bot.lab.callers import RATE_HZ, answers, known
from bot.lab.process import LabOptions, RunningLab, lab_process, with_lab
from bot.outbound.call_ledger import CallLedger
from bot.process.opening import open_process
from bot.process.process import Process
from bot.record.record_keeper import record_keeper
from faultlab.mulaw import decode, encode
from storage.alert_outbox import AlertOutbox
from storage.database import Database
from storage.record_tables import HAPPENINGS
from transports.loopback import LoopbackLeg

GREETING: Final = "Hello, this is Holdline. How can I help?"
ASKS_EVERY_S: Final = 7.0
RING_S: Final = 0.7  # between two callers, and so between two questions of ten
FIRST_S: Final = 5.0  # of a call: then the greeting is over
SETTLED_S: Final = 6.0  # after the last ring its greeting is over

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


@dataclass(slots=True)
class Found:
    """Everything that was measured."""

    facts: list[ToldFact] = field(default_factory=list[ToldFact])  # one by one
    listeners: dict[str, float] = field(default_factory=dict[str, float])  # s of CPU for each fact
    in_calls_s: list[float] = field(default_factory=list[float])  # in the windows that are told
    windows: list[Window] = field(default_factory=list[Window])  # two and two are a pair
    lost: int = 0
    recorded: int = 0  # entries in the record's database at the end
    shown: int = 0  # messages that the console got


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        calls: At once.
        facts: To be told before the calls.
        pairs: Of windows, an even number.
        turns: Of each call, in a window: whole ones, so that all windows hold the same work.
        seed: Of the windows' order.
        folder: Where files go.
    """

    calls: int
    facts: int
    pairs: int
    turns: int
    seed: int
    folder: Path

    @property
    def window_s(self) -> float:
        """How long a window is."""
        return self.turns * ASKS_EVERY_S

    @property
    def order(self) -> list[bool]:
        """Return which windows are told.

        Each four begin with either kind, by the dice, and are symmetric: what grows slowly hits
        both alike, and nothing that comes round regularly can fall in with them.
        """
        dice = random.Random(self.seed)  # noqa: S311 - no secret
        firsts = [dice.random() < 0.5 for _ in range(self.pairs // 2)]
        return [told for each in firsts for told in (each, not each, not each, each)]


async def measure(plan: Plan) -> Found:
    """Tell facts to those who always listen, and hold calls with and without them, in turn."""
    phrases = await asyncio.to_thread(usual_phrases)
    texts = (GREETING, *(answers([each], greeting=GREETING)[0] for each in phrases))
    utterances = tuple(known(text, sound) for text, sound in phrases.items())
    sound = [decode(encode(each)) for each in phrases.values()]
    length_s = (len(plan.order) + 2) * (plan.window_s + WARM_S) + plan.calls * RING_S + 30.0
    callers = [_caller(sound[each % len(sound)], length_s) for each in range(plan.calls)]
    found = Found()
    options = LabOptions(steady=True, known=utterances, ready=texts)
    async with (
        lab_process(options=options) as lab,
        _process(lab, plan.calls, folder=plan.folder) as (process, counted),
        _console(process, found),
        asyncio.TaskGroup() as tasks,
    ):
        found.facts = await tell_facts(process, plan.facts)
        found.listeners = await listeners_cost(process)
        await process.emitter.flush()
        switch = Switch(process.emitter)
        calling = [
            tasks.create_task(_call(process, caller, number))
            for number, caller in enumerate(callers)
        ]
        await asyncio.sleep(plan.calls * RING_S + SETTLED_S)
        for told in (True, False):  # not judged: what happens once has happened then
            await measure_window(switch, counted, told=told, length_s=plan.window_s)
        switch.took_s.clear()
        for told in plan.order:
            found.windows.append(
                await measure_window(switch, counted, told=told, length_s=plan.window_s)
            )
        found.in_calls_s, found.lost = switch.took_s, process.emitter.lost_entries
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


async def _call(process: Process, caller: NDArray[np.int16], number: int) -> None:
    await asyncio.sleep(number * RING_S)
    leg = LoopbackLeg(caller, sample_rate_hz=RATE_HZ, linger_s=1.0, clock=time.monotonic)
    await process.switchboard.answer(leg, process.call(leg))


def _caller(phrase: NDArray[np.int16], length_s: float) -> NDArray[np.int16]:
    """Return somebody who asks the same every few seconds: each period of it is the same work."""
    sound = np.zeros(int(length_s * RATE_HZ), np.int16)
    for turn in range(int((length_s - 15.0) / ASKS_EVERY_S)):
        at = round((FIRST_S + turn * ASKS_EVERY_S) * 50) * (RATE_HZ // 50)  # whole 20 ms
        sound[at : at + len(phrase)] = phrase
    return sound
