"""Plivo as a campaign's carrier, against the lab's: its pace, lost answers, lost callbacks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from calls.outbound import DialOutcome
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.plivo import PlivoAccount
from lab.simulators.carrier.plivo_exchange import PlivoDial, PlivoRestApi
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import OURS, A, B, request, withdrawn
from transports.dialling import (
    CarrierError,
    DialRefusedError,
    DialWithdrawnError,
    FoundCall,
    HeardLeg,
)
from transports.plivo.dialling import PlivoCalls, PlivoCarrier
from transports.plivo.rest import PlivoRest

FAR_AHEAD_S = 4e9  # our clock differs from Plivo's

pytestmark = pytest.mark.virtual_time


@dataclass
class PoolServer:
    """An account, its pool, and our carrier for it; `heard` has the callbacks."""

    account: PlivoAccount
    desk: PlivoRestApi
    heard: dict[str, HeardLeg] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.carrier = self.another()

    def another(self) -> PlivoCarrier:
        """Return the carrier of another process, which knows no dial."""
        rest = PlivoRest(
            auth_id=SecretStr(self.account.auth_id),
            auth_token=SecretStr(self.account.auth_token),
            api_url=self.account.url,
        )
        calls = PlivoCalls(rest=rest, public_url="https://agent.example.com")
        return PlivoCarrier(calls=calls, number=OURS, news=ToldNews(told=self.heard))


@asynccontextmanager
async def office() -> AsyncIterator[PoolServer]:
    async with PlivoAccount() as account, PlivoRestApi(account) as desk:
        desk.exchange.callees = {A: Callee(fate="busy"), B: Callee(fate="no-answer")}
        yield PoolServer(account, desk)


def picked_up(it: PoolServer) -> PlivoDial:
    """Make the one call an answered one, without a server to talk to."""
    [dial] = it.desk.exchange.placed.values()
    dial.answered = dial.created
    return dial


async def ended(it: PlivoCarrier, dial_id: str, to: str = A) -> FoundCall:
    while (found := await it.find(dial_id, to, 0.0)) is None or found.outcome is None:
        assert found is not None, "a call that was placed was taken for none"
        await asyncio.sleep(1.0)
    return found


async def test_a_dead_processs_dial_is_found_by_the_id_in_the_ledger() -> None:
    async with office() as it:
        await it.carrier.dial(request("d-1"))
        call_uuid = (await ended(it.carrier, "d-1")).provider_call_id
        other = it.another()
        assert await other.find("d-1", A, FAR_AHEAD_S) is None

        other.recall("d-1", call_uuid)

        found = await other.find("d-1", A, FAR_AHEAD_S)
        assert found is not None
        assert found.outcome is DialOutcome.BUSY


async def test_an_accounts_pace_is_kept() -> None:
    async with office() as it:
        began_s = asyncio.get_running_loop().time()
        await asyncio.gather(*(it.carrier.dial(request(f"d-{at}")) for at in range(4)))
        took_s = asyncio.get_running_loop().time() - began_s

        assert len(it.desk.book) == 4
        assert took_s == pytest.approx(1.5, abs=0.2)


@pytest.mark.parametrize("one_id", [True, False], ids=["one id", "two ids"])
async def test_without_a_callback_a_dial_is_followed_to_its_record(*, one_id: bool) -> None:
    async with office() as it:
        it.desk.one_id = one_id
        await it.carrier.dial(request("d-1"))
        await it.carrier.dial(request("d-2", B))
        busy, unanswered = await ended(it.carrier, "d-1"), await ended(it.carrier, "d-2", B)

        assert (busy.outcome, busy.provider_call_id) == (DialOutcome.BUSY, it.desk.book[0][0])
        assert unanswered.outcome is DialOutcome.NO_ANSWER
        assert unanswered.provider_call_id == it.desk.book[1][0]


async def test_a_callback_takes_precedence_and_plivo_is_not_asked() -> None:
    async with office() as it:
        await it.carrier.dial(request("d-1"))
        it.heard["d-1"] = HeardLeg(call_ref="the-call", answered=True, ended="voicemail")
        it.account.answer_with = 503

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id="the-call", outcome=DialOutcome.VOICEMAIL, answered=True
        )


async def test_a_reported_machine_counts_even_without_a_hangup_callback() -> None:
    async with office() as it:
        await it.carrier.dial(request("d-1"))
        uuid = picked_up(it).phone.call_sid
        it.heard["d-1"] = HeardLeg(call_ref=uuid, answered=True, machine=True)
        found = await ended(it.carrier, "d-1")

        assert (found.outcome, found.answered) == (DialOutcome.VOICEMAIL, True)


async def test_a_dial_whose_answer_was_lost_is_found_by_number_and_time() -> None:
    async with office() as it:
        it.desk.swallow = 1
        with pytest.raises(CarrierError) as lost:
            await it.carrier.dial(request("d-1"))

        found = await it.carrier.find("d-1", A, 0.0)

        assert not isinstance(lost.value, DialRefusedError)
        assert found is not None
        assert found.provider_call_id == it.desk.book[0][0]


async def test_a_dial_whose_answer_was_lost_is_found_by_its_callback() -> None:
    async with office() as it:
        it.desk.swallow = 1
        with pytest.raises(CarrierError):
            await it.carrier.dial(request("d-1"))
        uuid = it.desk.book[0][0]
        it.heard["d-1"] = HeardLeg(call_ref=uuid, ended="busy")

        assert (await ended(it.another(), "d-1")).outcome is DialOutcome.BUSY


async def test_a_call_of_another_dial_is_not_taken_for_ours() -> None:
    async with office() as it:
        await it.carrier.dial(request("d-1"))

        assert await it.carrier.find("d-2", A, 0.0) is None


async def test_a_call_is_recognised_by_its_request_among_others_to_the_number() -> None:
    async with office() as it:
        await it.another().dial(request("somebody-else-s"))
        await asyncio.sleep(10)
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(0.5)
        found = await it.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert found.provider_call_id == it.desk.book[1][0]


async def test_another_requests_call_is_not_taken_for_one_without_a_record_yet() -> None:
    async with office() as it:
        it.desk.exchange.recorded_after_s = 1e6
        order = await it.carrier.dial(request("d-1"))
        await asyncio.sleep(4)
        await it.another().dial(request("somebody-else-s"))
        await asyncio.sleep(0.5)
        found = await it.carrier.find("d-1", A, 0.0)

        assert found == FoundCall(provider_call_id=order)


async def test_a_call_between_two_lists_is_waited_for() -> None:
    async with office() as it:
        it.desk.exchange.recorded_after_s = 40.0
        await it.carrier.dial(request("d-1"))

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.BUSY


async def test_a_call_missing_for_long_is_no_call_unless_a_callback_reported_it() -> None:
    async with office() as it:
        it.desk.exchange.recorded_after_s = 1e6
        await it.carrier.dial(request("d-1"))
        await it.carrier.dial(request("d-2", B))
        it.heard["d-2"] = HeardLeg(call_ref=it.desk.book[1][0])
        await it.carrier.find("d-2", B, 0.0)
        await asyncio.sleep(120)

        assert await it.carrier.find("d-1", A, 0.0) is None
        assert (await ended(it.carrier, "d-2", B)).outcome is DialOutcome.UNKNOWN


async def test_an_invalid_number_does_not_count_against_the_account() -> None:
    async with office() as it:
        with pytest.raises(DialRefusedError):
            await it.carrier.dial(request("d-1", to="+1"))


async def test_an_account_error_does_not_count_against_the_number() -> None:
    async with office() as it:
        it.account.answer_with = 503
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)


async def test_rate_limited_requests_are_retried_and_place_one_call() -> None:
    async with office() as it:
        it.account.answer_with = 429
        dialling = asyncio.create_task(it.carrier.dial(request("d-1")))
        await asyncio.sleep(8)
        it.account.answer_with = None
        await dialling

        assert len(it.desk.book) == 1


async def test_a_price_is_known_with_the_record_and_not_before() -> None:
    async with office() as it:
        await it.carrier.dial(request("d-1"))
        uuid = picked_up(it).phone.call_sid
        before = await it.carrier.cost_of(uuid)
        await asyncio.sleep(10)

        assert before is None
        assert await it.carrier.cost_of(uuid) == pytest.approx(0.01)


async def test_a_dial_withdrawn_before_its_turn_is_not_requested() -> None:
    async with office() as it:
        with pytest.raises(DialWithdrawnError):
            await it.carrier.dial(withdrawn("d-1"))

        assert len(it.desk.book) == 0


async def test_a_ringing_dial_is_cancelled() -> None:
    async with office() as it:
        it.desk.exchange.callees = {A: Callee(ring_s=30.0)}
        ordered = await it.carrier.dial(request("d-1"))
        await asyncio.sleep(3.0)
        assert await it.carrier.find("d-1", A, 0.0)
        await it.carrier.cancel("d-1", ordered)

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.CANCELLED


async def test_a_ringing_dial_whose_answer_was_lost_is_cancelled() -> None:
    async with office() as it:
        it.desk.exchange.callees = {A: Callee(fate="busy", ring_s=20.0)}
        it.desk.swallow = 1
        with pytest.raises(CarrierError):
            await it.carrier.dial(request("d-1"))
        await asyncio.sleep(3.0)
        found = await it.carrier.find("d-1", A, 0.0)
        assert found is not None
        await it.carrier.cancel("d-1", found.provider_call_id)

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.CANCELLED


async def test_a_dial_answered_meanwhile_is_not_hung_up_on() -> None:
    async with office() as it:
        it.desk.exchange.callees = {A: Callee(fate="busy", ring_s=20.0)}
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(3.0)
        talk = picked_up(it)
        talk.status = "in-progress"
        await it.carrier.cancel("d-1", talk.phone.call_sid)

        assert not talk.over
