"""Campaigns over Telnyx, Plivo and Exotel: real calls in this process, and their records."""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

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
    StagePlan,
    cast_of,
    staged_server,
)
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.exotel import ExotelAccount
from lab.simulators.carrier.plivo import PlivoAccount
from lab.simulators.carrier.plivo_exchange import PlivoRestApi
from lab.simulators.carrier.telnyx_exchange import TelnyxExchange, telnyx_exchange
from lab.simulators.carrier.webhook import AgentServer
from tests.bot.serving import free_port
from tests.bot.staged_run import Notes, StagedRun, near_lab

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.long]

WITHIN_S: Final = 400.0
MESSAGE: Final = "This is Oak Street Dental about your appointment. Please call us back."


@dataclass(frozen=True, kw_only=True)
class FarEnd:
    """A carrier's side.

    Attributes:
        section: Of the configuration.
        callees: The behaviour of each number.
        account: Has the `book` of the orders, and may `swallow` the answers to some.
    """

    section: dict[str, Any]
    callees: MutableMapping[str, Callee]
    account: Any


OpenFarEnd: TypeAlias = Callable[[AgentServer], AbstractAsyncContextManager[FarEnd]]


@asynccontextmanager
async def telnyx(_: AgentServer) -> AsyncIterator[FarEnd]:
    async with telnyx_exchange() as exchange:
        yield FarEnd(section=_telnyx(exchange), callees=exchange.callees, account=exchange)


def _telnyx(exchange: TelnyxExchange) -> dict[str, Any]:
    return {
        "api_key": SecretStr(exchange.account.api_key),
        "public_key": SecretStr(exchange.account.public_key),
        "api_url": exchange.account.url,
        "connection_id": exchange.connection_id,
        "calls_per_s": 5.0,
    }


@asynccontextmanager
async def plivo(server: AgentServer) -> AsyncIterator[FarEnd]:
    async with PlivoAccount() as account, PlivoRestApi(account, server) as api:
        section = {
            "auth_id": SecretStr(account.auth_id),
            "auth_token": SecretStr(account.auth_token),
            "api_url": account.url,
        }
        yield FarEnd(section=section, callees=api.exchange.callees, account=api)


@asynccontextmanager
async def exotel(server: AgentServer) -> AsyncIterator[FarEnd]:
    async with ExotelAccount(server) as account:
        section = {
            "account_sid": SecretStr(account.account_sid),
            "api_key": SecretStr(account.api_key),
            "api_token": SecretStr(account.api_token),
            "api_url": account.url,
        }
        yield FarEnd(section=section, callees=account.exchange.callees, account=account)


# What differs between the carriers is shown in `tests/transports`.
CARRIERS: Final = (
    telnyx,
    pytest.param(plivo, marks=pytest.mark.doors),
    pytest.param(exotel, marks=pytest.mark.doors),
)


@dataclass(kw_only=True)
class Run(StagedRun):
    """A running campaign, and the carrier's record of it."""

    far: FarEnd

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

    @property
    def ordered(self) -> list[tuple[str, str]]:
        """The carrier's ids of the ordered calls, with their numbers."""
        return [(call_id, number) for call_id, number, *_ in self.far.account.book]


