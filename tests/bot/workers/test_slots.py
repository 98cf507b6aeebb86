"""Workers that cannot start: reported once, by an exit code, and nothing is left."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.exits import BAD_USAGE, FAILED
from bot.workers.admission_rules import PoolAdmission
from bot.workers.pool_server import PoolServer, Quotas
from bot.workers.slots import Slots
from bot.workers.worker_process import WorkerOrder
from tests.bot.workers.test_shared_limits import settings_with


@dataclass
class Orders:
    """Two workers with one configuration."""

    config: Path
    wanted: int = 2

    def order(self, number: int) -> WorkerOrder:
        return WorkerOrder(
            number=number,
            workers=self.wanted,
            pool_id="",
            config=str(self.config),
            flags={},
            board="",
            metrics="",
        )


async def begin(orders: Orders) -> tuple[int, PoolServer]:
    clock = asyncio.get_running_loop().time
    seats = PoolAdmission(seats=1, cores=1)
    office = PoolServer(seats, Quotas(settings_with()), clock=clock)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        code = await Slots(orders, office, tasks, clock=clock).begin()
    return code, office


async def test_a_wrong_configuration_is_reported_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "holdline.yaml"
    config.write_text("agnet: {}\n")

    code, office = await begin(Orders(config))

    assert code == BAD_USAGE
    assert capfd.readouterr().err.count("agnet is unknown") == 1
    assert office.workers == {}


@pytest.mark.parametrize(
    "short",
    [OSError(12, "Cannot allocate memory"), RuntimeError("can't start new thread")],
    ids=["memory", "threads"],
)
async def test_a_machine_without_room_for_a_process_is_not_our_error(
    short: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise short

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)

    code, office = await begin(Orders(tmp_path / "holdline.yaml"))

    assert code == FAILED
    assert office.workers == {}
