"""A dial's cost enters the ledger once, whichever process had the call or died."""

import csv
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from calls.campaign_events import OutboundCallBegan
from calls.entry import Entry
from calls.events import AnswerHeard, CallEnded, CallStarted, Event, TurnParts, UsageMeasured
from calls.outbound import Claim, Dial, DialOutcome, DialResult
from campaigns.billing import IDLE_S, REPEAT_S, CallCosts, uses_of
from campaigns.model import Campaign
from campaigns.report import CampaignHealth, contact_lines, figure_lines, key_figures, page
from campaigns.store.dials import DialledCall, DialUse, Ledger
from campaigns.store.figures import Figures
from operations.database.database import Database
from operations.record.fold_rules import RecordFold
from operations.record.writer import RecordWriter
from tests.campaigns.store.campaign_queue import (
    NOON,
    OpenQueue,
    new_contacts,
    open_queue,
)
from tests.kit.databases import on_sqlite
from tests.kit.dials import dials_of

THRIFTY = Campaign(name="spring", dials_per_minute=6e6, concurrent=1000, daily_spend=0.05)
AT = datetime.fromtimestamp(NOON, UTC)
PARTS = TurnParts(
    vad_s=0.2, transcript_s=0.2, decision_s=0.1, llm_s=0.3, tts_s=0.1, transport_s=0.1
)
ANSWER = AnswerHeard(turn=1, at_s=2.0, v2v_s=1.0, parts=PARTS)


def used(cost: float | None) -> UsageMeasured:
    return UsageMeasured(turn=1, stage="llm", provider="openai", model="m", cost=cost)


class Call:
    """One call, recorded as by the process that has it."""

    def __init__(self, url: str, dial_id: str, name: str = "c1", *, at: datetime = AT) -> None:
        self._writer = RecordWriter(Database(url), holder=name)
        self._fold = RecordFold(holder=name, messages="m")
        self._name, self._number, self._at = name, 0, at
        self._first: tuple[Event, ...] = (
            CallStarted(transport="twilio", agent="desk", direction="outbound"),
            OutboundCallBegan(dial_id=dial_id),
        )

    async def emit(self, *events: Event) -> None:
        told, self._first = (*self._first, *events), ()
        for item in told:
            entry = Entry(call_id=self._name, number=1, at=self._at.isoformat(), event=item)
            self._fold.add(entry)
        self._number += 1
        await self._writer.write(self._fold.take(), number=self._number, now=self._at)

    async def end(self, *events: Event, reason: str = "agent_hung_up") -> None:
        await self.emit(*events, CallEnded(reason=reason, length_s=30.0))

    async def close(self) -> None:
        await self._writer.database.close()


async def settle(
    queue: OpenQueue, outcome: DialOutcome = DialOutcome.COMPLETED, *, reason: str = ""
) -> Dial:
    result = DialResult(outcome=outcome, reason=reason, length_s=30.0)
    return (await queue.settle(result)).dial


async def ended_call(url: str, dial: Dial, *costs: float | None, name: str = "c1") -> None:
    call = Call(url, dial.id, name)
    await call.end(ANSWER, *(used(cost) for cost in costs))
    await call.close()


async def copy_new(url: str, *, now: float = NOON + 5.0) -> float:
    calls = Ledger(Database(url))
    costs = CallCosts(ledger=calls, campaigns=["spring"], leads=lambda: True, now_s=lambda: now)
    try:
        return await costs.copy_new()
    finally:
        await calls.database.close()


