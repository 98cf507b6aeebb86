"""Two workers and a supervisor in one process, with real connections between them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bot.workers.admission_rules import PoolAdmission
from bot.workers.pool import KeyValueStore
from bot.workers.pool_client import PoolClient
from bot.workers.pool_server import PoolServer, Quotas
from bot.workers.saved_values import SavedValues
from bot.workers.shared_shares import SharedShares
from bot.workers.shared_values import SharedValues
from bot.workers.wire import Wire


@dataclass(eq=False)
class WorkerWithoutProcess:
    """The supervisor's view of a worker, without a process."""

    number: int
    wire: Wire
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: bool = False
    reported_at: float = 0.0
    pid: int = 0
    cause: str = "start"
    replaces: str = ""
    replaced_lost_at: float = 0.0
    refused: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"w{self.number}"


@dataclass
class Lines:
    """The pool server, and each worker's client."""

    office: PoolServer
    desks: list[WorkerWithoutProcess]
    joined: list[PoolClient]

    async def open(self) -> None:
        """Let every worker report that it is ready."""
        for joined in self.joined:
            joined.wire.send("ready")
        await self.settle()

    async def settle(self) -> None:
        """Let messages arrive, there and back: each line keeps its order."""
        for _ in range(3):
            for joined in (*self.joined, *self.desks):
                await joined.wire.ask("ping")


@asynccontextmanager
async def lines(
    settings: Any,
    *,
    workers: int = 2,
    seats: int = 20,
    saved: SavedValues | None = None,
    values: SharedValues | None = None,
    shares: SharedShares | None = None,
) -> AsyncIterator[Lines]:
    pool = PoolAdmission(seats=seats, cores=2, measured=False)
    clock = asyncio.get_running_loop().time
    quotas = Quotas(settings, clock=clock, shares=shares)
    kept = values or KeyValueStore(clock=clock, saved=saved)
    office = PoolServer(pool, quotas, clock=clock, values=kept)
    it = Lines(office, [], [])
    async with asyncio.TaskGroup() as tasks:
        sharing = tasks.create_task(quotas.share())
        for number in range(1, workers + 1):
            there, here = socket.socketpair()
            desk = WorkerWithoutProcess(number, Wire(there))
            joined = PoolClient(Wire(here), number=number, workers=workers)
            for wire in (desk.wire, joined.wire):
                wire.answer("ping", _answer_ping)
            office.receive(desk)  # type: ignore[arg-type] - without a process
            running = [tasks.create_task(item.run()) for item in (desk.wire, joined.wire)]
            it.desks.append(desk)
            it.joined.append(joined)
            assert all(running)
        for item in (*it.joined, *it.desks):
            await item.wire.open.wait()
        yield it
        sharing.cancel()
        for item in it.joined:
            item.wire.close()


async def _answer_ping(_: Any) -> str:
    return "pong"
