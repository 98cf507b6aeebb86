"""Slots of workers that cannot start or are lost: each has one worker, and none is left over."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from bot.workers import slots
from bot.workers.admission_rules import PoolAdmission
from bot.workers.pool import KeyValueStore
from bot.workers.pool_server import PoolServer, Quotas
from bot.workers.slots import Renewal, Slots
from bot.workers.worker_process import Worker, WorkerParameters
from runtime.exits import BAD_USAGE, FAILED
from tests.bot.workers.descriptors import descriptors_left
from tests.bot.workers.test_pool_client import settings_with

SMALL = r"""
import contextlib, json, os, signal, socket, sys, time
order = json.loads(sys.argv[1])
line = socket.socket(fileno=order["control"])

def say(what):
    line.sendall(json.dumps({"tell": what}).encode() + b"\n")

def end(code):
    if code < 0:
        os.kill(os.getpid(), -code)
        signal.pause()
    sys.exit(code)

flags = order["flags"]
if "ends" in flags and not flags["late"]:
    end(flags["ends"])
say("configured")
if "ends" in flags:
    end(flags["ends"])
if flags.get("leaves"):
    import subprocess
    lives = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.05)"
    subprocess.Popen([sys.executable, "-c", lives, flags["leaves"]], close_fds=False)
while flags.get("waits_for") and not os.path.exists(flags["waits_for"]):
    time.sleep(0.01)
if flags.get("cannot"):
    sys.exit(3)
with contextlib.suppress(BlockingIOError):
    while line.recv(65536, socket.MSG_DONTWAIT):  # who loads heeds nothing
        pass
say("ready")
if flags.get("closes"):
    say("closing")
for message in line.makefile():
    told = json.loads(message)["tell"]
    if told == "close":
        say("closing")
    if told in ("retire", "stop"):
        break
