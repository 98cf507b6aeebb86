"""Measures the cost of events: of a single event, and in ten calls with and without listeners.

    .venv/bin/python -m benchmarks.telling [--calls N] [--pairs N] [--turns N] [--json FILE]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import random
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from rich.console import Console
from sqlalchemy import func, select

from benchmarks import telling_figures
from benchmarks.callers import CallerPlan
from benchmarks.load import QUESTIONS, START_DELAY_S, crowds, script_for, usual_phrases
from benchmarks.telling_figures import Figures
from benchmarks.telling_windows import (
    WARM_S,
    EntryCounter,
    Found,
    Switch,
    listeners_cost,
    measure_window,
    tell_facts,
)
from bot.outbound.call_ledger import CallLedger
from bot.server.application import Extras, application
from bot.server.limits import BoundedSocket, bounds
from bot.workers.listener import bind_socket
from bot.workers.process import Process, open_process
from lab.callers import answers, known
from lab.drill.servers import AUTH_TOKEN, GREETING
from lab.process import LabOptions, RunningLab, lab_process, with_lab
from operations.database.database import Database
from operations.database.tables import HAPPENINGS
from operations.notify.alert_outbox import AlertOutbox
from operations.notify.reporter import AlertReporter
from operations.telemetry import logs
from runtime import clock

MISSED_CODE, CANNOT_TELL_CODE = 1, 3
ASKS_EVERY_S: Final = 7.0
RING_S: Final = 0.7  # between two callers, and so between the questions of ten callers
SETTLED_S: Final = 8.0  # after the last ring: by then that caller has been greeted and is asking

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
"""A program that reads events as a browser does, and prints their number at the end."""


def main() -> int:
    """Measure and print; return 0, 1 if a target was missed, 3 if a verdict is *cannot tell*."""
    options = _parse_options()
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        logs.set_up(level="INFO", folder=Path(folder) / "logs")
        plan = Plan(
            calls=options.calls,
            facts=options.facts,
            pairs=options.pairs,
            turns=options.turns,
            seed=options.seed,
            folder=Path(folder),
        )
        found = asyncio.run(measure(plan))
    figures = telling_figures.figures_of(found)
    if options.json:
        write(options.json, found, figures)
    for line in telling_figures.lines(found, figures, calls=options.calls):
        console.print(line)
    verdicts = figures.verdicts().values()
    if telling_figures.MISSED in verdicts:
        return MISSED_CODE
    return CANNOT_TELL_CODE if telling_figures.CANNOT_TELL in verdicts else 0


def write(path: Path, found: Found, figures: Figures) -> None:
    """Write each window and each event to a file."""
    content = {"figures": figures.as_json(), **asdict(found)}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the cost of events.")
    parser.add_argument("--calls", type=int, default=10, help="at once, default 10")
    parser.add_argument(
        "--facts", type=int, default=6000, help="events emitted one by one, default 6000"
    )
    parser.add_argument("--pairs", type=_even_number, default=20, help="of windows, default 20")
    parser.add_argument("--turns", type=int, default=1, help="of each call a window, default 1")
    parser.add_argument("--seed", type=int, default=11, help="of the windows' order, default 11")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, window by window")
    return parser.parse_args()


def _even_number(text: str) -> int:
    number = int(text)
    if number < 2 or number % 2:
        raise argparse.ArgumentTypeError(f"{text} is not an even number of at least 2")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of the measurement.

    Attributes:
        calls: The number of simultaneous calls.
        facts: The number of events that are emitted before the calls.
        pairs: The number of pairs of windows; even.
        turns: The turns of each call in a window: whole turns, so that all windows have equal work.
        seed: Determines the order of the windows.
        folder: For files.
    """

    calls: int
    facts: int
    pairs: int
    turns: int
    seed: int
    folder: Path

    @property
    def window_s(self) -> float:
        """The length of a window in seconds."""
        return self.turns * ASKS_EVERY_S

    @property
    def order(self) -> list[bool]:
        """For each window, whether the calls' events are emitted in it.

        Windows come in symmetric groups of four, which begin with either kind at random. So slow
        growth affects both kinds alike, and no periodic work can coincide with one of them.
        """
        dice = random.Random(self.seed)  # noqa: S311 - no secret
        firsts = [dice.random() < 0.5 for _ in range(self.pairs // 2)]
        return [told for first in firsts for told in (first, not first, not first, first)]


async def measure(plan: Plan) -> Found:
    """Emit single events to the usual listeners, then hold calls with and without events, in turn.

    The callers run in separate processes, so no figure includes their cost.
    """
    phrases = await asyncio.to_thread(usual_phrases)
    texts = (GREETING, *(answers([phrase], greeting=GREETING)[0] for phrase in phrases))
    utterances = tuple(known(text, sound) for text, sound in phrases.items())
    found = Found()
    options = LabOptions(steady=True, known=utterances, ready=texts)
    listening = bind_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with (
        lab_process(options=options) as lab,
        _open_process(lab, plan, url) as (process, counted),
        _serve_carriers(process, listening),
        _open_console(url, found),
    ):
        found.facts = await tell_facts(process, plan.facts)
        found.listeners = await listeners_cost(process)
        await process.emitter.flush()
        switch = Switch(process.emitter)
        with switch.account.counting():
            await _hold_calls(plan, url, process, switch, counted, found)
        found.recorded = await _count_recorded(process.settings.storage.url)
    return found


async def _hold_calls(
    plan: Plan, url: str, process: Process, switch: Switch, counted: EntryCounter, found: Found
) -> None:
    """Measure one window after the other, while all callers talk."""
    start_at = clock.monotonic() + START_DELAY_S
    async with crowds(script_for(url), _caller_plans(plan), start_at=start_at):
        await asyncio.sleep(START_DELAY_S + plan.calls * RING_S + SETTLED_S)
        found.calls = plan.calls - process.switchboard.free_seats
        for told in (True, False):  # not judged, because one-time work happens in these windows
            await measure_window(switch, counted, told=told, length_s=plan.window_s)
        switch.took_s.clear()
        for told in plan.order:
            found.windows.append(
                await measure_window(switch, counted, told=told, length_s=plan.window_s)
            )
        found.in_calls_s, found.lost = switch.took_s, process.emitter.lost_entries
        found.calls = min(found.calls, plan.calls - process.switchboard.free_seats)
        found.on_the_line = found.calls == plan.calls


def _caller_plans(plan: Plan) -> list[CallerPlan]:
    """Return callers who each ask the same question every few seconds, so all windows are alike."""
    length_s = (len(plan.order) + 2) * (plan.window_s + WARM_S) + plan.calls * RING_S + 30.0
    return [
        CallerPlan(
            number=number,
            rings_s=number * RING_S,
            questions=(QUESTIONS[number % len(QUESTIONS)],) * round(length_s / ASKS_EVERY_S),
            asks_every_s=ASKS_EVERY_S,
        )
        for number in range(plan.calls)
    ]


@asynccontextmanager
async def _open_process(
    lab: RunningLab, plan: Plan, url: str
) -> AsyncIterator[tuple[Process, EntryCounter]]:
    """Prepare a process for calls, with all listeners of a server and the record's database."""
    tree: Any = {
        "logs": {"dir": plan.folder / "logs"},
        "agent": {"greeting": GREETING, "silence": {"prompt_after_s": 3600.0}},
        "server": {"max_calls": plan.calls, "public_url": url},
        "storage": {"url": f"sqlite+aiosqlite:///{plan.folder}/holdline.db"},
        "transports": {
            "twilio": {"enabled": True, "auth_token": AUTH_TOKEN},
            "webrtc": {"enabled": False},
        },
    }
    settings = with_lab(lab, tree)
    database = Database(settings.storage.url)
    reporter = AlertReporter(AlertOutbox(database), utc_s=time.time)
    counted = EntryCounter()
    listeners = [reporter, CallLedger(), counted]
    async with (
        database,
        open_process(
            settings, words=False, listeners=listeners, database=database, record=True
        ) as process,
        asyncio.TaskGroup() as tasks,
    ):
        reporting = tasks.create_task(reporter.run())
        try:
            yield process, counted
        finally:
            reporting.cancel()


@asynccontextmanager
async def _serve_carriers(process: Process, listening: socket.socket) -> AsyncIterator[None]:
    """Serve carriers and the console during the block, as a server does."""
    async with asyncio.TaskGroup() as tasks:
        app = application(process, tasks, Extras())
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws=BoundedSocket, **bounds()
        )
        server = uvicorn.Server(config)
        serving = tasks.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = server.force_exit = True
            await asyncio.wait([serving])


@asynccontextmanager
async def _open_console(url: str, found: Found) -> AsyncIterator[None]:
    """Open the console in another process during the block; count its messages afterwards."""
    page = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PAGE, f"{url}/api/live?calls=1", stdout=asyncio.subprocess.PIPE
    )
    try:
        yield
    finally:
        page.terminate()
        output, _ = await page.communicate()
        found.shown = int(output or 0)


async def _count_recorded(url: str) -> int:
    count = select(func.count()).select_from(HAPPENINGS)
    async with Database(url) as database, database.reading() as connection:
        return (await connection.execute(count)).scalar_one()


if __name__ == "__main__":
    sys.exit(main())
