"""Plivo's callbacks about the answerer, and its package's signatures."""

import pytest
from plivo.utils.signature_v3 import validate_v3_signature

from calls.leg_events import AnswererJudged
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.plivo import PlivoAccount, plivo_call, plivo_form
from tests.transports.carrier_server import carrier_server
from tests.transports.conformance.accounts import dialling
from tests.transports.conformance.test_callbacks import report
from tests.transports.twilio_server import until

pytestmark = pytest.mark.virtual_time


async def test_a_machine_is_known_from_the_hangup_alone() -> None:
    async with dialling("plivo", Callee(answered_by="machine_start")) as it:
        it.account.exchange.silent = {"MachineDetection"}
        await it.dial()
        await until(lambda: it.account.placed.machine)
        await (await it.person()).hang_up()

        assert (await it.ended()).outcome == "voicemail"


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
    async with carrier_server() as it:
        assert await report(it, "plivo", CallStatus="in-progress", **more) == 204

        judged = [event for event in it.pool.told if isinstance(event, AnswererJudged)]
        assert [item.answerer for item in judged] == answerers


def test_plivos_own_package_signs_an_address_with_our_id_as_the_lab_does() -> None:
    form, url = plivo_form(plivo_call(), "ringing"), "https://agent.example.com/plivo/status?dial=1"
    account = PlivoAccount()
    headers = account.signature_headers(url, form)
    nonce, proof = headers["X-Plivo-Signature-V3-Nonce"], headers["X-Plivo-Signature-V3"]

    assert validate_v3_signature("POST", url, nonce, account.auth_token, proof, form)
