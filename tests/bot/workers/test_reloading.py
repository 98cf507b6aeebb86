"""A supervisor's rounds with a reloaded configuration, without processes."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from bot.workers.slots import BUSY, BY_SIGNAL, Reloading, Renewal, Reread


@dataclass
class Plan:
    """Has a name for its settings."""

    said: Reread
    settings: str = "old"

    def renew(self) -> Reread:
        self.settings = self.settings if self.said.problems else "new"
        return self.said

    def restore(self) -> None:
        self.settings = "old"


@dataclass
class Round:
    """A supervisor's round and its events."""

    said: Reread
    relieved: Renewal
    told: list[dict[str, Any]] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = Plan(self.said)
        self.going = asyncio.Event()
        self.going.set()
        self.reloading = Reloading(
            self.plan,  # type: ignore[arg-type]
            SimpleNamespace(renew=self._renew),  # type: ignore[arg-type]
            apply=self.applied.append,  # type: ignore[arg-type]
            emit=lambda _, **fields: self.told.append(fields),
        )
        self.reloading.open = True

    async def _renew(self) -> Renewal:
        await self.going.wait()
        return self.relieved


RIGHT = Reread(changed=("agent.greeting",))


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_round_ended_by_the_stop_does_not_blame_the_configuration(
    workers: int,
) -> None:
    it = Round(RIGHT, Renewal(workers=workers, complete=False))
    it.going.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(it.reloading.run(BY_SIGNAL))
        while not it.applied:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        it.reloading.open = False
        it.going.set()

    assert it.told == []


async def test_when_no_new_worker_can_start_the_old_configuration_stays_in_force() -> None:
    it = Round(RIGHT, Renewal(workers=0, complete=False))

    await it.reloading.run("SIGHUP")

    assert it.plan.settings == "old"
    assert it.applied == ["new", "old"]
    assert [item["outcome"] for item in it.told] == ["no_worker"]


@pytest.mark.parametrize(
    ("said", "relieved", "outcome", "applied"),
    [
        (RIGHT, Renewal(workers=2, complete=True), "replaced", ["new"]),
        (RIGHT, Renewal(workers=1, complete=False), "partly", ["new"]),
        (Reread(problems=("no",)), Renewal(workers=0, complete=True), "wrong", []),
    ],
    ids=["all", "some", "none"],
)
async def test_the_result_of_a_reload_is_reported_once(
    said: Reread, relieved: Renewal, outcome: str, applied: list[str]
) -> None:
    it = Round(said, relieved)

    await it.reloading.run("Ada")

    assert [(item["by"], item["outcome"]) for item in it.told] == [("Ada", outcome)]
    assert it.applied == applied


async def test_a_second_round_at_the_same_time_is_refused() -> None:
    it = Round(RIGHT, Renewal(workers=2, complete=True))
    it.going.clear()
    reply = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(it.reloading.run("SIGHUP"))
        await asyncio.sleep(0)
        await it.reloading.run("Ada", reply=reply)
        it.going.set()

    assert reply.result() == {"busy": BUSY}
    assert [item["by"] for item in it.told] == ["SIGHUP"]


async def test_signals_during_a_round_cause_one_more_round_after_it() -> None:
    it = Round(RIGHT, Renewal(workers=2, complete=True))
    it.going.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(it.reloading.run("Ada", reply=asyncio.get_running_loop().create_future()))
        await asyncio.sleep(0.05)  # the file is read
        await it.reloading.run(BY_SIGNAL)
        await it.reloading.run(BY_SIGNAL)
        it.going.set()

    assert [item["by"] for item in it.told] == ["Ada", "SIGHUP"]
    assert not it.reloading.signal_pending


async def test_a_signal_during_the_start_is_handled_later_and_one_during_the_stop_never() -> None:
    it = Round(RIGHT, Renewal(workers=2, complete=True))
    it.reloading.open = False
    await it.reloading.run(BY_SIGNAL)
    assert it.reloading.signal_pending

    it.reloading.open = True
    it.going.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(it.reloading.run(BY_SIGNAL))
        await asyncio.sleep(0.05)
        await it.reloading.run(BY_SIGNAL)
        it.reloading.open = False
        it.going.set()

    assert [item["by"] for item in it.told] == ["SIGHUP"]


async def test_without_a_free_thread_nothing_is_read_and_the_server_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    it = Round(RIGHT, Renewal(workers=2, complete=True))
    monkeypatch.setattr(asyncio, "to_thread", refuse)

    await it.reloading.run(BY_SIGNAL)

    assert [item["outcome"] for item in it.told] == ["wrong"]
    assert it.plan.settings == "old"


async def test_a_failed_read_lets_the_next_one_begin() -> None:
    it = Round(RIGHT, Renewal(workers=2, complete=True))
    it.plan.renew = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    reply = asyncio.get_running_loop().create_future()

    await it.reloading.run("Ada", reply=reply)
    assert "problems" in reply.result()

    del it.plan.renew
    await it.reloading.run("Ada")
    assert [item["outcome"] for item in it.told] == ["wrong", "replaced"]
