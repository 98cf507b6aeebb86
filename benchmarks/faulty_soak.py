"""Two machines at 80 % of their seats, with a fault each minute; see `soak.py --faults`."""

import asyncio
import json
import os
import random
import shutil
import signal
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks import soak_report
from benchmarks.caller import HeldCall, Script, hold_call
from benchmarks.callers import PAUSE_S
from benchmarks.heard import judge_call
from benchmarks.load import cheap_lab, questions_of, script_for
from benchmarks.machines import Fleet, open_fleet
from lab.control import LabControl
from lab.drill.servers import GREETING
from lab.process import lab_process
from runtime import clock
from runtime.exits import CommandError
from tests.bot.serving import AUTH_TOKEN, until_ready
from tests.kit.waiting import until
from tests.share_servers import Server, free_port, running_postgres, running_redis

NAMES: Final = ("a", "b")
SEATS: Final = 3  # of each machine: two cores are shared with callers and simulators
CALLERS: Final = 5  # with the time between their calls, they take 80 % of the seats
TURNS: Final = 8  # of each call
FAULT_EVERY_S: Final = 60.0
BROKEN_S: Final = 10.0  # how long a provider is broken
STORE_S: Final = 5.0  # how long Redis is stopped
FROZEN_S: Final = 2.0
SAMPLE_S: Final = 10.0
BETWEEN_S: Final = 5.0  # from a call's end to the next ring
BACK_S: Final = 120.0  # a safety limit: the longest wait for a machine that was killed
MB: Final = 1e6

PROVIDERS: Final = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}  # the first rungs
BREAKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "dead": {"fault": "refuse"},
    "slow": {"fault": "slow_start", "delay_s": 3.0},
    "cut": {"fault": "cut", "after_words": 4},
}
KINDS: Final = (
    tuple(f"{stage} {how}" for stage in PROVIDERS for how in BREAKS),
    ("worker killed", "machine killed", "machine frozen"),
    ("store stopped", "store restarted"),
)


def deal(seed: int) -> Iterator[str]:
    """Yield faults without end: of providers, ours and the store in turn.

    Each kind has a pack of its own, which is shuffled when all its faults had their turn.
    """
    dice = random.Random(seed)  # noqa: S311 - no secret
    packs: list[list[str]] = [[] for _ in KINDS]
    while True:
        for kind, pack in zip(KINDS, packs, strict=True):
            if not pack:
                pack.extend(dice.sample(kind, len(kind)))
            yield pack.pop()


