"""A campaign over Plivo: real calls in this process, and their records."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from calls.campaign_events import DialAsked
from calls.events import AgentSaid, Event
from calls.leg_events import AnswererHeard, LegEnded
from calls.outbound import Dial
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
from lab.simulators.carrier.plivo import PlivoAccount
from lab.simulators.carrier.plivo_exchange import PlivoRestApi
from lab.simulators.carrier.webhook import AgentServer
from tests.bot.serving import free_port
from tests.bot.staged_run import Notes, near_lab

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.long]

WITHIN_S = 300.0
MESSAGE = "This is Oak Street Dental about your appointment. Please call us back."


@dataclass(frozen=True, kw_only=True)
class Run:
    """A running campaign, and the carrier's record of it."""

    staged: StagedServer
    desk: PlivoRestApi
    notes: Notes

    def of(self, kind: type[Event]) -> list[Event]:
        return [entry.event for entry in self.notes.entries if isinstance(entry.event, kind)]

    async def dials(self) -> dict[str, Dial]:
        """Return the ledger by number, when no dial runs and all prices are known."""
        async with asyncio.timeout(WITHIN_S):
            await self.staged.ended()
            while True:
                dials = {dial.number: dial for dial in await self.staged.dials()}
                talked = [dial for dial in dials.values() if dial.answered_s is not None]
                if all(dial.cost is not None for dial in talked):
                    return dials
                await asyncio.sleep(1)


@asynccontextmanager
async def run(
    folder: Path, contacts: list[StagedContact], *, swallow: int = 0
) -> AsyncIterator[Run]:
    port, notes = free_port(), Notes()
    url = f"http://127.0.0.1:{port}"
    server = AgentServer(base_url=url, public_url=url, auth_token="")
    async with near_lab() as lab, PlivoAccount() as account, PlivoRestApi(account, server) as desk:
        desk.swallow = swallow
        desk.exchange.callees |= {contact.number: contact.behaviour.callee for contact in contacts}
        plivo = {
            "enabled": True,
            "auth_id": SecretStr(account.auth_id),
            "auth_token": SecretStr(account.auth_token),
            "number": OUR_NUMBER,
            "api_url": account.url,
        }
        plan = StagePlan(
            contacts=contacts,
            folder=folder,
            port=port,
            campaign={"attempts": 1, "voicemail_text": MESSAGE},
            changes={"transports": {"twilio": {"enabled": False}, "plivo": plivo}},
            listeners=[notes],
        )
        async with staged_server(lab, plan) as staged:
            yield Run(staged=staged, desk=desk, notes=notes)


async def test_each_behaviour_has_its_outcome_and_the_records_agree(tmp_path: Path) -> None:
    each_one: tuple[Behaviour, ...] = (CONFIRMS, BUSY, VOICEMAIL, NO_ANSWER)
    contacts = cast_of(len(each_one), each_one)
    async with run(tmp_path, contacts) as it:
        dials = await it.dials()

        outcomes = [str(dials[contact.number].outcome) for contact in contacts]
        assert outcomes == ["completed", "busy", "voicemail", "no_answer"]
        assert {dial.provider_call_id for dial in dials.values()} == set(it.desk.exchange.placed)
        assert [number for _, number, _ in it.desk.book] == [contact.number for contact in contacts]
        talked = [dials[contacts[at].number] for at in (0, 2)]
        assert [item.cost for item in talked] == [pytest.approx(0.01)] * 2
        assert len(it.of(LegEnded)) == len(contacts)
        said = [text.text for text in it.of(AgentSaid) if isinstance(text, AgentSaid)]
        assert sum(DISCLOSURE in text for text in said) == 1
        assert any("Anna" in text for text in said), "the agent did not know the contact"
        assert any(MESSAGE[:30] in text for text in said), "nothing was left behind the beep"
        heard = [text.answerer for text in it.of(AnswererHeard) if isinstance(text, AnswererHeard)]
        assert sorted(heard) == ["undecided", "voicemail"]  # a silent answerer is a person


async def test_a_dial_whose_request_was_never_answered_is_one_call(tmp_path: Path) -> None:
    contacts = cast_of(1, (CONFIRMS,))
    async with run(tmp_path, contacts, swallow=1) as it:
        dials = await it.dials()

        [(uuid, number, _)] = it.desk.book
        assert str(dials[number].outcome) == "completed"
        assert dials[number].provider_call_id == uuid
        [asked] = it.of(DialAsked)
        assert isinstance(asked, DialAsked)
        assert (asked.why, asked.known) == ("answer_lost", True)
