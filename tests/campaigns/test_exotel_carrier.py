"""Exotel as a campaign's carrier, against the lab's: its pace, lost answers, lost callbacks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from calls.outbound import DialOutcome
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.exotel import ExotelAccount
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import OURS, A, B, ended, request, withdrawn
from transports.dialling import (
    CarrierError,
    DialRefusedError,
    DialWithdrawnError,
    FoundCall,
    HeardLeg,
    RecallingCarrier,
)
from transports.exotel.dialling import LONGEST_S, UNHEARD_S, ExotelCalls, ExotelCarrier
from transports.exotel.rest import ExotelRest

pytestmark = pytest.mark.virtual_time


@dataclass
class PoolServer:
    """An account, and our carrier for it; `heard` has the callbacks."""

    account: ExotelAccount
    heard: dict[str, HeardLeg] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.carrier = self.another()

    def another(self, url: str = "") -> ExotelCarrier:
        """Return the carrier of another process, which knows no dial."""
        rest = ExotelRest(
            account_sid=SecretStr(self.account.account_sid),
            api_key=SecretStr(self.account.api_key),
            api_token=SecretStr(self.account.api_token),
            api_url=url or self.account.url,
        )
        calls = ExotelCalls(rest=rest, public_url="https://agent.example.com")
        return ExotelCarrier(calls=calls, number=OURS, news=ToldNews(told=self.heard))


@asynccontextmanager
async def office() -> AsyncIterator[PoolServer]:
    async with ExotelAccount() as account:
        account.exchange.callees = {A: Callee(fate="busy"), B: Callee(fate="no-answer")}
        yield PoolServer(account)


async def lost(it: PoolServer, dial_id: str) -> None:
    """Place a call without any callback."""
    it.account.swallow = 1
    with pytest.raises(CarrierError) as error:
        await it.carrier.dial(request(dial_id))
    assert not isinstance(error.value, DialRefusedError)


async def test_an_accounts_pace_is_kept() -> None:
    async with office() as it:
        began_s = asyncio.get_running_loop().time()
        await asyncio.gather(*(it.carrier.dial(request(f"d-{at}")) for at in range(4)))
        took_s = asyncio.get_running_loop().time() - began_s

        assert len(it.account.book) == 4
        assert took_s == pytest.approx(1.5, abs=0.2)


async def test_without_a_callback_a_dial_is_followed_by_its_own_id() -> None:
    async with office() as it:
        await it.carrier.dial(request("d-1"))
        await it.carrier.dial(request("d-2", B))
        busy, unanswered = await ended(it.carrier, "d-1"), await ended(it.carrier, "d-2", B)

        assert (busy.outcome, busy.provider_call_id) == (DialOutcome.BUSY, it.account.book[0][0])
        assert unanswered.outcome is DialOutcome.NO_ANSWER
        assert unanswered.provider_call_id == it.account.book[1][0]


async def test_a_callback_takes_precedence_and_exotel_is_not_asked() -> None:
    async with office() as it:
        await it.carrier.dial(request("d-1"))
        it.heard["d-1"] = HeardLeg(call_ref="the-call", answered=True, ended="completed")
        it.account.answer_with = 503

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id="the-call", outcome=DialOutcome.COMPLETED, answered=True
        )


async def test_only_a_callback_proves_an_answer() -> None:
    async with office() as it:
        call_sid = await it.carrier.dial(request("d-1"))
        before = await it.carrier.find("d-1", A, 0.0)  # `in-progress`, as from the request on
        it.heard["d-1"] = HeardLeg(call_ref=call_sid, answered=True)
        after = await it.carrier.find("d-1", A, 0.0)

        assert before == FoundCall(provider_call_id=call_sid)
        assert after == FoundCall(provider_call_id=call_sid, answered=True)


async def test_a_dial_whose_answer_was_lost_is_found_by_its_callback() -> None:
    async with office() as it:
        await lost(it, "d-1")
        call_sid = it.account.book[0][0]
        it.heard["d-1"] = HeardLeg(call_ref=call_sid)

        assert (await ended(it.another(), "d-1")).outcome is DialOutcome.BUSY


async def test_a_dial_without_any_report_is_unknown_and_never_repeated() -> None:
    async with office() as it:
        await lost(it, "d-1")
        at_once = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(UNHEARD_S - 1)
        waited_for = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(1)
        given_up = await it.carrier.find("d-1", A, 0.0)

        assert at_once == waited_for == FoundCall(provider_call_id="")
        assert given_up == FoundCall(provider_call_id="", outcome=DialOutcome.UNKNOWN)


async def test_a_lost_processs_dial_does_not_prove_that_no_call_was_made() -> None:
    async with office() as it:
        assert await it.another().find("d-1", A, 0.0) == FoundCall(provider_call_id="")


async def test_a_lost_processs_dial_is_followed_by_its_stored_id() -> None:
    async with office() as it:
        call_sid = await it.carrier.dial(request("d-1"))
        another = it.another()
        assert isinstance(another, RecallingCarrier)
        another.recall("d-1", call_sid)

        assert (await ended(another, "d-1")).outcome is DialOutcome.BUSY


async def test_a_call_unknown_to_exotel_is_waited_for_and_then_unknown() -> None:
    async with office() as it:
        call_sid = await it.carrier.dial(request("d-1"))
        it.account.forgets = True
        before = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(UNHEARD_S)

        assert before == FoundCall(provider_call_id=call_sid)
        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id=call_sid, outcome=DialOutcome.UNKNOWN
        )


async def test_a_talk_unknown_to_exotel_lasts_as_long_as_a_stream_may() -> None:
    async with office() as it:
        it.account.forgets = True
        it.heard["d-1"] = HeardLeg(call_ref="the-call", answered=True)
        await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(LONGEST_S - 1)
        talking = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(1)

        assert talking == FoundCall(provider_call_id="the-call", answered=True)
        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id="the-call", outcome=DialOutcome.UNKNOWN, answered=True
        )


@pytest.mark.parametrize("status", [401, 402, 404])
async def test_a_request_that_exotel_refused_placed_no_call(status: int) -> None:
    async with office() as it:
        it.account.answer_with = status
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)
        assert await it.carrier.find("d-1", A, 0.0) is None


async def test_a_request_that_never_reached_exotel_placed_no_call() -> None:
    async with office() as it:
        nowhere = it.another(url="http://127.0.0.1:9")
        with pytest.raises(CarrierError):
            await nowhere.dial(request("d-1"))

        assert await nowhere.find("d-1", A, 0.0) is None


async def test_an_account_error_proves_nothing() -> None:
    async with office() as it:
        it.account.answer_with = 503
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)
        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(provider_call_id="")


async def test_a_refusal_does_not_count_for_the_repeated_dial() -> None:
    async with office() as it:
        it.account.answer_with = 401
        with pytest.raises(CarrierError):
            await it.carrier.dial(request("d-1"))
        it.account.answer_with = None
        await lost(it, "d-1")

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(provider_call_id="")


@pytest.mark.parametrize("to", ["+1", B], ids=["no number", "wants no calls"])
async def test_a_refused_number_does_not_count_against_the_account(to: str) -> None:
    async with office() as it:
        it.account.barred = {B}
        with pytest.raises(DialRefusedError):
            await it.carrier.dial(request("d-1", to=to))


async def test_rate_limited_requests_are_retried_and_place_one_call() -> None:
    async with office() as it:
        it.account.answer_with = 429
        dialling = asyncio.create_task(it.carrier.dial(request("d-1")))
        await asyncio.sleep(20)
        it.account.answer_with = None
        await dialling

        assert len(it.account.book) == 1


async def test_a_price_is_known_some_time_after_the_end_and_not_before() -> None:
    async with office() as it:
        call_sid = await it.carrier.dial(request("d-1"))
        [dial] = it.account.exchange.placed.values()
        dial.answered = dial.created
        before = await it.carrier.cost_of(call_sid)
        await asyncio.sleep(10)

        assert before is None
        assert await it.carrier.cost_of(call_sid) == pytest.approx(1.5)


async def test_an_account_that_does_not_answer_gives_no_price() -> None:
    async with office() as it:
        it.account.answer_with = 500
        with pytest.raises(CarrierError):
            await it.carrier.cost_of("c1")


async def test_a_dial_withdrawn_before_its_turn_is_not_requested() -> None:
    async with office() as it:
        with pytest.raises(DialWithdrawnError):
            await it.carrier.dial(withdrawn("d-1"))

        assert len(it.account.book) == 0
