"""Cost of ended calls: the carrier reports it later; ledger and daily spending are updated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from calls.outbound import Claim, DialOutcome, DialResult, NextStep
from campaigns.billing import IDLE_S, Billing
from campaigns.model import Campaign
from campaigns.store.dials import Ledger
from campaigns.store.figures import Figures
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.rest import CarrierRest
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.store.campaign_queue import (
    LEASE_S,
    NOON,
    OpenQueue,
    new_contacts,
    open_queue,
)
from tests.kit.clock import always
from tests.kit.dials import confirmed
from transports.dialling import CarrierError, DialRequest, FoundCall
from transports.twilio.dialling import TwilioCarrier
from transports.twilio.rest import TwilioRest

pytestmark = pytest.mark.virtual_time

ACCOUNT, TOKEN, OURS, A = "AC" + "0" * 32, "a-token", "+15005550006", "+15005550111"
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


def url_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'queue.db'}"


async def settle(
    queue: OpenQueue, outcome: DialOutcome, *, now: float = NOON, cost: float | None = None
) -> Claim:
    claim = await queue.take(now=now)
    await queue.store.confirm(claim.dial, now_s=always(now), lease_s=LEASE_S)
    await queue.store.note_placed(claim.dial, f"CA-{claim.dial.id}")
    result = DialResult(outcome=outcome, length_s=30.0, cost=cost)
    await queue.store.settle(claim.dial, result, then=NextStep(state="done"), now=now)
    return claim


def billing(bills: Ledger, carrier: Bill | TwilioCarrier, now: list[float]) -> Billing:
    return Billing(
        carrier=carrier,
        ledger=bills,
        campaigns=["spring"],
        leads=lambda: True,
        now_s=lambda: now[0],
    )


async def test_a_late_price_enters_the_ledger_and_the_spending_of_its_day(tmp_path: Path) -> None:
    queue = open_queue(url_of(tmp_path), "x")
    bills = Ledger(queue.database)
    await queue.fill(new_contacts(5))
    for _ in range(2):
        await settle(queue, DialOutcome.COMPLETED)
    now, carrier = [NOON], Bill(None, 0.014, 0.014, 0.5)
    asking = billing(bills, carrier, now)

    for after_s in (0.0, 4.0, 11.0, 25.0):
        now[0] = NOON + after_s
        await asking.ask_due()

    assert (await queue.standing()).cost == pytest.approx(0.028)
    assert (await queue.nothing(THRIFTY)).reason == "daily_spend"
    assert carrier.asked == 3, "a dial that has its price is asked about no more"
    await queue.close()


async def test_unanswered_calls_are_not_asked_about(tmp_path: Path) -> None:
    queue = open_queue(url_of(tmp_path), "x")
    bills = Ledger(queue.database)
    await queue.fill(new_contacts(5))
    await settle(queue, DialOutcome.BUSY)
    await settle(queue, DialOutcome.NO_ANSWER)
    await settle(queue, DialOutcome.COMPLETED, cost=0.03)
    now, carrier = [NOON + 60.0], Bill(1.0)

    assert await billing(bills, carrier, now).ask_due() == IDLE_S
    assert carrier.asked == 0
    await queue.close()


async def test_a_price_that_never_comes_is_asked_for_rarely_and_for_a_day_only(
    tmp_path: Path,
) -> None:
    queue = open_queue(url_of(tmp_path), "x")
    bills = Ledger(queue.database)
    await queue.fill(new_contacts(1))
    await settle(queue, DialOutcome.COMPLETED)
    now, carrier = [NOON], Bill()
    asking = billing(bills, carrier, now)

    while now[0] < NOON + 3 * DAY_S:
        now[0] += await asking.ask_due()

    assert 8 <= carrier.asked <= 20
    await queue.close()


async def test_yesterdays_price_does_not_count_as_todays_spending(tmp_path: Path) -> None:
    queue = open_queue(url_of(tmp_path), "x")
    bills = Ledger(queue.database)
    await queue.fill(new_contacts(5))
    await settle(queue, DialOutcome.COMPLETED)
    tomorrow = NOON + 0.9 * DAY_S
    await settle(queue, DialOutcome.COMPLETED, now=tomorrow, cost=0.001)

    await billing(bills, Bill(5.0), [tomorrow]).ask_due()

    assert (await queue.standing()).cost == pytest.approx(5.001)
    assert isinstance(await queue.claim(THRIFTY, now=tomorrow), Claim)
    await queue.close()


async def test_a_carrier_that_does_not_answer_is_asked_later(tmp_path: Path) -> None:
    queue = open_queue(url_of(tmp_path), "x")
    bills = Ledger(queue.database)
    await queue.fill(new_contacts(1))
    await settle(queue, DialOutcome.COMPLETED)
    now, carrier = [NOON + 10.0], Bill(0.02)
    carrier.down = True
    asking = billing(bills, carrier, now)

    with pytest.raises(CarrierError):
        await asking.ask_due()
    carrier.down = False
    now[0] += 30.0
    await asking.ask_due()

    assert (await queue.standing()).cost == pytest.approx(0.02)
    await queue.close()


async def test_a_refused_price_of_one_call_does_not_block_others(tmp_path: Path) -> None:
    queue = open_queue(url_of(tmp_path), "x")
    bills = Ledger(queue.database)
    await queue.fill(new_contacts(3))
    claims = [await settle(queue, DialOutcome.COMPLETED) for _ in range(3)]
    now, carrier = [NOON + 10.0], Bill(0.02, 0.02)
    carrier.refuses = f"CA-{min(claim.dial.id for claim in claims)}"
    asking = billing(bills, carrier, now)

    assert await asking.ask_due() == 10.0, "the carrier answers: no rest"
    assert (carrier.asked, (await queue.standing()).cost) == (3, pytest.approx(0.04))

    now[0] += 10.0
    with pytest.raises(CarrierError):
        await asking.ask_due()  # no other call is asked about
    await queue.close()


@asynccontextmanager
async def twilio() -> AsyncIterator[tuple[CarrierRest, TwilioCarrier]]:
    async with CarrierRest(ACCOUNT, TOKEN) as office:
        office.exchange.callees = {A: Callee(ring_s=50.0)}
        rest = TwilioRest(
            account_sid=ACCOUNT,
            auth_token=SecretStr(TOKEN),
            api_url=office.url,
            public_url="https://agent.example.com",
        )
        yield office, TwilioCarrier(rest=rest, number=OURS, news=ToldNews())


async def test_twilios_price_is_read_as_a_charge() -> None:
    async with twilio() as (office, it):
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


async def test_twilios_price_is_in_the_figures_of_contact_and_outcome(tmp_path: Path) -> None:
    queue = open_queue(url_of(tmp_path), "x")
    bills, figures = Ledger(queue.database), Figures(queue.database)
    await queue.fill(new_contacts(1))
    await settle(queue, DialOutcome.COMPLETED)

    await billing(bills, Bill(0.028), [NOON + 5.0]).ask_due()

    (row,) = await figures.outcomes("spring")
    (contact,) = [item async for item in figures.contacts("spring")]
    assert (row.outcome, row.cost) == ("completed", pytest.approx(0.028))
    assert contact.cost == pytest.approx(0.028)
    await queue.close()