def run(options: Namespace) -> int:
    """Measure and report; return 0, 1 if a target was missed, 3 if it cannot run here."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "haproxy", "redis-server"))):
        print("unproven: root, iproute2, HAProxy, Redis and PostgreSQL are needed")
        return 3
    if (options.out / "records.jsonl").exists():
        print(f"{options.out} has the records of another run; choose another folder with --out")
        return 2
    folder = options.out.resolve() / "machines"
    folder.mkdir(parents=True)
    asyncio.run(_run_soak(options, folder))
    text = _write_report(options.out)
    print(text, end="")
    return 1 if "MISSED" in text else 0


def _write_report(out: Path) -> str:
    """Write the report of the records so far, and return it."""
    written = (out / "records.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    text = "\n".join(soak_report.lines([json.loads(line) for line in written])) + "\n"
    (out / "report.txt").write_text(text, encoding="utf-8")
    return text


@dataclass(slots=True, kw_only=True)
class Soak:
    """A run in progress.

    Attributes:
        out: Gets `records.jsonl` and `report.txt`.
        began_at: On the monotonic clock.
        stores: Holds the running Redis.
        judging: Calls that have ended and are not yet judged.
    """

    out: Path
    fleet: Fleet
    control: LabControl
    store: Server
    stores: AsyncExitStack
    database: str
    script: Script
    judges: Executor
    dice: random.Random
    began_at: float
    calls: int = 0
    judging: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def now_s(self) -> float:
        """Seconds of the run."""
        return clock.monotonic() - self.began_at

    def note(self, what: str, **values: Any) -> None:
        """Write a record."""
        record = {"what": what, "utc": datetime.now(UTC).isoformat(timespec="seconds"), **values}
        with (self.out / "records.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    # -- callers

    async def call_again_and_again(self, number: int) -> None:
        """Hold one call after the other."""

        async def cue(_: int) -> None:
            await asyncio.sleep(self.dice.uniform(*PAUSE_S))

        await asyncio.sleep(number * 2.0)
        while True:
            held = HeldCall(number=number, rang_at=clock.monotonic())
            questions = questions_of(number + self.calls, TURNS)
            try:
                await hold_call(self.script, held, questions=questions, cue=cue)
            except* (OSError, ValueError, SyntaxError) as broken:  # an answer that is no XML
                held.error = repr(broken.exceptions)
            task = asyncio.create_task(self._judge_call(held, self.now_s))
            self.judging.add(task)
            task.add_done_callback(self.judging.discard)
            await asyncio.sleep(BETWEEN_S)

    async def _judge_call(self, held: HeldCall, end_s: float) -> None:
        loop = asyncio.get_running_loop()
        judge = partial(judge_call, held, started_at=self.began_at)
        judged = await loop.run_in_executor(self.judges, judge)
        since_s = held.rang_at + (held.connected_s or 0.0) - self.began_at
        self.calls += 1
        self.note(
            "call", at_s=end_s, caller=held.number, began_s=held.rang_at - self.began_at,
            end_s=end_s, error=held.error, refused=held.refused, streams=1 + len(held.lost_s),
            late_s=max(held.late_s, default=0.0),
        )  # fmt: skip
        for turn, heard in zip(held.turns, judged.turns, strict=True):
            self.note(
                "turn", at_s=heard.at_s, caller=held.number, began_s=since_s + turn.began_s,
                end_s=since_s + turn.end_s, first_word_s=heard.first_word_s, whole=heard.whole,
                torn=heard.torn, summary=heard.summary,
            )  # fmt: skip

    # -- faults

    async def break_things(self, seed: int) -> None:
        """Cause a fault each minute; one that goes wrong is noted, and the run goes on."""
        for number, name in enumerate(deal(seed), 1):
            await asyncio.sleep(max(0.0, number * FAULT_EVERY_S - 30.0 - self.now_s))
            at_s, wrong = self.now_s, ""
            try:
                await self.fleet.start_killed()  # if that went wrong before
                await self._cause_fault(name)
            except (OSError, RuntimeError, TimeoutError, CommandError) as broken:
                wrong = repr(broken)
            self.note("fault", name=name, at_s=at_s, until_s=self.now_s, wrong=wrong)

    async def _cause_fault(self, name: str) -> None:
        """Cause a fault, and return when it is over.

        Only machine b is killed, so that the processes of machine a live through the whole run.
        """
        thing, how = name.split()
        if thing in PROVIDERS:
            window = {**BREAKS[how], "until_s": BROKEN_S}
            await self.control.set_faults(PROVIDERS[thing], [window])
            await asyncio.sleep(BROKEN_S)
        elif thing == "store":
            await self._break_store(how)
        elif how == "frozen":
            machine = self.dice.choice(self.fleet.machines)
            machine.signal(signal.SIGSTOP)
            await asyncio.sleep(FROZEN_S)
            machine.signal(signal.SIGCONT)
        else:
            machine = self.fleet.machines[1]
            pids = machine.processes
            for pid in pids if thing == "machine" else pids[1:]:
                with suppress(ProcessLookupError):  # it ended with its parent
                    os.kill(pid, signal.SIGKILL)
            if thing == "machine" and machine.served:
                await machine.served.process.wait()
                await self.fleet.start_killed()
            await until(lambda: set(machine.processes[1:]) - set(pids), within_s=BACK_S)
            if machine.served:
                await until_ready(machine.served.url, machine.served.process)

    async def _break_store(self, how: str) -> None:
        if how == "stopped":
            self.store.pause()
            await asyncio.sleep(STORE_S)
            self.store.resume()
        else:
            await self.stores.aclose()
            self.store = self.stores.enter_context(running_redis(self.store.port))

    # -- measurements

    async def measure(self) -> None:
        """Record the resources of all processes repeatedly; write the report each minute."""
        for number in range(10**9):
            for sample in await asyncio.to_thread(_resource_samples, self.fleet):
                self.note("process", at_s=self.now_s, **sample)
            if number % 6 == 0:
                await self._note_sizes()
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(
                    self.judges, _write_report, self.out
                )  # not in this process
            await asyncio.sleep(max(0.0, (number + 1) * SAMPLE_S - self.now_s))

    async def _note_sizes(self) -> None:
        connection = await asyncpg.connect(self.database)
        try:
            held = await connection.fetchval("SELECT pg_database_size(current_database())")
        finally:
            await connection.close()
        logs = sum(map(_file_size, self.fleet.folder.glob("*/logs/**/*")))
        self.note(
            "size", at_s=self.now_s, calls=self.calls, logs_mb=logs / MB, database_mb=held / MB,
            load=os.getloadavg()[0],
        )  # fmt: skip


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0  # it was deleted meanwhile


def _resource_samples(fleet: Fleet) -> list[dict[str, Any]]:
    """Return the resources of each process of each machine."""
    found: list[dict[str, Any]] = []
    for machine in fleet.machines:
        top = machine.served.process.pid if machine.served else 0
        for pid in machine.processes:
            place = Path(f"/proc/{pid}")
            try:
                status = dict(
                    line.split(":\t", 1) for line in (place / "status").read_text().splitlines()
                )
                found.append({
                    "machine": machine.name, "pid": pid,
                    "role": "supervisor" if pid == top else "worker",
                    "memory_mb": int(status["RssAnon"].split()[0]) / 1024,
                    "threads": int(status["Threads"]),
                    "descriptors": len(list((place / "fd").iterdir())),
                })  # fmt: skip
            except (OSError, KeyError):
                continue  # it ended meanwhile
    return found


async def _run_soak(options: Namespace, folder: Path) -> None:
    """Run for the planned time, or until SIGTERM; then judge the calls that have ended."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _open_soak(options, folder) as soak, asyncio.TaskGroup() as group:
        soak.note("start", at_s=0.0, seats=SEATS * len(NAMES), callers=CALLERS, seed=options.seed)
        tasks = [
            group.create_task(soak.measure()),
            group.create_task(soak.break_things(options.seed)),
            *(group.create_task(soak.call_again_and_again(number)) for number in range(CALLERS)),
        ]
        try:
            async with asyncio.timeout(options.minutes * 60):
                await stop.wait()
        except TimeoutError:
            pass  # the usual end
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for failed in await asyncio.gather(*soak.judging, return_exceptions=True):
            if failed:
                soak.note("fault", at_s=soak.now_s, until_s=0.0, name="judge", wrong=repr(failed))


