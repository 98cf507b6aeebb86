"""A caller is transferred through Plivo: to a person who answers, or back to the agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from plivo import plivoxml
from plivo.utils.signature_v3 import validate_v3_signature
from pydantic import SecretStr

from calls.events import InputRefused
from calls.handover import Destination, Handover
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.plivo import PlivoAccount, plivo_call, plivo_form
from lab.simulators.carrier.webhook import PhoneCall
from tests.bot.server.test_carrier_doors import canonical
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.twilio_server import Call, tone, until
from transports.plivo.dialect import answered_for, dial_outcome, dial_verb, transfer_url
from transports.plivo.rest import PlivoRest
from transports.plivo.routes import PlivoRingOrders

pytestmark = pytest.mark.virtual_time

DESK = Destination(name="billing", number="+15005550199")
SIP_DESK = Destination(name="billing", number="sip:billing@example.com")
HERE = "https://agent.example.com"


@dataclass(frozen=True)
class Line:
    """A caller in a call with an agent who may transfer them."""

    it: CarrierServer
    caller: Carrier
    call: Call

    @property
    def dialled(self) -> list[str]:
        """The numbers that Plivo was told to ring."""
        return [item.number for item in self.it.plivo.switch.dialled]

    @property
    def ordered(self) -> str:
        """The URL that Plivo was told to request."""
        [(_, _, fields)] = self.it.plivo.requests
        return fields["aleg_url"]

    async def request(
        self, url: str, *, phone: PhoneCall | None = None, signed: str = "", **more: str
    ) -> tuple[int, str]:
        """Request one of our URLs as Plivo does; return the status and text of the answer."""
        form = plivo_form(phone or self.caller.phone, "in-progress") | more
        headers = self.it.plivo.signature_headers(signed or url, form)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, data=form) as answer,
        ):
            return answer.status, await answer.text()

    async def goes_on(self) -> None:
        """Check that the caller hears the agent, in the same call."""
        await self.call.say(tone(0.3))
        heard = await self.caller.listen(quiet_s=0.2)
        assert heard.size
        assert (self.call.gone_for, len(self.it.pool.calls)) == ([], 1)


@asynccontextmanager
async def line(
    callee: Callee,
    *,
    to: Destination = DESK,
    returns_within_s: float = 30,
    ends_streams: bool = False,
) -> AsyncIterator[Line]:
    async with (
        carrier_server(returns_within_s=returns_within_s) as it,
        it.caller("plivo") as caller,
    ):
        it.plivo.switch.people[to.number] = callee
        it.plivo.ends_streams = ends_streams
        yield Line(it, caller, await it.pool.call())


async def leave(on: Line) -> None:
    await on.call.leg.hang_up("transfer")
    await on.call.worker.cancel()


async def test_no_number_is_sent_before_plivo_asks() -> None:
    async with line(Callee(fate="busy")) as on:
        await on.call.leg.transfer(DESK, ring_s=20)

        assert DESK.number.removeprefix("+") not in str(on.it.plivo.requests)


async def test_a_caller_whose_streams_plivo_ends_can_be_transferred_again() -> None:
    async with line(Callee(fate="busy"), ends_streams=True) as on:
        assert await on.call.leg.transfer(DESK, ring_s=20) == "busy"
        on.it.plivo.switch.people[DESK.number] = Callee()
        assert await on.call.leg.transfer(DESK, ring_s=20) == "connected"
        await leave(on)


async def test_a_request_that_plivo_refuses_is_withdrawn() -> None:
    async with line(Callee()) as on:
        on.it.plivo.answer_with = 500

        assert await on.call.leg.transfer(DESK, ring_s=20) == "failed"
        _, text = await on.request(f"{on.it.pool.url}/plivo/after")
        assert "<Dial" not in text


async def test_a_transfer_request_that_plivo_forgets_is_carried_out_after_the_stream() -> None:
    async with line(Callee()) as on:
        on.it.plivo.loses_orders = True

        assert await on.call.leg.transfer(DESK, ring_s=20) == "connected"
        assert on.dialled == [DESK.number]
        await leave(on)


async def test_without_a_callback_the_end_of_the_talk_decides() -> None:
    async with line(Callee(talk_s=5)) as on:
        on.it.plivo.switch.silent = True

        assert await on.call.leg.transfer(DESK, ring_s=20) == "connected"
        await asyncio.wait_for(on.caller.ended.wait(), 5)
        await leave(on)
        assert [request[0] for request in on.it.plivo.requests] == ["POST"]


@pytest.mark.parametrize("waits_s", [30, 60], ids=["the agent gives up", "the line gives up"])
async def test_a_talk_without_a_callback_is_not_cut_off(waits_s: float) -> None:
    async with line(Callee(talk_s=120)) as on, asyncio.TaskGroup() as tasks:
        on.it.plivo.switch.silent = True
        transfer = tasks.create_task(on.call.leg.transfer(DESK, ring_s=20))
        await asyncio.wait({transfer}, timeout=waits_s)
        transfer.cancel()
        await on.call.over.wait()
        await on.call.leg.hang_up("connection_lost")
        await asyncio.sleep(10)
        assert not on.caller.ended.is_set()  # they talk
        await on.caller.ended.wait()
        assert [request[0] for request in on.it.plivo.requests] == [
            "POST"
        ]  # one request, no hang-up


async def test_only_the_transferred_call_gets_the_destination_and_only_once() -> None:
    async with line(Callee()) as on, asyncio.TaskGroup() as tasks:
        on.caller.action_s = 5.0  # until Plivo asks by itself
        began_s = on.caller.now_s
        transfer = tasks.create_task(on.call.leg.transfer(DESK, ring_s=20))
        await until(lambda: bool(on.it.plivo.requests))

        assert await on.call.leg.transfer(DESK, ring_s=20) == "not_offered"
        _, stranger = await on.request(on.ordered, phone=plivo_call())
        _, first = await on.request(on.ordered)
        assert "<Dial" not in stranger
        assert DESK.number in first
        # Now Plivo asks: there is no order any more, so the caller is back.
        assert await transfer == "failed"
        assert on.caller.now_s - began_s == pytest.approx(5, abs=1)
        assert on.dialled == []
        await on.goes_on()


async def test_an_address_without_a_transfer_calls_no_one() -> None:
    async with line(Callee()) as on:
        url = f"{on.it.pool.url}/plivo/transfer?order={'0' * 32}&number=%2B19995550000"
        status, text = await on.request(url)

        assert status == 200
        assert "<Dial" not in text
        assert "9995550000" not in text


async def test_an_outdated_transfer_request_calls_no_one() -> None:
    async with line(Callee()) as on, asyncio.TaskGroup() as tasks:
        on.caller.action_s = 5.0
        transfer = tasks.create_task(on.call.leg.transfer(DESK, ring_s=20))
        await until(lambda: bool(on.it.plivo.requests))
        _, text = await on.request(on.ordered[:-1] + "x")

        assert "<Dial" not in text
        assert await transfer == "failed"


async def test_a_transfer_request_is_found_by_any_process() -> None:
    async with line(Callee()) as on, asyncio.TaskGroup() as tasks:
        on.caller.action_s = 5.0
        transfer = tasks.create_task(on.call.leg.transfer(DESK, ring_s=20))
        await until(lambda: bool(on.it.plivo.requests))
        rest = PlivoRest(auth_id=SecretStr(""), auth_token=SecretStr(""), public_url=HERE)
        elsewhere = PlivoRingOrders(rest=rest, key_values=on.it.host.pool.key_values)
        verb = await elsewhere.take(on.caller.phone.call_sid, on.ordered.partition("order=")[2])

        assert verb is not None
        assert DESK.number in verb
        await transfer


@pytest.mark.parametrize("signed", ["?order=2", ""], ids=["another", "none"])
async def test_the_transfer_request_in_an_address_is_signed(signed: str) -> None:
    async with line(Callee()) as on:
        url = f"{on.it.pool.url}/plivo/transfer"
        status, _ = await on.request(f"{url}?order=1", signed=f"{url}{signed}")

        assert status == 403
        assert on.it.pool.told == [InputRefused(transport="plivo", reason="wrong_signature")]


def test_plivos_own_package_signs_the_address_of_a_transfer_as_the_lab_does() -> None:
    account, form = PlivoAccount(), plivo_form(plivo_call(), "in-progress")
    url = transfer_url("ab12", public_url=HERE)
    headers = account.signature_headers(url, form)
    nonce, proof = headers["X-Plivo-Signature-V3-Nonce"], headers["X-Plivo-Signature-V3"]

    assert validate_v3_signature("POST", url, nonce, account.auth_token, proof, form)


@pytest.mark.parametrize("to", [DESK, SIP_DESK], ids=["a number", "a SIP URI"])
def test_the_answer_is_as_plivos_package_would_write_it(to: Destination) -> None:
    verb = dial_verb(to, ring_s=20.4, public_url=HERE)

    dial = plivoxml.DialElement(
        action=f"{HERE}/plivo/after",
        method="POST",
        timeout=20,
        dial_music="real",
        callback_url=f"{HERE}/plivo/status",
        callback_method="POST",
    )
    noun = plivoxml.UserElement if to is SIP_DESK else plivoxml.NumberElement
    expected = plivoxml.ResponseElement().add(dial.add(noun(to.number)))
    assert canonical(f"<Response>{verb}</Response>") == canonical(expected.to_string())


def test_special_characters_of_the_answer_are_escaped() -> None:
    to = Destination(name="billing", number='sip:a&b"<c>@example.com')
    verb = dial_verb(to, ring_s=0.2, public_url='https://a.example.com/"&<')

    assert 'timeout="1"' in verb
    assert 'sip:a&amp;b"&lt;c&gt;@example.com' in verb
    assert canonical(f"<Response>{verb}</Response>")


ENDS: dict[str, tuple[dict[str, str], Handover | None]] = {
    "they talked": ({"DialStatus": "completed", "DialBLegUUID": "b1"}, "connected"),
    "they talked, the other leg unnamed": ({"DialStatus": "completed"}, "connected"),
    "completed, and nobody answered": (
        {"DialStatus": "completed", "DialBLegUUID": ""},
        "no_answer",
    ),
    "busy": ({"DialStatus": "busy"}, "busy"),
    "not picked up": ({"DialStatus": "no-answer"}, "no_answer"),
    "not picked up in time": ({"DialStatus": "timeout"}, "no_answer"),
    "cancelled": ({"DialStatus": "cancel"}, "no_answer"),
    "failed": ({"DialStatus": "failed", "DialHangupCause": "UNALLOCATED_NUMBER"}, "failed"),
    "declined": ({"DialStatus": "busy", "DialHangupCause": "CALL_REJECTED"}, "declined"),
    "a status of tomorrow": ({"DialStatus": "weather"}, "failed"),
    "no word of it": ({"CallStatus": "in-progress"}, None),
}


@pytest.mark.parametrize(("form", "outcome"), ENDS.values(), ids=ENDS.keys())
def test_the_end_of_a_dial_has_its_meaning(form: dict[str, str], outcome: Handover | None) -> None:
    assert dial_outcome(form) == outcome


@pytest.mark.parametrize(
    ("action", "caller"), [("answer", "a1"), ("connected", "a1"), ("hangup", ""), ("digits", "")]
)
def test_the_party_whose_caller_is_talked_to_is_known(action: str, caller: str) -> None:
    form = {"CallUUID": "other", "DialALegUUID": "a1", "DialAction": action}

    assert answered_for(form) == caller
    assert answered_for({"CallUUID": "a1", "DialAction": action}) == caller
