"""Telnyx as a campaign's carrier, against the lab's: its pace, lost answers, lost events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from pydantic import SecretStr

from calls.dialled import judge_dial
from calls.leg_events import LegOutcome
from calls.outbound import DialOutcome
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.telnyx_exchange import TelnyxExchange, telnyx_exchange
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import OURS, A, B, ended, request, withdrawn
from transports.dialling import (
    CarrierError,
    DialRefusedError,
    DialWithdrawnError,
    FoundCall,
    HeardLeg,
)
from transports.telnyx.dialling import TelnyxCalls, TelnyxCarrier
from transports.telnyx.rest import TelnyxRest

pytestmark = pytest.mark.virtual_time


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A carrier that hears no event unless a test sends one."""

    exchange: TelnyxExchange
    carrier: TelnyxCarrier
    news: ToldNews


@asynccontextmanager
async def bench(**callees: Callee) -> AsyncIterator[Bench]:
    async with telnyx_exchange() as exchange:
        exchange.mute = True
        exchange.callees = {A: Callee(fate="busy"), B: Callee(fate="no-answer")} | callees
        account, news = exchange.account, ToldNews()
        rest = TelnyxRest(api_key=SecretStr(account.api_key), api_url=account.url)
        calls = TelnyxCalls(
            rest=rest, connection_id=exchange.connection_id, public_url="https://agent.example.com"
        )
        carrier = TelnyxCarrier(calls=calls, number=OURS, news=news)
        yield Bench(exchange=exchange, carrier=carrier, news=news)


async def test_an_accounts_pace_is_kept() -> None:
    async with bench() as it:
        it.exchange.calls_per_s = 1.0
        await asyncio.gather(*(it.carrier.dial(request(f"d-{at}")) for at in range(4)))

        assert (len(it.exchange.book), it.exchange.too_soon) == (4, 0)


async def test_a_rate_limited_dial_is_requested_again() -> None:
    async with bench() as it:
        it.exchange.calls_per_s = 0.8
        await asyncio.gather(*(it.carrier.dial(request(f"d-{at}")) for at in range(2)))

        assert (len(it.exchange.book), it.exchange.too_soon) == (2, 1)


async def test_a_dial_is_confirmed_before_each_request() -> None:
    confirmed: list[int] = []

    async def confirm() -> None:
        confirmed.append(it.exchange.too_soon)

    async with bench() as it:
        it.exchange.calls_per_s = 0.8
        asked = (replace(request(f"d-{at}"), confirm=confirm) for at in range(2))
        await asyncio.gather(*map(it.carrier.dial, asked))

        assert confirmed == [0, 0, 1]


HEARD: dict[str, tuple[LegOutcome, DialOutcome]] = {
    "talked": ("completed", DialOutcome.COMPLETED),
    "busy": ("busy", DialOutcome.BUSY),
    "no answer": ("no-answer", DialOutcome.NO_ANSWER),
    "failed": ("failed", DialOutcome.FAILED),
    "given up": ("cancelled", DialOutcome.CANCELLED),
    "a machine": ("voicemail", DialOutcome.VOICEMAIL),
}


@pytest.mark.parametrize(("said", "outcome"), HEARD.values(), ids=HEARD.keys())
async def test_received_events_decide_the_outcome(said: LegOutcome, outcome: DialOutcome) -> None:
    async with bench() as it:
        call_id = await it.carrier.dial(request("d-1"))
        it.news.told["d-1"] = HeardLeg(call_ref=call_id, answered=True, ended=said)
        it.exchange.account.answer_with = 503  # no request is made

        found = await it.carrier.find("d-1", A, 0.0)

        assert found == FoundCall(provider_call_id=call_id, outcome=outcome, answered=True)


async def test_a_ringing_call_continues_and_a_talking_one_is_answered() -> None:
    async with bench(**{A: Callee(ring_s=20)}) as it:
        call_id = await it.carrier.dial(request("d-1"))

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(provider_call_id=call_id)
        it.news.told["d-1"] = HeardLeg(call_ref=call_id, answered=True)
        found = await it.carrier.find("d-1", A, 0.0)
        assert found == FoundCall(provider_call_id=call_id, answered=True)


