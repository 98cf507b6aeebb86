"""A campaign over Telnyx with real calls, configured from YAML."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from calls.campaign_events import DialAsked, DialEnded, OutboundCallBegan
from calls.events import AgentSaid
from calls.leg_events import AnswererHeard, LegEnded
from calls.outbound import Dial, DialOutcome
from lab.demo.staged import (
    BUSY,
    CONFIRMS,
    DISCLOSURE,
    NO_ANSWER,
    OUR_NUMBER,
    VOICEMAIL,
    Behaviour,
    StagedContact,
    StagedServer,
    StagePlan,
    cast_of,
    staged_server,
)
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.telnyx_exchange import TelnyxExchange, telnyx_exchange
from tests.bot.staged_run import Notes, StagedRun, near_lab
from transports.telnyx.dial import ref_of

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.long]

EACH = (CONFIRMS, BUSY, VOICEMAIL, NO_ANSWER)


def transports(exchange: TelnyxExchange) -> dict[str, Any]:
    telnyx = {
        "enabled": True,
        "api_key": SecretStr(exchange.account.api_key),
        "public_key": SecretStr(exchange.account.public_key),
        "api_url": exchange.account.url,
        "connection_id": exchange.connection_id,
        "number": OUR_NUMBER,
        "calls_per_s": 5.0,
    }
    return {"twilio": {"enabled": False}, "telnyx": telnyx}


@asynccontextmanager
async def campaign(
    folder: Path, contacts: list[StagedContact], exchange: TelnyxExchange, **wanted: Any
) -> AsyncIterator[StagedRun]:
    notes = Notes()
    exchange.callees |= {contact.number: contact.behaviour.callee for contact in contacts}
    plan = StagePlan(
        contacts=contacts,
        folder=folder,
        campaign={"attempts": 1} | wanted,
        changes={"transports": transports(exchange)},
        listeners=[notes],
    )
    async with near_lab() as lab, staged_server(lab, plan) as staged:
        yield StagedRun(staged=staged, notes=notes)


async def dials_of(staged: StagedServer) -> dict[str, Dial]:
    async with asyncio.timeout(300):
        _, dials = await staged.ended()
    return {dial.number: dial for dial in dials}


async def charged_of(staged: StagedServer, many: int) -> set[str]:
    """Wait until this many dials have a price; return them."""
    found: set[str] = set()
    async with asyncio.timeout(120):
        while len(found) < many:
            found = {dial.number for dial in await staged.dials() if dial.cost}
            await asyncio.sleep(1.0)
    return found


async def test_each_behaviour_has_its_outcome_and_both_records_agree(tmp_path: Path) -> None:
    contacts = cast_of(len(EACH), EACH)
    async with (
        telnyx_exchange() as exchange,
        campaign(tmp_path, contacts, exchange, voicemail_text="Please call us back.") as run,
    ):
        dials = await dials_of(run.staged)

        outcomes = [dials[contact.number].outcome for contact in contacts]
        assert outcomes == [
            DialOutcome.COMPLETED,
            DialOutcome.BUSY,
            DialOutcome.VOICEMAIL,
            DialOutcome.NO_ANSWER,
        ]
        ours = {(dial.id, dial.number, dial.provider_call_id) for dial in dials.values()}
        assert ours == {(ref_of(state), to, call_id) for call_id, to, state in exchange.book}
        assert len(run.of(DialEnded)) == len(EACH)
        charged = await charged_of(run.staged, 2)
        assert charged == {contacts[at].number for at in (0, 2)}
        begun = {text.dial_id for text in run.of(OutboundCallBegan)}
        assert begun == {dials[contacts[at].number].id for at in (0, 2)}
        said = [text.text for text in run.of(AgentSaid)]
        assert any(DISCLOSURE in text for text in said)
        assert any("Does that still suit you" in text and "Anna" in text for text in said)
        assert any("Please call us back." in text for text in said)
        assert "voicemail" in [text.answerer for text in run.of(AnswererHeard)]


async def test_a_lost_answer_is_found_again_and_no_contact_is_called_twice(tmp_path: Path) -> None:
    contacts = cast_of(2, (CONFIRMS, BUSY))
    async with telnyx_exchange() as exchange:
        exchange.swallow = 2
        async with campaign(tmp_path, contacts, exchange) as run:
            dials = await dials_of(run.staged)

            assert [dials[contact.number].outcome for contact in contacts] == [
                DialOutcome.COMPLETED,
                DialOutcome.BUSY,
            ]
            assert len(exchange.book) == 2
            assert [text.known for text in run.of(DialAsked)] == [True, True]


async def test_telnyxs_detection_is_used_where_nothing_is_heard(
    tmp_path: Path,
) -> None:
    silent = Behaviour(
        label="a machine that Telnyx knows, and that says nothing",
        callee=Callee(ring_s=0.5, answered_by="machine_start"),
        ends=frozenset({DialOutcome.VOICEMAIL}),
    )
    contacts = cast_of(1, (silent,))
    async with (
        telnyx_exchange() as exchange,
        campaign(tmp_path, contacts, exchange) as run,
    ):
        dials = await dials_of(run.staged)

        assert [dial.outcome for dial in dials.values()] == [DialOutcome.VOICEMAIL]
        assert [text.why for text in run.of(AnswererHeard)] == ["carrier"]
        asked = [action for _, action, _ in exchange.account.commands]
        assert asked == ["streaming_start", "hangup"]


async def test_a_call_whose_end_was_not_reported_has_its_outcome(tmp_path: Path) -> None:
    contacts = cast_of(1, (BUSY,))
    async with telnyx_exchange() as exchange:
        exchange.mute = True
        async with campaign(tmp_path, contacts, exchange) as run:
            dials = await dials_of(run.staged)

            assert [dial.outcome for dial in dials.values()] == [DialOutcome.BUSY]
            assert run.of(LegEnded) == []
