"""People called by Twilio for a caller, while the state of their call is unknown."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from calls.events import ProviderFailed
from calls.handover import Destination, Handover
from fallbacks.failure import Kind, ServiceError
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exchange import RequestedCall
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.webhook import AgentServer
from tests.transports.twilio_server import TOKEN, WorkerPool, serving, until
from transports.leg import Leg
from transports.rest import dial_error
from transports.twilio.people import RING_MARGIN_S, PersonLeg, TwilioPeople
from transports.twilio.rest import Fields, TwilioRest
from transports.twilio.routes import MEDIA_PATH, TwilioRoutes

pytestmark = pytest.mark.virtual_time

ACCOUNT = "AC" + "0" * 32
BILLING = Destination(name="billing", number="+15550123")
RING_S = 20.0


@dataclass(frozen=True, kw_only=True)
class MenuChoices:
    """The people's part of the door, and Twilio."""

    pool: WorkerPool
    people: TwilioPeople
    office: CarrierRest

    async def call(self) -> Leg | Handover:
        return await self.people.call_person(BILLING, ring_s=RING_S)

    async def call_unplaced(self, *, elsewhere: bool) -> Leg | Handover:
        """Call the person for another caller, perhaps of another worker; no call is placed."""
        rest = UnplacedRest(
            account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=self.office.url
        )
        ringing = {} if elsewhere else self.people.ringing
        people = replace(self.people, rest=rest, ringing=ringing)
        return await people.call_person(BILLING, ring_s=RING_S)

    @property
    def placed(self) -> RequestedCall:
        """The call of the person."""
        (placed,) = self.office.exchange.placed.values()
        return placed

    async def connected(self, leg: Leg | Handover) -> Carrier:
        """Return the telephone of a person who is still on the line; hang up on them afterwards."""
        assert isinstance(leg, PersonLeg)
        await asyncio.sleep(2)
        telephone = self.placed.carrier
        assert telephone is not None
        assert not telephone.ended.is_set()
        await leg.hang_up()
        return telephone


class SlowRest(TwilioRest):
    """Reports two seconds late that a call was placed."""

    async def ask(self, method: str, resource: str, fields: Fields = ()) -> Mapping[str, Any]:
        answer = await super().ask(method, resource, fields)
        await asyncio.sleep(2.0 if method == "POST" and resource == "Calls" else 0.0)
        return answer


class SlowToLose(TwilioRest):
    """Reports two seconds late that there is no answer."""

    async def ask(self, method: str, resource: str, fields: Fields = ()) -> Mapping[str, Any]:
        try:
            return await super().ask(method, resource, fields)
        except ServiceError:
            await asyncio.sleep(2.0)
            raise


class UnplacedRest(TwilioRest):
    """Loses each request for a call on its way to Twilio."""

    async def ask(self, method: str, resource: str, fields: Fields = ()) -> Mapping[str, Any]:
        if method == "POST" and resource == "Calls":
            raise dial_error("twilio", Kind.TIMEOUT, "TimeoutError")
        return await super().ask(method, resource, fields)


@asynccontextmanager
async def desk(
    person: Callee, *, kind: type[TwilioRest] = TwilioRest
) -> AsyncIterator[MenuChoices]:
    it, app = WorkerPool(), FastAPI()
    async with serving(app) as it.port, CarrierRest(ACCOUNT, TOKEN) as office:
        office.exchange.server = AgentServer(base_url=it.url, public_url=it.url, auth_token=TOKEN)
        office.exchange.callees[BILLING.number] = person
        rest = kind(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=office.url)
        host = it.host()
        people = TwilioPeople(
            rest=rest,
            our_number="+15005550100",
            socket_url=host.socket_url(MEDIA_PATH),
            emit=host.emit,
            clock=host.clock,
            key_values=host.pool.key_values,
        )
        routes = TwilioRoutes(host, auth_token=SecretStr(TOKEN), rest=rest, people=people)
        app.include_router(routes.router)
        yield MenuChoices(pool=it, people=people, office=office)


def failures(it: MenuChoices) -> int:
    return sum(isinstance(event, ProviderFailed) for event in it.pool.told)


@pytest.mark.parametrize("status", [503, 404])
async def test_a_person_who_answers_while_the_state_is_unknown_is_not_hung_up_on(
    status: int,
) -> None:
    async with desk(Callee(ring_s=6)) as it:
        it.office.look_up_status = status
        telephone = await it.connected(await it.call())

        assert telephone.ended_by == "agent"
        assert it.office.requests == [("", BILLING.number), (it.placed.phone.call_sid, "completed")]
        assert failures(it) == 1


async def test_late_status_requests_hang_up_on_no_person() -> None:
    async with desk(Callee(ring_s=8)) as it:
        it.office.look_up_delay_s = 30
        await it.connected(await it.call())

        assert failures(it) == 1