class TestCallCosts:
    @pytest.fixture
    async def queue(self, url: str) -> AsyncIterator[OpenQueue]:
        queue = open_queue(url, "x")
        await queue.fill(new_contacts(5))
        yield queue
        await queue.close()

    async def test_a_calls_cost_enters_the_ledger_once(self, url: str, queue: OpenQueue) -> None:
        dial = await settle(queue)
        await ended_call(url, dial, 0.02, 0.01)

        waits = [await copy_new(url) for _ in range(3)]

        (kept,) = await dials_of(url, "spring")
        assert kept.providers_cost == pytest.approx(0.03)
        assert (kept.unpriced, kept.abandoned) == (False, False)
        assert (await queue.standing()).cost == pytest.approx(0.03)
        assert waits == [REPEAT_S, REPEAT_S, REPEAT_S], "its question is asked after its end"
        assert await copy_new(url, now=NOON + 3600.0) == IDLE_S

    @on_sqlite
    async def test_both_parts_count_against_the_days_limit(
        self, url: str, queue: OpenQueue
    ) -> None:
        dial, bills = await settle(queue), Ledger(queue.database)
        await bills.charge(dial, 0.02)
        assert isinstance(await queue.claim(THRIFTY), Claim)

        await ended_call(url, dial, 0.03)
        await copy_new(url)

        assert (await queue.nothing(THRIFTY)).reason == "daily_spend"

    @on_sqlite
    async def test_a_model_request_after_the_end_costs_the_difference(
        self, url: str, queue: OpenQueue
    ) -> None:
        dial = await settle(queue)
        call = Call(url, dial.id)
        await call.end(ANSWER, used(0.02))
        await copy_new(url)

        await call.emit(used(0.01))
        await copy_new(url)
        await copy_new(url)
        await call.close()

        assert [item.providers_cost for item in await dials_of(url, "spring")] == [
            pytest.approx(0.03)
        ]
        assert (await queue.standing()).cost == pytest.approx(0.03)
        assert isinstance(await queue.claim(THRIFTY), Claim), "the day has 0.03 of its 0.05"

    @on_sqlite
    async def test_a_running_call_is_waited_for(self, url: str, queue: OpenQueue) -> None:
        dial = await settle(queue)
        call = Call(url, dial.id)
        await call.emit(used(0.02))
        await copy_new(url)
        (before,) = await dials_of(url, "spring")

        await call.end()
        await copy_new(url)
        await call.close()

        (behind,) = await dials_of(url, "spring")
        assert (before.providers_cost, before.unpriced) == (None, None)
        assert (behind.providers_cost, behind.unpriced) == (0.02, False)

    @on_sqlite
    async def test_a_missing_price_is_reported_and_not_guessed(
        self, url: str, queue: OpenQueue
    ) -> None:
        dial = await settle(queue)
        await ended_call(url, dial, 0.02, None)
        await copy_new(url)

        figures = Figures(queue.database)
        (row,) = await figures.outcomes("spring")

        assert (row.costs.providers, row.costs.unpriced, row.costs.providers_owed) == (0.0, 1, 0)

    async def test_missing_costs_are_counted_only_for_answered_dials(
        self, url: str, queue: OpenQueue
    ) -> None:
        await settle(queue)
        await settle(queue, DialOutcome.BUSY)
        await settle(queue, DialOutcome.AGENT_FAILED, reason="no_agent")

        figures = Figures(queue.database)
        found = {outcome.outcome: outcome.costs for outcome in await figures.outcomes("spring")}

        lacking = {name: (it.carrier_owed, it.providers_owed) for name, it in found.items()}
        assert lacking == {"completed": (1, 1), "busy": (0, 0), "agent_failed": (1, 0)}

    async def test_the_report_has_each_part_for_contact_and_outcome(
        self, url: str, queue: OpenQueue
    ) -> None:
        first, second = await settle(queue), await settle(queue)
        bills, figures = Ledger(queue.database), Figures(queue.database)
        await bills.charge(first, 0.014)
        await ended_call(url, first, 0.02)
        await ended_call(url, second, None, name="c2")
        await copy_new(url)

        outcomes = await figures.outcomes("spring")
        lines = [contact_line async for contact_line in contact_lines(figures.contacts("spring"))]
        standing, reached = await queue.standing(), await figures.reached("spring")
        keys = key_figures(standing, outcomes, reached=reached, pool=CampaignHealth())
        rows = {item["number"].lstrip("'"): item for item in csv.DictReader(lines)}
        html = page(standing, keys, outcomes, NOON)

        parts = ("carrier_cost", "providers_cost", "cost", "cost_lacks")
        told = [tuple(rows[item.number][part] for part in parts) for item in (first, second)]
        assert told == [
            ("0.0140", "0.0200", "0.0340", ""),
            ("", "", "", "1 without the carrier's price, 1 unpriced"),
        ]
        assert dict(figure_lines(keys))["cost per contact"] == "at least 0.0170"
        assert "<td>1 without the carrier's price, 1 unpriced</td>" in html
        assert '<td class="number">0.0140</td><td class="number">0.0200</td>' in html

    @on_sqlite
    async def test_a_contact_who_left_before_an_answer_has_abandoned_the_call(
        self, url: str, queue: OpenQueue
    ) -> None:
        left, stayed = await settle(queue), await settle(queue)
        short = Call(url, left.id, "c1")
        await short.end(reason="caller_hung_up")
        whole = Call(url, stayed.id, "c2")
        await whole.end(ANSWER, reason="caller_hung_up")

        await copy_new(url)
        figures = Figures(queue.database)
        reached = await figures.reached("spring")
        for item in (short, whole):
            await item.close()

        kept = {dial.id: dial.abandoned for dial in await dials_of(url, "spring")}
        assert kept == {left.id: True, stayed.id: False}
        assert (reached.talked, reached.abandoned) == (2, 1)


def call(reason: str = "agent_hung_up", *, turns: int = 1, cost: float | None = 0.5) -> DialledCall:
    return DialledCall(dial_id="d", reason=reason, turns=turns, cost=cost)


@pytest.mark.parametrize(
    ("calls", "cost", "abandoned"),
    [
        ([call()], 0.5, False),
        ([call(cost=None)], None, False),
        ([call(cost=0.25), call()], 0.75, False),
        ([call(cost=None), call()], None, False),
        ([call("caller_hung_up", turns=0)], 0.5, True),
        ([call("caller_hung_up")], 0.5, False),
        ([call("caller_hung_up", turns=2), call("caller_hung_up", turns=0)], 1.0, False),
        ([call("voicemail", turns=0)], 0.5, False),
        ([call("silence", turns=0)], 0.5, False),
        ([call("failed", turns=0)], 0.5, False),
        ([call("interrupted", turns=0)], 0.5, False),
    ],
    ids=[
        "ordinary",
        "unpriced",
        "resumed",
        "one_part_unpriced",
        "left_at_once",
        "left_after_an_answer",
        "left_after_an_earlier_answer",
        "a_mailbox",
        "silence",
        "our_failure",
        "cut",
    ],
)
def test_the_calls_of_a_dial_are_added_up(
    calls: Sequence[DialledCall],
    cost: float | None,
    abandoned: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert uses_of(calls) == [DialUse(dial_id="d", cost=cost, abandoned=abandoned)]


def test_calls_of_several_dials_are_kept_apart() -> None:
    other = DialledCall(dial_id="c", reason="silence", turns=0, cost=0.25)

    uses = uses_of([call(), other, call()])

    assert [(use.dial_id, use.cost) for use in uses] == [("c", 0.25), ("d", 1.0)]
