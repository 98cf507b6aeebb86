"""Machines whose clocks differ use the clock of their database."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from calls.outbound import Claim
from campaigns.guard import rules_of
from campaigns.store.queue import Queue
from operations.crm.crm_outbox import CrmOutbox
from operations.crm.customer import CrmReport
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.database.row_outbox import LENT_S
from operations.notify.alert import TellAlert
from operations.notify.alert_outbox import AlertChannel, AlertOutbox, RoundOutcome
from operations.notify.configured_alerts import trial_alert
from operations.sheets.sheet_outbox import SheetOutbox, SheetRow
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


async def lent_reports(database: Database, clock: DatabaseClock) -> int:
    outbox = CrmOutbox(database, clock=clock)
    report = CrmReport(key="call-1", call_id="1", direction="inbound", number="+15550142")
    await outbox.put(report, now=time.time())
    return await outbox.lend(now_s=clock.now_s) is not None


async def lent_rows(database: Database, clock: DatabaseClock) -> int:
    outbox = SheetOutbox(database, clock=clock)
    await outbox.note([SheetRow(key="call 1", tab="calls", at_s=1.0, cells=[1])])
    return len((await outbox.take("calls", now_s=clock.now_s, most=9)).rows)


async def lent_alerts(database: Database, clock: DatabaseClock) -> int:
    outbox, email = AlertOutbox(database, clock=clock), AlertChannel(name="email", edits=True)
    alert = trial_alert(1.0)
    told = RoundOutcome(known=[alert], messages=[TellAlert(alert=alert, loud=True)])
    await outbox.run_round(lambda *_: told, channels=[email], now=clock.now_s())
    return await outbox.lend("email", now_s=clock.now_s) is not None


@pytest.mark.parametrize("lent", [lent_reports, lent_rows, lent_alerts])
async def test_machines_whose_clocks_differ_send_nothing_twice(
    postgres_url: str, lent: Callable[[Database, DatabaseClock], Awaitable[int]]
) -> None:
    found = list[int]()
    for ahead_s in (0.0, LENT_S + 1.0):
        async with Database(postgres_url) as database:
            found.append(await lent(database, clock_of(database, ahead_s=ahead_s)))

    assert found == [1, 0]
