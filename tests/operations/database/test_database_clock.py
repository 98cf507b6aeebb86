"""Machines whose clocks differ use the clock of their database."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from calls.outbound import Claim
from campaigns.guard import rules_of
from campaigns.store.queue import Queue
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from tests.campaigns.store.campaign_queue import FAST, LEASE_S, NOON, new_contacts, queues

AHEAD_S = 120.0
SLOW = replace(FAST, dials_per_minute=1.0)


def clock_of(database: Database, *, ahead_s: float) -> DatabaseClock:
    return DatabaseClock(database, utc_s=lambda: time.time() + ahead_s, monotonic=time.monotonic)


async def test_a_clock_that_is_ahead_is_corrected(postgres_url: str) -> None:
    async with Database(postgres_url) as database:
        clock = clock_of(database, ahead_s=AHEAD_S)
        await clock.measure()

        assert clock.now_s() == pytest.approx(time.time(), abs=1.0)


async def test_the_database_of_one_machine_has_the_machines_clock(tmp_path: Path) -> None:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/a.db") as database:
        clock = clock_of(database, ahead_s=AHEAD_S)
        await clock.measure()

        assert clock.now_s() == pytest.approx(time.time() + AHEAD_S, abs=1.0)


async def test_machines_whose_clocks_differ_keep_a_campaigns_pace(postgres_url: str) -> None:
    began_s = time.time()
    async with queues(postgres_url, 2) as machines:
        await machines[0].fill(new_contacts(9))
        clocks = [
            clock_of(machine.database, ahead_s=ahead_s)
            for machine, ahead_s in zip(machines, (0.0, AHEAD_S), strict=True)
        ]
        claimed = 0
        for machine, clock in list(zip(machines, clocks, strict=True)) * 4:
            store = Queue(machine.database, holder=machine.store.holder, clock=clock)

            def now_s(clock: DatabaseClock = clock) -> float:
                return NOON + clock.now_s() - began_s

            rules = rules_of(SLOW, now=NOON)
            found = await store.claim("spring", rules, now_s=now_s, lease_s=LEASE_S)
            claimed += isinstance(found, Claim)

    assert claimed == 1
