"""Requests to delete a number's files on the machines that share the database.

A server with a name (`server.machine`) lists itself. `holdline forget` leaves a request for each
other machine. A machine confirms it by deleting the request, perhaps much later.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select, update

from operations.database.database import Database
from operations.database.tables import ERASURE_REQUESTS, MACHINES, REASON_LENGTH

LOOK_EVERY_S: Final = 0.5  # for confirmations


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRequest:
    """A request to one machine."""

    machine: str
    number: str
    calls: Collection[str]  # ids
    paths: Collection[str]  # of recordings and messages
    why: str = ""  # why the machine could not delete its files; empty if it has not answered


@dataclass(slots=True)
class MachineFiles:
    """The machines and the requests; every method raises `StorageError` on a failure."""

    database: Database

    async def list_machine(self, name: str, *, now: datetime) -> None:
        """List a machine, or renew the time when it was seen."""
        added = self.database.insert(MACHINES)
        renewed = added.on_conflict_do_update(index_elements=["name"], set_={"seen_at": now})
        async with self.database.transaction() as connection:
            await connection.execute(renewed.values(name=name, seen_at=now))

    async def strike(self, names: Collection[str]) -> None:
        """Remove machines that exist no more, with their requests."""
        async with self.database.transaction() as connection:
            for column in (MACHINES.c.name, ERASURE_REQUESTS.c.machine):
                await connection.execute(delete(column.table).where(column.in_(names)))

    async def request(
        self, number: str, calls: Collection[str], paths: Collection[str], *, besides: str
    ) -> None:
        """Ask every machine but one to delete a number's files, with those of earlier requests.

        A machine's earlier answer is dropped, so it tries again.
        """
        earlier = {request.machine: request for request in await self.requests(number=number)}
        async with self.database.transaction() as connection:
            names = (await connection.execute(select(MACHINES.c.name))).scalars().all()
            await connection.execute(
                delete(ERASURE_REQUESTS).where(ERASURE_REQUESTS.c.number == number)
            )
            for name in set(names) - {besides}:
                before = earlier.get(name)
                row = {
                    "calls": sorted({*calls, *(before.calls if before else ())}),
                    "paths": sorted({*paths, *(before.paths if before else ())}),
                }
                added = insert(ERASURE_REQUESTS).values(machine=name, number=number, why="", **row)
                await connection.execute(added)

    async def requests(self, **which: str) -> Sequence[ErasureRequest]:
        """Return the requests with these values of columns."""
        query = select(ERASURE_REQUESTS).filter_by(**which).order_by(ERASURE_REQUESTS.c.machine)
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [ErasureRequest(**row) for row in rows]

    async def last_seen(self) -> dict[str, datetime]:
        """Return when each machine was last seen, by its name."""
        async with self.database.reading() as connection:
            rows = await connection.execute(select(MACHINES.c.name, MACHINES.c.seen_at))
            return {row.name: row.seen_at for row in rows}

    async def answer(self, request: ErasureRequest, *, why: str = "") -> None:
        """Delete a request that is carried out, unless more files were added to it since.

        With `why`, store instead why files remain; the machine tries again later.
        """
        same = (ERASURE_REQUESTS.c.machine == request.machine) & (
            ERASURE_REQUESTS.c.number == request.number
        )
        async with self.database.transaction() as connection:
            found = select(ERASURE_REQUESTS).where(same).with_for_update()
            row = (await connection.execute(found)).mappings().first()
            if row is None:
                return
            if why:
                await connection.execute(
                    update(ERASURE_REQUESTS).where(same).values(why=why[:REASON_LENGTH])
                )
            elif {*row["calls"], *row["paths"]} <= {*request.calls, *request.paths}:
                await connection.execute(delete(ERASURE_REQUESTS).where(same))

    async def wait(self, number: str, *, within_s: float) -> Sequence[ErasureRequest]:
        """Wait up to `within_s` until every machine has answered; return the unconfirmed requests.

        Those have either a reason in `why`, or no answer yet.
        """
        try:
            async with asyncio.timeout(within_s):
                while any(not item.why for item in await self.requests(number=number)):  # noqa: ASYNC110 - other machines answer
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            pass
        return await self.requests(number=number)
