"""Reports of calls to a CRM: all of them, once, whatever fails on either side."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from calls.entry import Entry
from calls.events import CallbackWanted, CallEnded, CallStarted, Event, TranscriptFinal
from fallbacks.retrying import RetrySettings
from operations.crm.crm_outbox import CrmOutbox
from operations.crm.customer import CrmReport
from operations.crm.port import availability_of
from operations.crm.reporting import CrmPoster, CrmReporter
from operations.crm.rest import HUBSPOT, RestCrm
from operations.database.database import Database
from operations.database.tables import MESSAGES
from operations.retrying import Retries
from tests.operations.crm.register import register_at

pytestmark = pytest.mark.virtual_time

OUTAGE_S = 4 * 3600.0


def report(number: int) -> CrmReport:
    return CrmReport(
        key=f"call-{number}", call_id=str(number), direction="inbound", number="+15550142"
    )


def url_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'outbox.db'}"


def poster_of(url: str, outbox: CrmOutbox) -> tuple[RestCrm, CrmPoster]:
    crm = RestCrm("hubspot", HUBSPOT, url=url, headers={}, timeout_s=60.0)
    retries = Retries(
        settings=RetrySettings(),
        emit=lambda _: None,
        availability=availability_of(crm, time.monotonic()),
        clock=time.monotonic,
    )
    return crm, CrmPoster(crm, outbox, retries=retries, utc_s=time.monotonic, poll_s=30.0)


async def send_all(outbox: CrmOutbox, url: str, *, within_s: float) -> None:
    """Send until nothing is pending; a new process each time."""
    crm, poster = poster_of(url, outbox)
    async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(poster.run())
        while await outbox.pending():  # noqa: ASYNC110 - a table has no event
            await asyncio.sleep(10.0)
        running.cancel()
    await crm.close()


async def test_hours_of_outage_and_a_restart_lose_nothing(tmp_path: Path) -> None:
    async with register_at() as (register, url):
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        for index in range(5):
            await outbox.put(report(index), now=time.monotonic())
        register.down = True
        crm, poster = poster_of(url, outbox)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(poster.run())
            await asyncio.sleep(OUTAGE_S)
            running.cancel()  # as a process that stops
        await crm.close()
        await outbox.database.close()
        assert not register.taken
        asked = len(register.requests)

        register.down = False
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        await send_all(outbox, url, within_s=3600.0)
        await outbox.database.close()

    assert set(register.taken) == {f"call-{index}" for index in range(5)}
    assert asked < OUTAGE_S / 100  # a CRM that is down is asked at growing intervals


@pytest.mark.parametrize("fault", ["lost", "slow", "garbage", 429, 500])
async def test_an_accepted_but_unanswered_report_is_sent_again_under_its_key(
    tmp_path: Path, fault: str | int
) -> None:
    async with register_at() as (register, url):
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        await outbox.put(report(1), now=time.monotonic())
        register.faults, register.slow_s = [fault], 90.0
        await send_all(outbox, url, within_s=3600.0)
        await outbox.database.close()

    assert len(register.requests) == 2
    assert list(register.taken) == ["call-1"]


async def test_a_crm_gets_no_report_before_the_time_that_it_asked_for(tmp_path: Path) -> None:
    async with register_at() as (register, url):
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        for number in range(3):
            await outbox.put(report(number), now=time.monotonic())
        register.faults, register.retry_after = [429], "900"
        crm, poster = poster_of(url, outbox)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(poster.run())
            await asyncio.sleep(890.0)
            assert len(register.requests) == 1
            await asyncio.sleep(60.0)
            running.cancel()
        await crm.close()
        await outbox.database.close()

    assert len(register.taken) == 3


async def test_a_permanently_refused_report_does_not_block_others(tmp_path: Path) -> None:
    async with register_at() as (register, url):
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        for index in range(2):
            await outbox.put(report(index), now=time.monotonic() + index * 0.001)
        register.faults = [400]
        await send_all(outbox, url, within_s=3600.0)
        await outbox.database.close()

    assert set(register.taken) == {"call-0", "call-1"}


async def test_repeatedly_refused_reports_do_not_block_others(tmp_path: Path) -> None:
    async with register_at() as (register, url):
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        for index in range(4):
            register.refused.add(f"call-{index}")
            await outbox.put(report(index), now=time.monotonic())
        crm, poster = poster_of(url, outbox)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(poster.run())
            await asyncio.sleep(3600.0)
            await outbox.put(report(4), now=time.monotonic())
            await asyncio.sleep(600.0)
            running.cancel()
        await crm.close()
        await outbox.database.close()

    assert list(register.taken) == ["call-4"]
    assert len(register.requests) < 25  # each is sent again every quarter of an hour


async def test_a_crm_that_asks_for_a_long_pause_is_reported_once_by_one_of_two_processes(
    tmp_path: Path,
) -> None:
    async with register_at() as (register, url), asyncio.timeout(3600.0):
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        await outbox.put(report(1), now=time.monotonic())
        register.faults = [429]
        register.retry_after = "300"
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            posters = [poster_of(url, outbox) for _ in range(2)]
            running = [tasks.create_task(poster.run()) for _, poster in posters]
            while await outbox.pending():  # noqa: ASYNC110 - a table has no event
                await asyncio.sleep(10.0)
            told_after_s = time.monotonic() - began_s
            await asyncio.sleep(600.0)
            for item in running:
                item.cancel()
        for crm, _ in posters:
            await crm.close()
        await outbox.database.close()

    assert told_after_s >= 300.0
    assert len(register.requests) == 2


async def test_a_killed_sender_blocks_reports_only_briefly(tmp_path: Path) -> None:
    async with register_at() as (register, url):
        outbox = CrmOutbox(Database(url_of(tmp_path)))
        await outbox.put(report(1), now=time.monotonic())
        assert await outbox.lend(now_s=time.monotonic) is not None  # and then it is killed
        assert await outbox.lend(now_s=time.monotonic) is None
        await send_all(outbox, url, within_s=3600.0)
        await outbox.database.close()

    assert list(register.taken) == ["call-1"]


async def test_a_report_made_twice_is_sent_once(tmp_path: Path) -> None:
    outbox = CrmOutbox(Database(url_of(tmp_path)))

    kept = [await outbox.put(report(1), now=1.0) for _ in range(3)]
    owed = await outbox.pending()
    await outbox.database.close()

    assert (kept, len(owed)) == ([True, False, False], 1)


async def test_an_ended_call_is_reported_with_its_result(tmp_path: Path) -> None:
    outbox = CrmOutbox(Database(url_of(tmp_path)))
    reporter = CrmReporter(outbox=outbox, utc_s=lambda: 1000.0)
    facts: list[Event] = [
        CallStarted(transport="twilio", agent="desk", caller="+15550142", called="+15550100"),
        TranscriptFinal(turn=1, at_s=0.0, provider="deepgram", text="I need a new appointment."),
        CallbackWanted(turn=1, when="tomorrow", reason="an appointment"),
        CallEnded(reason="caller_hung_up", length_s=30.0),
    ]

    for number, event in enumerate(facts, 1):
        await reporter.hear(Entry(call_id="c1", number=number, at="", event=event))
    assert await reporter.write()
    (owed,) = await outbox.pending()
    await outbox.database.close()

    assert owed.summary == "The caller said: I need a new appointment."
    assert (owed.number, owed.outcome, owed.length_s) == ("+15550142", "caller_hung_up", 30.0)
    assert (owed.callback, owed.reason) == ("tomorrow", "an appointment")


async def test_a_resumed_call_is_reported_with_the_words_of_the_record(tmp_path: Path) -> None:
    outbox = CrmOutbox(Database(url_of(tmp_path)))
    reporter = CrmReporter(outbox=outbox, utc_s=lambda: 1000.0)
    row = {"call_id": "c1", "turn": 1, "role": "caller", "text": "I need an invoice.", "spans": []}
    began = datetime(2026, 11, 21, 16, 0, tzinfo=UTC)
    async with outbox.database.transaction() as connection:
        await connection.execute(insert(MESSAGES).values(at=began, **row))
    facts: list[Event] = [
        CallStarted(transport="twilio", agent="desk", began_at=began.isoformat()),
        CallEnded(reason="caller_hung_up", length_s=30.0),
    ]

    for number, event in enumerate(facts, 1):
        await reporter.hear(Entry(call_id="c1", number=number, at="", event=event))
    assert await reporter.write()
    (owed,) = await outbox.pending()
    await outbox.database.close()

    assert owed.summary == "The caller said: I need an invoice."


CUT = CrmReport(
    key="call-1",
    call_id="1",
    direction="inbound",
    number="+15550142",
    outcome="interrupted",
    verdict="lost",
)
ENDED = replace(CUT, outcome="caller_hung_up", verdict="served")
SUMMED_UP = replace(ENDED, summary="An invoice.", made_by="model")


@pytest.mark.parametrize("sent", [False, True], ids=["waiting", "sent"])
@pytest.mark.parametrize("by_model", [False, True], ids=["facts", "model"])
async def test_a_call_that_was_only_slow_does_not_stay_lost(
    tmp_path: Path, *, sent: bool, by_model: bool
) -> None:
    outbox = CrmOutbox(Database(url_of(tmp_path)))
    await outbox.put(CUT, now=1.0)
    if sent:
        lent = await outbox.lend(now_s=lambda: 1.0)
        assert lent
        await outbox.record_accepted(lent, now=2.0)

    assert await outbox.put(ENDED, now=3.0, due_s=60.0 if by_model else None)
    if by_model:
        await outbox.complete(SUMMED_UP, now=4.0)
    await outbox.put(CUT, now=5.0)  # a late check of another process
    reports = await outbox.pending()
    await outbox.database.close()

    key = "call-1-corrected" if sent else "call-1"
    assert reports == [replace(SUMMED_UP if by_model else ENDED, key=key)]