line.sendall(flags.get("last", "").encode())
"""
WITHIN_S = 30.0
CANNOT = {"cannot": True}


@dataclass
class Orders:
    """Settings of some small workers; options by number, others are ready at once."""

    workers: int
    flags: dict[int, dict[str, Any]] = field(default_factory=dict)
    usual: dict[str, Any] = field(default_factory=dict)
    given: int = 0
    config: str = ""

    def parameters(self, number: int) -> WorkerParameters:
        self.given = number
        return WorkerParameters(
            number=number,
            workers=self.workers,
            pool_id="",
            config=self.config,
            flags=self.flags.get(number, self.usual),
            board="",
            metrics="",
        )


@dataclass
class RunningSlots:
    """The slots and their workers."""

    orders: Orders
    slots: Slots
    office: PoolServer
    tasks: asyncio.TaskGroup

    @property
    def names(self) -> set[str]:
        return set(self.office.workers)

    def worker(self, name: str) -> Worker:
        return self.office.workers[name]

    def kill(self, name: str) -> None:
        os.kill(self.worker(name).pid, signal.SIGKILL)

    def is_ready(self, name: str) -> bool:
        return name in self.names and self.worker(name).ready.is_set()


def start_small_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    real = asyncio.create_subprocess_exec

    async def small(*command: Any, **options: Any) -> Any:
        return await real(sys.executable, "-S", "-c", SMALL, command[-1], **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", small)


@asynccontextmanager
async def pool(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSlots]:
    start_small_workers(monkeypatch)
    clock = asyncio.get_running_loop().time
    office = PoolServer(
        PoolAdmission(seats=9, cores=2),
        Quotas(settings_with(), clock=clock),
        clock=clock,
        values=KeyValueStore(clock=clock),
    )
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as tasks:
        plan: Any = orders
        it = RunningSlots(orders, Slots(plan, office, tasks, clock=clock), office, tasks)
        assert await it.slots.start_workers() == 0
        try:
            yield it
        finally:
            it.slots.close()
            office.stop(drain_s=5.0)


async def becomes(fact: Callable[[], bool]) -> None:
    while not fact():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


async def stays(fact: Callable[[], bool]) -> bool:
    """Return whether a condition becomes true, and holds for a moment."""
    await becomes(fact)
    await asyncio.sleep(0.1)
    return fact()


async def test_a_worker_lost_during_a_replacement_leaves_one_in_each_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"
    orders = Orders(workers=2, flags={3: {"waits_for": str(late)}})
    async with pool(orders, monkeypatch) as it:
        round_ = it.tasks.create_task(it.slots.renew())
        await becomes(lambda: "w3" in it.names)
        it.kill("w2")
        await becomes(lambda: it.is_ready("w4"))  # in its slot
        late.touch()

        assert await round_ == Renewal(workers=2, complete=True)
        assert await stays(lambda: it.names == {"w3", "w5"})


async def test_a_removed_slot_may_have_lost_its_worker_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"
    orders = Orders(workers=2, flags={3: {"waits_for": str(late)}})
    async with pool(orders, monkeypatch) as it:
        orders.workers = 1
        round_ = it.tasks.create_task(it.slots.renew())
        await becomes(lambda: "w3" in it.names)
        it.kill("w2")
        await becomes(lambda: it.is_ready("w4"))
        late.touch()

        assert await round_ == Renewal(workers=1, complete=True)
        assert await stays(lambda: it.names == {"w3"})


async def test_a_worker_that_was_replaced_while_loading_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"
    orders = Orders(workers=1, flags={2: {"waits_for": str(late)}})
    async with pool(orders, monkeypatch) as it:
        it.kill("w1")
        await becomes(lambda: "w2" in it.names and it.worker("w2").configured.is_set())

        assert (await it.slots.renew()).complete
        late.touch()
        assert await stays(lambda: it.names == {"w3"})


async def test_a_delayed_restart_is_not_needed_after_a_replacement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "REPLACE_PAUSES_S", (0.0, 0.1))
    async with pool(Orders(workers=1, flags={2: CANNOT}), monkeypatch) as it:
        it.kill("w1")
        await becomes(lambda: it.orders.given == 2 and not it.names)

        assert (await it.slots.renew()).complete
        await asyncio.sleep(0.2)
        assert it.names == {"w3"}


async def test_a_new_slot_gets_a_worker_even_if_the_first_one_cannot_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "REPLACE_PAUSES_S", (0.0, 0.05))
    orders = Orders(workers=1, flags={3: CANNOT, 4: CANNOT})
    async with pool(orders, monkeypatch) as it:
        orders.workers = 2

        assert (await it.slots.renew()).complete
        await becomes(lambda: it.is_ready("w5"))
        assert it.names == {"w2", "w5"}


@pytest.mark.parametrize("how", ["lost", "closing"])
async def test_an_old_worker_that_is_lost_or_closes_in_a_failed_round_is_replaced(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"
    orders = Orders(workers=1, flags={2: {"waits_for": str(late)} | CANNOT})
    async with pool(orders, monkeypatch) as it:
        orders.usual = CANNOT  # until the earlier configuration is in force again
        round_ = it.tasks.create_task(it.slots.renew())
        await becomes(lambda: "w2" in it.names)
        if how == "lost":
            it.kill("w1")
            await becomes(lambda: "w1" not in it.names)
        else:
            it.worker("w1").wire.send("close")
            await it.worker("w1").closing.wait()
        late.touch()

        assert await round_ == Renewal(workers=0, complete=False)
        orders.usual = {}
        await becomes(lambda: it.orders.given > 2 and it.is_ready(f"w{it.orders.given}"))
        assert ("w1" in it.names) is (how == "closing")
        if how == "closing":
            it.worker("w1").wire.send("stop")  # its last call has ended
            await becomes(lambda: "w1" not in it.names)
        assert await stays(lambda: it.names == {f"w{it.orders.given}"})


async def test_an_earlier_lost_worker_is_no_failed_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "REPLACE_PAUSES_S", (0.0, 30.0))
    async with pool(Orders(workers=2, flags={3: CANNOT}), monkeypatch) as it:
        it.kill("w1")
        await becomes(lambda: it.orders.given == 3 and it.names == {"w2"})

    assert it.slots.failed is None


async def test_a_worker_that_fails_while_stopping_is_a_failed_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pool(Orders(workers=2), monkeypatch) as it:
        it.slots.close()
        it.kill("w1")

    assert it.slots.failed is not None
    assert it.slots.failed.name == "w1"


async def test_a_worker_that_ends_by_itself_is_replaced_while_its_calls_continue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pool(Orders(workers=1, flags={1: {"closes": True}}), monkeypatch) as it:
        await becomes(lambda: it.is_ready("w2"))
        assert it.names == {"w1", "w2"}

        it.worker("w1").wire.send("stop")  # its last call has ended
        await becomes(lambda: "w1" not in it.names)
        assert await stays(lambda: it.names == {"w2"})
        assert it.orders.given == 2


async def test_a_worker_that_dies_within_a_message_is_replaced_as_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders = Orders(workers=2, flags={1: {"last": '{"tell": "entry", "to": "w2", "en'}})
    async with pool(orders, monkeypatch) as it:
        it.worker("w1").wire.send("retire")  # let it send its last message and end

        await becomes(lambda: it.is_ready("w3"))
        assert it.names == {"w2", "w3"}


async def test_a_worker_that_leaves_a_child_process_is_replaced_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = tmp_path / "over"
    try:
        async with pool(Orders(workers=1, flags={1: {"leaves": str(over)}}), monkeypatch) as it:
            it.kill("w1")

            await becomes(lambda: it.is_ready("w2"))
            assert it.names == {"w2"}
    finally:
        over.touch()


async def test_a_worker_lost_while_descriptors_are_short_is_replaced_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "REPLACE_PAUSES_S", (0.0, 0.1))
    async with pool(Orders(workers=1), monkeypatch) as it:
        it.kill("w1")
        with descriptors_left(0):
            await becomes(lambda: it.orders.given == 2 and not it.names)

        await becomes(lambda: it.is_ready(f"w{it.orders.given}"))


async def test_calls_are_accepted_by_ready_workers_while_one_still_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "OTHERS_READY_S", 0.05)
    late = tmp_path / "late"
    orders = Orders(workers=2, flags={1: {"waits_for": str(late)}})
    async with pool(orders, monkeypatch) as it:  # it has begun
        assert (it.is_ready("w1"), it.is_ready("w2")) == (False, True)

        late.touch()
        assert await stays(lambda: it.is_ready("w1") and it.names == {"w1", "w2"})


async def test_a_worker_that_never_gets_ready_is_replaced_during_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "OTHERS_READY_S", 0.05)
    monkeypatch.setattr(slots, "BECOME_READY_S", 5.0)
    orders = Orders(workers=2, flags={2: {"waits_for": str(tmp_path / "never")}})
    async with pool(orders, monkeypatch) as it:
        assert it.is_ready("w1")
        monkeypatch.setattr(slots, "BECOME_READY_S", 0.1)
        await becomes(lambda: "w2" not in it.names)
        monkeypatch.setattr(slots, "BECOME_READY_S", WITHIN_S)  # its successor has enough time

        assert await stays(lambda: len(it.names) == 2 and all(map(it.is_ready, it.names)))
        assert it.names > {"w1"}


async def test_workers_with_equal_loading_times_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, real = tmp_path / "late", slots._wait_until_ready

    async def is_ready(worker: Worker) -> bool:
        found = await real(worker)
        late.touch()  # the first is ready, and now the other one
        return found

    monkeypatch.setattr(slots, "_wait_until_ready", is_ready)
    orders = Orders(workers=2, flags={2: {"waits_for": str(late)}})
    async with pool(orders, monkeypatch) as it:
        assert (it.is_ready("w1"), it.is_ready("w2")) == (True, True)


async def test_a_round_interrupted_by_a_stop_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sink = logger.add(said.append, level="ERROR")
    orders = Orders(workers=1, flags={2: {"waits_for": str(tmp_path / "never")}})
    try:
        async with pool(orders, monkeypatch) as it:
            round_ = it.tasks.create_task(it.slots.renew())
            await becomes(lambda: "w2" in it.names and it.worker("w2").configured.is_set())
            it.slots.close()
            assert not (await round_).complete
    finally:
        logger.remove(sink)

    assert said == []


async def begin(orders: Any) -> tuple[int, PoolServer]:
    clock = asyncio.get_running_loop().time
    seats = PoolAdmission(seats=1, cores=1)
    office = PoolServer(
        seats, Quotas(settings_with(), clock=clock), clock=clock, values=KeyValueStore(clock=clock)
    )
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        code = await Slots(orders, office, tasks, clock=clock).start_workers()
    return code, office


async def test_a_wrong_configuration_is_reported_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "holdline.yaml"
    config.write_text("agnet: {}\n")

    code, office = await begin(Orders(workers=2, config=str(config)))

    assert code == BAD_USAGE
    assert capfd.readouterr().err.count("agnet is unknown") == 1
    assert office.workers == {}


@pytest.mark.parametrize(
    ("ended", "code", "late"),  # late: while it loads, and not before the configuration
    [
        (-signal.SIGKILL, FAILED, False),
        (-signal.SIGKILL, FAILED, True),
        (0, FAILED, True),
        (BAD_USAGE, BAD_USAGE, False),
        (120, FAILED, False),  # Python's, if it cannot flush stdout
    ],
)
async def test_a_first_worker_that_exits_gives_one_of_our_exit_codes(
    ended: int, code: int, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    start_small_workers(monkeypatch)
    lines: list[str] = []
    sink = logger.add(lines.append, level="ERROR", format="{message}")
    try:
        told, _ = await begin(Orders(workers=1, usual={"ends": ended, "late": late}))
    finally:
        logger.remove(sink)

    assert told == code
    assert bool(lines) == (late or ended < 0)  # others have printed their error


@pytest.mark.parametrize(
    "short",
    [OSError(12, "Cannot allocate memory"), RuntimeError("can't start new thread")],
    ids=["memory", "threads"],
)
async def test_a_machine_without_room_for_a_process_is_not_our_error(
    short: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise short

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)

    code, office = await begin(Orders(workers=2))

    assert code == FAILED
    assert office.workers == {}
