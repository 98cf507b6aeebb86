"""Cost of ended calls: the carrier reports it later; ledger and daily spending are updated."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from calls.outbound import Claim, DialOutcome, DialResult
from campaigns.billing import IDLE_S, Billing
from campaigns.model import Campaign
from campaigns.store.dials import Ledger
from lab.simulators.carrier.callee import Callee
from tests.campaigns.placing import A, twilio_office
from tests.campaigns.store.campaign_queue import (
    NOON,
    OpenQueue,
    new_contacts,
    open_queue,
)
from tests.kit.dials import confirmed
from transports.dialling import CarrierError, DialRequest, FoundCall
from transports.twilio.dialling import TwilioCarrier

pytestmark = pytest.mark.virtual_time

THRIFTY = Campaign(name="spring", dials_per_minute=6e6, concurrent=1000, daily_spend=0.02)
DAY_S = 86_400.0


class Bill:
    """A carrier that reports the costs that a test has set."""

    def __init__(self, *costs: float | None) -> None:
        self.costs = list(costs)
        self.asked = 0
        self.down = False
        self.refuses = ""  # the id of a call whose price it does not report

    async def cost_of(self, provider_call_id: str) -> float | None:
        self.asked += 1
        if self.down or provider_call_id == self.refuses:
            raise CarrierError("no answer")
        return self.costs.pop(0) if self.costs else None


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[OpenQueue]:
    queue = open_queue(f"sqlite+aiosqlite:///{tmp_path / 'queue.db'}", "x")
    await queue.fill(new_contacts(5))
    yield queue
    await queue.close()


async def settle(
    queue: OpenQueue, outcome: DialOutcome, *, now: float = NOON, cost: float | None = None
) -> Claim:
    return await queue.settle(DialResult(outcome=outcome, length_s=30.0, cost=cost), now=now)


def billing(queue: OpenQueue, carrier: Bill | TwilioCarrier, now: list[float]) -> Billing:
    return Billing(
        carrier=carrier,
        ledger=Ledger(queue.database),
        campaigns=["spring"],
        leads=lambda: True,
        now_s=lambda: now[0],
    )


async def test_a_late_price_enters_the_ledger_and_the_spending_of_its_day(queue: OpenQueue) -> None:
    for _ in range(2):
        await settle(queue, DialOutcome.COMPLETED)
    now, carrier = [NOON], Bill(None, 0.014, 0.014, 0.5)
    asking = billing(queue, carrier, now)

    for after_s in (0.0, 4.0, 11.0, 25.0):
        now[0] = NOON + after_s
        await asking.ask_due()

    assert (await queue.standing()).cost == pytest.approx(0.028)
    assert (await queue.nothing(THRIFTY)).reason == "daily_spend"
    assert carrier.asked == 3, "a dial that has its price is asked about no more"


async def test_unanswered_calls_are_not_asked_about(queue: OpenQueue) -> None:
    await settle(queue, DialOutcome.BUSY)
    await settle(queue, DialOutcome.NO_ANSWER)
    await settle(queue, DialOutcome.COMPLETED, cost=0.03)
    now, carrier = [NOON + 60.0], Bill(1.0)

    assert await billing(queue, carrier, now).ask_due() == IDLE_S
    assert carrier.asked == 0


async def test_a_price_that_never_comes_is_asked_for_rarely_and_for_a_day_only(
    queue: OpenQueue,
) -> None:
    await settle(queue, DialOutcome.COMPLETED)
    now, carrier = [NOON], Bill()
    asking = billing(queue, carrier, now)

    while now[0] < NOON + 3 * DAY_S:
        now[0] += await asking.ask_due()

    assert 8 <= carrier.asked <= 20


async def test_yesterdays_price_does_not_count_as_todays_spending(queue: OpenQueue) -> None:
    await settle(queue, DialOutcome.COMPLETED)
    tomorrow = NOON + 0.9 * DAY_S
    await settle(queue, DialOutcome.COMPLETED, now=tomorrow, cost=0.001)

    await billing(queue, Bill(5.0), [tomorrow]).ask_due()

    assert (await queue.standing()).cost == pytest.approx(5.001)
    assert isinstance(await queue.claim(THRIFTY, now=tomorrow), Claim)


async def test_a_carrier_that_does_not_answer_is_asked_later(queue: OpenQueue) -> None:
    await settle(queue, DialOutcome.COMPLETED)
    now, carrier = [NOON + 10.0], Bill(0.02)
    carrier.down = True
    asking = billing(queue, carrier, now)

    with pytest.raises(CarrierError):
        await asking.ask_due()
    carrier.down = False
    now[0] += 30.0
    await asking.ask_due()

    assert (await queue.standing()).cost == pytest.approx(0.02)


async def test_a_refused_price_of_one_call_does_not_block_others(queue: OpenQueue) -> None:
    claims = [await settle(queue, DialOutcome.COMPLETED) for _ in range(3)]
    now, carrier = [NOON + 10.0], Bill(0.02, 0.02)
    carrier.refuses = f"CA-{min(claim.dial.id for claim in claims)}"
    asking = billing(queue, carrier, now)

    assert await asking.ask_due() == 10.0, "the carrier answers: no rest"
    assert (carrier.asked, (await queue.standing()).cost) == (3, pytest.approx(0.04))

    now[0] += 10.0
    with pytest.raises(CarrierError):
        await asking.ask_due()  # no other call is asked about


async def test_twilios_price_is_read_as_a_charge() -> None:
    async with twilio_office() as (office, it):
        office.exchange.callees = {A: Callee(ring_s=50.0)}
        sid = await it.dial(DialRequest(dial_id="d-1", to=A, campaign="spring", confirm=confirmed))
        placed = office.exchange.placed[sid]
        placed.status, placed.answered = "completed", placed.created
        placed.ended = placed.created + timedelta(seconds=61)

        found = await it.find("d-1", A, 0.0)
        before = await it.cost_of(sid)
        placed.price = "-0.02800"
        behind = await it.cost_of(sid)

    assert found == FoundCall(
        provider_call_id=sid, outcome=DialOutcome.COMPLETED, answered=True, length_s=61.0
    )
    assert (before, behind) == (None, pytest.approx(0.028))


async def test_twilios_price_is_in_the_figures_of_contact_and_outcome(queue: OpenQueue) -> None:
    await settle(queue, DialOutcome.COMPLETED)

    await billing(queue, Bill(0.028), [NOON + 5.0]).ask_due()

    (row,) = await queue.figures.outcomes("spring")
    (contact,) = [item async for item in queue.figures.contacts("spring") if item.outcome]
    assert (row.outcome, row.cost) == ("completed", pytest.approx(0.028))
    assert contact.cost == pytest.approx(0.028)