async def test_the_outcome_of_a_call_is_learned_once_a_request_succeeds() -> None:
    async with desk(Callee(fate="busy", ring_s=2)) as it, asyncio.TaskGroup() as tasks:
        it.office.look_up_status = 503
        called = tasks.create_task(it.call())
        await asyncio.sleep(5)
        assert not called.done()
        it.office.look_up_status = None

        assert await called == "busy"


async def test_no_telephone_keeps_ringing_when_the_outcome_is_never_learned() -> None:
    async with desk(Callee(fate="no-answer", ring_s=RING_S)) as it:
        it.office.look_up_status = 503
        began_s = it.pool.clock()

        assert await it.call() == "no_answer"
        assert it.pool.clock() - began_s == pytest.approx(RING_S + RING_MARGIN_S, abs=1.5)
        assert it.office.requests[1] == (it.placed.phone.call_sid, "canceled")
        assert failures(it) == 1


async def test_a_person_who_answers_during_the_last_request_is_not_hung_up_on() -> None:
    async with desk(Callee(ring_s=3)) as it, asyncio.TaskGroup() as tasks:
        it.office.look_up_delay_s = 30
        called = tasks.create_task(it.call())
        await until(lambda: bool(it.office.exchange.placed) and it.placed.carrier is not None)
        it.pool.now_ahead_s = RING_S + RING_MARGIN_S

        await it.connected(await called)


async def test_a_call_being_placed_is_cancelled_when_the_caller_hangs_up() -> None:
    async with desk(Callee(ring_s=15), kind=SlowRest) as it, asyncio.TaskGroup() as tasks:
        called = tasks.create_task(it.call())
        await until(lambda: bool(it.office.exchange.placed))
        called.cancel()
        await asyncio.wait({called})

        assert it.placed.status == "canceled"
        assert it.people.ringing == {}


async def test_a_person_who_answers_during_a_late_request_does_not_wait_for_it() -> None:
    async with desk(Callee(ring_s=3)) as it:
        it.office.look_up_delay_s = 30
        began_s = it.pool.clock()
        leg = await it.call()

        assert it.pool.clock() - began_s == pytest.approx(3, abs=0.5)
        await it.connected(leg)


async def test_a_person_who_rings_although_twilios_answer_was_lost_is_connected() -> None:
    async with desk(Callee(ring_s=6)) as it:
        it.office.swallow = 1

        await it.connected(await it.call())


async def test_a_call_placed_without_an_answer_is_cancelled_when_the_caller_hangs_up() -> None:
    async with desk(Callee(ring_s=15), kind=SlowToLose) as it, asyncio.TaskGroup() as tasks:
        it.office.swallow = 1
        called = tasks.create_task(it.call())
        await until(lambda: bool(it.office.exchange.placed))
        called.cancel()
        await asyncio.wait({called})

        assert it.placed.status == "canceled"


async def test_another_callers_call_of_the_same_person_is_not_taken_for_a_refused_one() -> None:
    async with desk(Callee(ring_s=6)) as it, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(it.call())
        await until(lambda: bool(it.office.exchange.placed))
        elsewhere = replace(it.people, ringing={})

        assert await elsewhere.call_person(BILLING, ring_s=RING_S) == "failed"  # one call a second
        await it.connected(await first)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_person_who_talks_with_another_caller_is_not_taken_for_an_unplaced_call(
    *, elsewhere: bool
) -> None:
    async with desk(Callee(ring_s=3)) as it:
        leg = await it.call()

        assert await it.call_unplaced(elsewhere=elsewhere) == "failed"
        await it.connected(leg)


@pytest.mark.parametrize(("ago_s", "kind"), [(10, TwilioRest), (0, TwilioRest), (0, SlowRest)])
async def test_a_person_whom_another_worker_already_called_is_not_taken_for_an_unplaced_call(
    ago_s: int, kind: type[TwilioRest]
) -> None:
    async with desk(Callee(ring_s=6), kind=kind) as it, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(it.call())
        await until(lambda: bool(it.office.exchange.placed) and it.placed.status == "ringing")
        it.placed.created -= timedelta(seconds=ago_s)

        assert await it.call_unplaced(elsewhere=True) == "failed"
        await it.connected(await first)


@pytest.mark.parametrize("lists", [True, False])
async def test_a_person_who_answers_before_twilios_answer_is_lost_is_connected(
    *, lists: bool
) -> None:
    async with desk(Callee(ring_s=1), kind=SlowToLose) as it, asyncio.TaskGroup() as tasks:
        it.office.swallow = 1
        called = tasks.create_task(it.call())
        await until(lambda: bool(it.office.exchange.placed))
        it.office.answer_with = None if lists else 503
        leg = await called
        it.office.answer_with = None

        await it.connected(leg)