@asynccontextmanager
async def _open_soak(options: Namespace, folder: Path) -> AsyncIterator[Soak]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_context(running_postgres()).fresh_url()
        stores = await stack.enter_async_context(AsyncExitStack())
        store = stores.enter_context(running_redis(free_port()))
        lab = await stack.enter_async_context(lab_process(options=cheap_lab("quick")))
        tree = {
            "server": {"max_calls": SEATS},
            "agent": {"greeting": GREETING},
            "hold": {"render": False},
        }
        environment = {
            "HOLDLINE__SERVER__STORE": store.url,
            "HOLDLINE__STORAGE__URL": database.replace("postgresql:", "postgresql+asyncpg:"),
        }
        opening = open_fleet(NAMES, folder, lab=lab, tree=tree, environment=environment)
        fleet = await stack.enter_async_context(opening)
        spawned = get_context("spawn")
        judges = stack.enter_context(
            ProcessPoolExecutor(1, mp_context=spawned, initializer=os.nice, initargs=(10,))
        )
        yield Soak(
            out=options.out,
            fleet=fleet,
            control=await stack.enter_async_context(LabControl(lab)),
            store=store,
            stores=stores,
            database=database,
            script=replace(script_for(fleet.url), auth_token=AUTH_TOKEN),
            judges=judges,
            dice=random.Random(options.seed),  # noqa: S311 - no secret
            began_at=clock.monotonic(),
        )
