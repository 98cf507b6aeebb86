"""Outbound calls over Plivo: callbacks, and how media finds its dial."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from plivo.utils.signature_v3 import validate_v3_signature
from pydantic import SecretStr

from bot.call.briefs import Briefs
from bot.config.agent import AgentSettings
from calls.events import CallRefused, Event, InputRefused
from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegOutcome, LegRinging
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.plivo import plivo_call, plivo_form
from lab.simulators.carrier.plivo_exchange import PlivoDial, PlivoRestApi
from lab.simulators.carrier.webhook import AgentServer
from tests.transports.carrier_server import Doors, doors
from tests.transports.twilio_server import COMMON, tone, until
from transports.dialling import DialOrder
from transports.plivo.dialling import PlivoCalls
from transports.plivo.rest import PlivoRest

pytestmark = pytest.mark.virtual_time

ORDER = DialOrder(to="+15005550111", caller="+15005550006", ref="d-1", machine="true")


@dataclass(frozen=True)
class Dialling:
    """A server with an outbound call through Plivo."""

    doors: Doors
    desk: PlivoRestApi
    calls: PlivoCalls

    @property
    def dial(self) -> PlivoDial:
        """Return the one call."""
        [dial] = self.desk.exchange.placed.values()
        return dial

    def facts(self) -> list[Event]:
        """Return the events of the leg."""
        kinds = (LegRinging, LegAnswered, LegEnded, AnswererJudged)
        return [event for event in self.doors.pool.told if isinstance(event, kinds)]

    async def ended(self) -> LegEnded:
        """Return the end of the leg, as soon as it is known."""
        await until(lambda: any(isinstance(fact, LegEnded) for fact in self.facts()))
        [ended] = [fact for fact in self.facts() if isinstance(fact, LegEnded)]
        return ended


@asynccontextmanager
async def dialling(callee: Callee, briefs: Briefs | None = None) -> AsyncIterator[Dialling]:
    async with doors(returns_within_s=30, briefs=briefs) as it:
        server = AgentServer(base_url=it.pool.url, public_url=it.pool.url, auth_token="")
        async with PlivoRestApi(it.plivo, server) as desk:
            desk.exchange.callees[ORDER.to] = callee
            rest = PlivoRest(
                auth_id=SecretStr(it.plivo.auth_id),
                auth_token=SecretStr(it.plivo.auth_token),
                api_url=it.plivo.url,
            )
            yield Dialling(it, desk, PlivoCalls(rest=rest, public_url=it.pool.url))


async def told(it: Doors, form: dict[str, str], *, query: str = "", proof: str = "") -> int:
    url = f"{it.pool.url}/plivo/status{query}"
    headers = it.plivo.signed(url, form)
    if proof:
        headers["X-Plivo-Signature-V3"] = proof
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=form) as answer,
    ):
        assert await answer.text() == ("Forbidden" if answer.status == 403 else "")
        return answer.status


async def test_an_outbound_call_is_an_ordinary_call() -> None:
    async with dialling(Callee(ring_s=3)) as it:
        await it.calls.dial(ORDER)
        call = await it.doors.pool.call()
        await call.say(tone(0.3))
        person = it.dial.carrier
        assert person is not None
        await until(lambda: bool(person.ear.bursts))
        await person.hang_up()
        await it.ended()

        uuid, ref = it.dial.phone.call_sid, "d-1"
        facts = call.leg.facts
        assert (facts.direction, facts.call_ref, facts.dial_id) == ("outbound", uuid, ref)
        ringing, answered, ended = it.facts()
        assert ringing == LegRinging(call_ref=uuid, ref=ref)
        assert isinstance(answered, LegAnswered)
        assert (answered.call_ref, answered.ref) == (uuid, ref)
        assert answered.after_s == pytest.approx(3, abs=0.5)
        assert ended == LegEnded(call_ref=uuid, ref=ref, outcome="completed")


async def test_a_second_stream_of_a_call_that_never_began_still_has_its_dial() -> None:
    async with dialling(Callee(ring_s=1)) as it:
        it.doors.pool.full = True
        await it.calls.dial(ORDER)
        await until(lambda: it.dial.carrier is not None)
        it.doors.pool.full = False
        call = await it.doors.pool.call()

        assert call.leg.facts.dial_id == "d-1"


async def test_a_contact_without_a_brief_is_not_talked_to() -> None:
    briefs = Briefs()

    async def look_up(_: str) -> AgentSettings | None:
        return None

    briefs.look_up = look_up
    async with dialling(Callee(ring_s=1), briefs) as it:
        await it.calls.dial(ORDER)
        await it.ended()

        refused = [event for event in it.doors.pool.told if isinstance(event, CallRefused)]
        assert refused
        assert {item.reason for item in refused} == {"no_brief"}
        assert it.doors.pool.calls == []


@pytest.mark.parametrize(
    ("fate", "outcome", "reason"),
    [("busy", "busy", ""), ("no-answer", "no-answer", ""), ("failed", "failed", "2000")],
)
async def test_an_unanswered_call_has_an_outcome(
    fate: Fate, outcome: LegOutcome, reason: str
) -> None:
    async with dialling(Callee(fate=fate)) as it:
        await it.calls.dial(ORDER)
        ended = await it.ended()

        assert [type(fact) for fact in it.facts()] == [LegRinging, LegEnded]
        assert (ended.outcome, ended.reason) == (outcome, reason)


async def test_a_machine_is_reported_and_no_person_was_reached() -> None:
    async with dialling(Callee(answered_by="machine_start")) as it:
        await it.calls.dial(ORDER)
        await until(lambda: any(isinstance(fact, AnswererJudged) for fact in it.facts()))
        person = it.dial.carrier
        assert person is not None
        await person.hang_up()
        ended = await it.ended()

        [judged] = [fact for fact in it.facts() if isinstance(fact, AnswererJudged)]
        assert (judged.answerer, judged.machine, judged.ref) == ("machine", True, "d-1")
        assert ended.outcome == "voicemail"


async def test_a_machine_is_known_from_the_hangup_alone() -> None:
    async with dialling(Callee(answered_by="machine_start")) as it:
        it.desk.exchange.silent = {"MachineDetection"}
        await it.calls.dial(ORDER)
        await until(lambda: it.dial.machine)
        person = it.dial.carrier
        assert person is not None
        await person.hang_up()

        assert (await it.ended()).outcome == "voicemail"


async def test_callbacks_that_come_three_times_are_told_once() -> None:
    async with dialling(Callee(fate="busy")) as it:
        it.desk.exchange.repeats = 3
        await it.calls.dial(ORDER)
        await it.ended()
        await asyncio.sleep(1)

        assert [type(fact) for fact in it.facts()] == [LegRinging, LegEnded]


async def test_a_call_that_ended_at_the_carrier_ends_here_even_if_its_line_is_lost() -> None:
    async with doors(returns_within_s=30) as it, it.caller("plivo") as caller:
        call = await it.pool.call()
        caller.vanish()
        form = plivo_form(caller.phone, "completed") | {"Event": "Hangup"}

        assert await told(it, form) == 204
        await asyncio.wait_for(call.over.wait(), 5)
        assert call.gone_for == ["caller_hung_up"]


MACHINES: dict[str, tuple[dict[str, str], list[str]]] = {
    "a machine": ({"Event": "MachineDetection", "Machine": "true"}, ["machine"]),
    "a person": ({"Event": "MachineDetection", "Machine": "false"}, ["human"]),
    "in lower case": ({"Event": "Hangup", "machine": "True"}, ["machine"]),
    "nobody was judged": ({"Event": "Hangup", "Machine": "false"}, []),
    "no word of it": ({"Event": "Ring"}, []),
}


@pytest.mark.parametrize(("more", "answerers"), MACHINES.values(), ids=MACHINES.keys())
async def test_the_answerer_is_the_result_of_the_detection(
    more: dict[str, str], answerers: list[str]
) -> None:
    async with doors() as it:
        assert await told(it, plivo_form(plivo_call(), "in-progress") | more) == 204

        judged = [event for event in it.pool.told if isinstance(event, AnswererJudged)]
        assert [item.answerer for item in judged] == answerers


async def test_overlong_words_are_bounded() -> None:
    form = plivo_form(plivo_call(), "failed") | {"Event": "Hangup", "HangupCauseCode": "1" * 9000}
    async with doors() as it:
        assert await told(it, form, query=f"?dial={'r' * 5000}") == 204

        [ended] = [event for event in it.pool.told if isinstance(event, LegEnded)]
        assert max(len(ended.reason), len(ended.ref)) == 64


async def test_a_wrong_signature_is_forbidden_and_ends_no_call() -> None:
    async with doors(returns_within_s=30) as it, it.caller("plivo") as caller:
        call = await it.pool.call()
        form = plivo_form(caller.phone, "completed") | {"Event": "Hangup"}

        assert await told(it, form, proof="d3Jvbmc=") == 403
        await asyncio.sleep(1)
        assert it.pool.told == [InputRefused(transport="plivo", reason="wrong_signature")]
        assert call.gone_for == []


@pytest.mark.parametrize(
    "path", ["/plivo/voice", "/plivo/after", "/plivo/transfer", "/plivo/status"]
)
@pytest.mark.parametrize(
    ("signed_for", "accepted"), [(COMMON, True), ("https://other.example.com", False)]
)
async def test_plivo_may_sign_for_each_of_our_addresses_and_no_other(
    *, path: str, signed_for: str, accepted: bool
) -> None:
    form = plivo_form(plivo_call(), "ringing")
    async with (
        doors() as it,
        aiohttp.ClientSession(headers=it.plivo.signed(f"{signed_for}{path}", form)) as session,
        session.post(f"{it.pool.url}{path}", data=form) as answer,
    ):
        assert (answer.status < 300, answer.status == 403) == (accepted, not accepted)


async def test_our_own_id_is_part_of_the_signed_address() -> None:
    form = plivo_form(plivo_call(), "ringing")
    async with doors() as it:
        url = f"{it.pool.url}/plivo/status"
        headers = it.plivo.signed(f"{url}?dial=1", form)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{url}?dial=2", data=form) as answer,
        ):
            assert answer.status == 403


async def test_plivos_own_package_signs_an_address_with_our_id_as_the_lab_does() -> None:
    form, url = plivo_form(plivo_call(), "ringing"), "https://agent.example.com/plivo/status?dial=1"
    async with doors() as it:
        headers = it.plivo.signed(url, form)
        nonce, proof = headers["X-Plivo-Signature-V3-Nonce"], headers["X-Plivo-Signature-V3"]

        assert validate_v3_signature("POST", url, nonce, it.plivo.auth_token, proof, form)