@asynccontextmanager
async def run(
    folder: Path,
    open_far_end: OpenFarEnd,
    contacts: list[StagedContact],
    *,
    prepare: Callable[[Any], None] = lambda _: None,
) -> AsyncIterator[Run]:
    port, notes, name = free_port(), Notes(), open_far_end.__name__
    url = f"http://127.0.0.1:{port}"
    server = AgentServer(base_url=url, public_url=url, auth_token="")
    async with near_lab() as lab, open_far_end(server) as far:
        prepare(far.account)
        far.callees.update({contact.number: contact.behaviour.callee for contact in contacts})
        section = {"enabled": True, "number": OUR_NUMBER} | far.section
        plan = StagePlan(
            contacts=contacts,
            folder=folder,
            port=port,
            campaign={"attempts": 1, "voicemail_text": MESSAGE},
            changes={"transports": {"twilio": {"enabled": False}, name: section}},
            listeners=[notes],
        )
        async with staged_server(lab, plan) as staged:
            yield Run(staged=staged, notes=notes, far=far)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_each_behaviour_has_its_outcome_and_the_records_agree(
    tmp_path: Path, carrier: OpenFarEnd
) -> None:
    contacts = cast_of(4, (CONFIRMS, BUSY, VOICEMAIL, NO_ANSWER))
    async with run(tmp_path, carrier, contacts) as it:
        dials = await it.dials()

        found = [dials[contact.number] for contact in contacts]
        assert [str(dial.outcome) for dial in found] == [
            "completed",
            "busy",
            "voicemail",
            "no_answer",
        ]
        ours = {(dial.provider_call_id, dial.number) for dial in found}
        assert (ours, len(ours)) == (set(it.ordered), len(it.ordered))
        assert all(found[at].cost for at in (0, 2))
        assert len(it.of(DialEnded)) == len(it.of(LegEnded)) == len(contacts)
        begun = {event.dial_id for event in it.of(OutboundCallBegan)}
        assert begun == {found[at].id for at in (0, 2)}
        said = [event.text for event in it.of(AgentSaid)]
        assert sum(DISCLOSURE in text for text in said) == 1
        assert any("Anna" in text for text in said), "the agent did not know the contact"
        assert any(MESSAGE[:30] in text for text in said), "nothing was left after the beep"
        assert "voicemail" in [event.answerer for event in it.of(AnswererHeard)]


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_dial_request_that_was_never_answered_is_one_call(
    tmp_path: Path, carrier: OpenFarEnd
) -> None:
    def swallow(account: Any) -> None:
        account.swallow = 1

    contacts = cast_of(1, (CONFIRMS,))
    async with run(tmp_path, carrier, contacts, prepare=swallow) as it:
        dials = await it.dials()

        [(call_id, number)] = it.ordered
        assert str(dials[number].outcome) == "completed"
        assert dials[number].provider_call_id == call_id
        [asked] = it.of(DialAsked)
        assert (asked.why, asked.known) == ("answer_lost", True)


async def test_a_contact_who_may_have_been_called_is_not_called_again(tmp_path: Path) -> None:
    def silence(account: ExotelAccount) -> None:
        account.swallow = 1
        account.exchange.silent = {"ringing", "answered", "terminal"}

    async with run(tmp_path, exotel, cast_of(1, (BUSY,)), prepare=silence) as it:
        dials = await it.dials()

        [(_, number)] = it.ordered
        assert str(dials[number].outcome) == "unknown"


async def test_a_carriers_detection_is_used_where_nothing_is_heard(tmp_path: Path) -> None:
    silent = Behaviour(
        label="a machine that Telnyx knows, and that says nothing",
        callee=Callee(ring_s=0.5, answered_by="machine_start"),
        ends=frozenset({DialOutcome.VOICEMAIL}),
    )
    async with run(tmp_path, telnyx, cast_of(1, (silent,))) as it:
        dials = await it.dials()

        assert [dial.outcome for dial in dials.values()] == [DialOutcome.VOICEMAIL]
        assert [event.why for event in it.of(AnswererHeard)] == ["carrier"]
        asked = [action for _, action, _ in it.far.account.account.commands]
        assert asked == ["streaming_start", "hangup"]


async def test_a_call_whose_end_was_not_reported_has_its_outcome(tmp_path: Path) -> None:
    def mute(exchange: TelnyxExchange) -> None:
        exchange.mute = True

    async with run(tmp_path, telnyx, cast_of(1, (BUSY,)), prepare=mute) as it:
        dials = await it.dials()

        assert [dial.outcome for dial in dials.values()] == [DialOutcome.BUSY]
        assert it.of(LegEnded) == []