async def test_a_call_without_events_has_the_outcome_of_its_event_list() -> None:
    async with bench() as it:
        call_id = await it.carrier.dial(request("d-1"))
        await it.carrier.dial(request("d-2", B))

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.BUSY
        assert (await ended(it.carrier, "d-1")).provider_call_id == call_id
        assert (await ended(it.carrier, "d-2", B)).outcome is DialOutcome.NO_ANSWER


async def test_a_call_without_events_has_the_sip_status_of_its_event_list() -> None:
    async with bench(**{A: Callee(fate="busy", sip_code=603)}) as it:
        await it.carrier.dial(request("d-1"))

        assert (await ended(it.carrier, "d-1")).verdict == judge_dial(603)


async def test_a_dial_whose_answer_was_lost_is_found_while_it_rings() -> None:
    async with bench(**{A: Callee(ring_s=20)}) as it:
        it.exchange.swallow, it.exchange.behind = 1, True
        with pytest.raises(CarrierError):
            await it.carrier.dial(request("d-1"))

        found = await it.carrier.find("d-1", A, 0.0)

        assert found == FoundCall(provider_call_id=it.exchange.book[0][0])
        assert len(it.exchange.book) == 1


async def test_a_dial_whose_answer_was_lost_is_found_when_it_is_over() -> None:
    async with bench() as it:
        it.exchange.swallow = 1
        with pytest.raises(CarrierError):
            await it.carrier.dial(request("d-1"))
        await asyncio.sleep(5)

        found = await it.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert found.provider_call_id == it.exchange.book[0][0]
        assert found.outcome is DialOutcome.BUSY


async def test_a_call_of_another_dial_is_not_taken_for_ours() -> None:
    async with bench() as it:
        await it.carrier.dial(request("d-1"))

        assert await it.carrier.find("d-2", A, 0.0) is None


async def test_a_call_with_an_unknown_end_lasts_until_telnyx_forgets_it() -> None:
    async with bench() as it:
        call_id = await it.carrier.dial(request("d-1"))
        await asyncio.sleep(5)
        placed = it.exchange.placed[call_id]
        del placed.told[1:]  # the list knows of the beginning alone
        assert placed.ended is not None

        found = await it.carrier.find("d-1", A, 0.0)
        assert found is not None
        assert found.outcome is None
        placed.ended = placed.ended.replace(year=placed.ended.year - 1)
        assert await it.carrier.find("d-1", A, 0.0) is None


async def test_an_invalid_number_does_not_count_against_the_account() -> None:
    async with bench() as it:
        with pytest.raises(DialRefusedError):
            await it.carrier.dial(request("d-1", to="+1"))


async def test_an_account_error_does_not_count_against_the_number() -> None:
    async with bench() as it:
        it.exchange.account.answer_with = 503
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))
        assert not isinstance(error.value, DialRefusedError)
        with pytest.raises(CarrierError):
            await it.carrier.find("d-1", A, 0.0)


async def test_an_unknown_application_does_not_count_against_the_number() -> None:
    async with bench() as it:
        it.exchange.connection_id = "2"
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)


async def test_a_calls_cost_is_the_reported_one() -> None:
    async with bench() as it:
        it.news.costs["v3:x"] = 0.007

        assert await it.carrier.cost_of("v3:x") == pytest.approx(0.007)
        assert await it.carrier.cost_of("v3:y") is None


async def test_a_dial_withdrawn_before_its_turn_is_not_requested() -> None:
    async with bench() as it:
        with pytest.raises(DialWithdrawnError):
            await it.carrier.dial(withdrawn("d-1"))

        assert len(it.exchange.book) == 0


async def test_a_ringing_dial_is_cancelled() -> None:
    async with bench() as it:
        it.exchange.callees = {A: Callee(ring_s=30.0)}
        ordered = await it.carrier.dial(request("d-1"))
        await asyncio.sleep(3.0)
        await it.carrier.cancel("d-1", ordered)

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.CANCELLED
