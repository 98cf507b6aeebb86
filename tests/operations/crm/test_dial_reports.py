"""Reports of dials to a CRM: each once, including those of unanswered dials."""

from pathlib import Path

import pytest

from calls.outbound import DialOutcome, DialResult, NextStep
from campaigns.background_jobs import DialReports
from campaigns.store.dials import Ledger
from operations.crm.crm_outbox import CrmOutbox
from operations.crm.customer import CrmReport
from operations.database.database import Database
from tests.campaigns.store.campaign_queue import (
    NOON,
    OpenQueue,
    new_contacts,
    open_queue,
)

pytestmark = pytest.mark.virtual_time

OUTCOMES = (
    DialResult(outcome=DialOutcome.BUSY),
    DialResult(outcome=DialOutcome.COMPLETED, length_s=31.25, cost=0.01),
    DialResult(outcome=DialOutcome.AGENT_FAILED, reason="no_agent"),
    DialResult(outcome=DialOutcome.VOICEMAIL),
)


def url_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'queue.db'}"


async def dialled(url: str) -> OpenQueue:
    """Return a queue with one dial of each outcome, one in progress and one skipped."""
    queue = open_queue(url, "x")
    await queue.fill(new_contacts(6, fields={"crm_id": "7"}))
    for outcome in OUTCOMES:
        await queue.settle(outcome, took_s=60)
    await queue.take()
    skipped = await queue.take()
    result = DialResult(outcome=DialOutcome.AGENT_FAILED, reason="tts")
    await queue.store.settle(skipped.dial, result, then=NextStep(state="resting"), now=NOON)
    return queue


def reports(url: str, *, talked: bool) -> DialReports:
    database = Database(url)
    return DialReports(
        ledger=Ledger(database),
        outbox=CrmOutbox(database),
        agents={"spring": "default"},
        talked=talked,
        leads=lambda: True,
        utc_s=lambda: NOON + 90,
    )


async def told(it: DialReports) -> list[CrmReport]:
    await it.report_all()
    owed = await it.outbox.pending()
    await it.outbox.database.close()
    return sorted(owed, key=lambda each: each.key)


@pytest.mark.parametrize(
    ("talked", "outcomes"),
    [
        (False, ["busy", "agent_failed"]),
        (True, ["busy", "completed", "agent_failed", "voicemail"]),
    ],
    ids=["calls are reported by themselves", "all"],
)
async def test_each_dial_is_reported_once(
    tmp_path: Path, *, talked: bool, outcomes: list[str]
) -> None:
    url = url_of(tmp_path)
    queue = await dialled(url)
    await queue.close()

    first = await told(reports(url, talked=talked))
    again = await told(reports(url, talked=talked))  # by the next process

    assert [item.outcome for item in first] == outcomes
    assert again == first


async def test_a_report_has_the_contact_and_the_result(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    queue = await dialled(url)
    await queue.close()

    busy, completed, *_ = await told(reports(url, talked=True))

    assert busy.summary == "Campaign spring, dial 1: busy."
    assert (completed.contact, completed.direction, completed.length_s) == ("7", "outbound", 31.25)
    assert completed.call_id.startswith("CA-")
    assert completed.ended_s == NOON + 60
