"""LiveKit's rooms over two machines: a full machine leaves a room to the other one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.workers.pool import Claims, NoPeers, SingleProcess
from runtime import clock
from tests.bot.server.test_livekit_door import (
    LockedServer,
    Opened,
    locked_server,
    opened,
    started,
)
from tests.transports.twilio_server import until
from transports.pool import ELSEWHERE, HeldSeat, KeepOutcome, NoSeat


class MachinePeers(NoPeers):
    """The peers of the only process of a machine, with the claims of all machines."""

    def __init__(self, everywhere: Claims, machine: str) -> None:
        super().__init__()
        self._everywhere, self._machine = everywhere, machine

    async def claim(self, what: str, *, everywhere: bool = False) -> KeepOutcome:
        if everywhere:
            return KeepOutcome(self._everywhere.claim(what, holder=self._machine))
        return await super().claim(what)

    def give_back(self, what: str) -> None:
        super().give_back(what)
        self._everywhere.give_back(what, holder=self._machine)


class Machine(SingleProcess):
    """A machine; while it is full, the other one has room."""

    claims_everywhere = True

    def __init__(self, everywhere: Claims, name: str) -> None:
        super().__init__(why_closed=str, clock=clock.monotonic)
        self.peers = MachinePeers(everywhere, name)
        self.is_full = False
        self.asked = 0  # for a seat

    async def admit(
        self, call: str = "", *, address: str = "", goes_on: bool = False
    ) -> HeldSeat | NoSeat:
        self.asked += 1
        if self.is_full:
            return NoSeat(reason=ELSEWHERE)
        return await super().admit(call, address=address, goes_on=goes_on)


@dataclass(kw_only=True)
class Two:
    server: LockedServer
    machines: dict[str, Machine]
    doors: dict[str, Opened]

    def refused(self) -> list[str]:
        entries = [entry for door in self.doors.values() for entry in door.notes.entries]
        return [type(entry).__name__ for entry in entries if type(entry).__name__ == "CallRefused"]


@asynccontextmanager
async def two_machines(folder: Path) -> AsyncIterator[Two]:
    everywhere = Claims()
    machines = {name: Machine(everywhere, name) for name in ("a", "b")}
    for name in machines:
        (folder / name).mkdir()
    async with (
        locked_server() as server,
        opened(folder / "a", media_server=server, pool=machines["a"]) as a,
        opened(folder / "b", media_server=server, pool=machines["b"]) as b,
    ):
        yield Two(server=server, machines=machines, doors={"a": a, "b": b})


async def test_a_full_machine_leaves_a_new_room_to_the_one_that_has_a_seat(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as them:
        them.machines["a"].is_full = True
        await them.doors["a"].post(started("call-1"))
        await until(lambda: bool(them.machines["a"].asked))
        them.server.rooms = ["call-1"]  # LiveKit's webhook reaches one machine, so the other polls
        await them.server.until(lambda: them.server.joins)

        assert them.machines["b"].asked
        assert not them.server.deleted
        assert not them.refused()


async def test_a_room_that_the_other_machine_does_not_take_is_answered_once_there_is_a_seat(
    tmp_path: Path,
) -> None:
    async with two_machines(tmp_path) as them:
        both = them.machines.values()
        for machine in both:
            machine.is_full = True
        them.server.rooms = ["call-1"]
        await them.server.until(lambda: all(machine.asked >= 2 for machine in both))
        assert not them.server.joins
        them.machines["a"].is_full = False
        await them.server.until(lambda: them.server.joins)

        assert not them.server.deleted
        assert not them.refused()
