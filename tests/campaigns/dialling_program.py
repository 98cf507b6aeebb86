"""Dials a campaign from the queue until no contact is left, or until it is killed.

For each line on standard input it forks a dialler, prints its pid, and at the end how it exited.
All modules are imported beforehand, so a dialler starts within milliseconds. A line may name the
step at which the dialler kills itself; the test may also kill it at any moment.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import asyncpg  # noqa: F401 - before the fork
import sqlalchemy.dialects.postgresql.asyncpg
import sqlalchemy.dialects.sqlite.aiosqlite  # noqa: F401 - before the fork

from calls.outbound import Claim, DialOutcome, DialResult, NothingToDial
from campaigns.dial_run import judge_fate, was_never_asked
from campaigns.guard import rules_of
from campaigns.model import Campaign, RetryRule, next_step
from campaigns.store.queue import Queue
from operations.database.database import Database, StorageError
from tests.kit.clock import always
from transports.dialling import CarrierError, FoundCall

LEASE_S = 50.0  # of simulated time: the next dialler comes 100 s later
CAMPAIGN = Campaign(
    name="spring",
    dials_per_minute=6e6,
    concurrent=1000,
    retry={DialOutcome.BUSY: RetryRule(again=True, rest_s=0.0)},
)


@dataclass(slots=True, kw_only=True)
class Dialler:
    store: Queue
    web: aiohttp.ClientSession
    carrier: str
    now: float
    die_at: str = ""
    die_on: int = 1
    passed: Counter[str] = field(default_factory=Counter[str])
    left: list[Claim] = field(default_factory=list[Claim])  # dials left when the database failed
    parent: int = field(default_factory=os.getppid)

    def step(self, name: str) -> None:
        self.passed[name] += 1
        if name == self.die_at and self.passed[name] == self.die_on:
            os.kill(os.getpid(), signal.SIGKILL)

    async def run(self) -> None:
        ours = [CAMPAIGN.name]
        for claim in await self.store.adopt_expired(ours, now_s=always(self.now), lease_s=LEASE_S):
            await self.find_out(claim)
        while os.getppid() == self.parent:
            try:
                if await self.take_one() == "finished":
                    return
            except (
                StorageError
            ):  # SQLite has one writer at a time, and the queue for it was too long
                continue

    async def take_one(self) -> str:
        """Dial one contact; return the reason if there was none."""
        self.step("before the intent")
        rules = rules_of(CAMPAIGN, now=self.now)
        claim = await self.store.claim(
            CAMPAIGN.name, rules, now_s=always(self.now), lease_s=LEASE_S
        )
        if isinstance(claim, NothingToDial):
            if claim.reason != "finished":
                await self.take_up_left()
                await asyncio.sleep(0.02)  # another dialler has it
            return claim.reason
        self.step("after the intent")
        await self.dial(claim)
        return ""

    async def take_up_left(self) -> None:
        """Take over the dials whose leases have expired."""
        for claim in list(self.left):
            await self.find_out(claim)
            self.left.remove(claim)

    async def dial(self, claim: Claim) -> None:
        confirmed = replace(claim, dial=replace(claim.dial, confirmed_s=self.now))
        known = claim
        try:
            assert not await self.store.confirm(claim.dial, now_s=always(self.now), lease_s=LEASE_S)
            known = confirmed
            await self.place(confirmed)
        except StorageError:
            self.left.append(known)

    async def place(self, claim: Claim) -> None:
        self.step("before the question")
        try:
            call = await self.ask(claim)
        except CarrierError:
            await self.find_out(claim)
            return
        self.step("after the answer")
        assert await self.store.note_placed(claim.dial, call)
        self.step("after it was placed")
        await self.find_out(claim)

    async def find_out(self, claim: Claim) -> None:
        found = None if was_never_asked(claim.dial) else await self.find(claim)
        fate = judge_fate(claim.dial, found, now=self.now, grace_s=0.0)
        if fate.action == "release":
            self.step("before it is given back")
            assert await self.store.release(claim.dial)
            return
        assert fate.result
        await self.settle(claim, fate.result)

    async def settle(self, claim: Claim, result: DialResult) -> None:
        self.step("before the outcome")
        then = next_step(CAMPAIGN, claim.contact, result, self.now)
        assert await self.store.settle(claim.dial, result, then=then, now=self.now)
        self.step("after the outcome")

    async def ask(self, claim: Claim) -> str:
        said = {"id": claim.dial.id, "to": claim.dial.number}
        try:
            async with self.web.post(f"{self.carrier}/calls", json=said) as response:
                return str((await response.json())["call"])
        except aiohttp.ClientError as error:
            raise CarrierError(str(error)) from error

    async def find(self, claim: Claim) -> FoundCall | None:
        query = {"id": claim.dial.id}
        async with self.web.get(f"{self.carrier}/calls", params=query) as response:
            said = await response.json()
        if said is None:
            return None
        return FoundCall(provider_call_id=said["call"], outcome=DialOutcome(said["outcome"]))


async def dial_all(order: dict[str, Any]) -> None:
    store = Queue(Database(order["url"]), holder=f"{order['holder']}-{os.getpid()}")
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as web:
        dialler = Dialler(
            store=store,
            web=web,
            carrier=order["carrier"],
            now=order["now"],
            die_at=order.get("die_at", ""),
            die_on=order.get("die_on", 1),
        )
        await dialler.run()
    await store.database.close()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(dial_all(json.loads(line)))
            os._exit(0)
        print(child, flush=True)  # noqa: T201 - read by the test
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
