"""A call that has lost its process comes to a machine without a free seat."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

import pytest

from bot.call.waiting_answers import REASON, waiting_answers
from calls.events import CallRefused
from calls.resume import ResumeState
from lab.simulators.carrier.carrier import SAID_S, Carrier
from lab.simulators.carrier.webhook import PhoneCall
from operations.database.database import StorageError
from operations.record.callbacks import Callback
from processors.holding.utterance_rules import built_in_texts
from tests.bot.server.test_twilio_after import CONNECTED, ask
from tests.bot.server.twiml import verbs
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.twilio_server import pool, until
from transports.parked import Parked
from transports.pool import HELD_S, SEAT_S

pytestmark = pytest.mark.virtual_time

SAYS_SENTENCES: Final = ("twilio", "telnyx", "plivo")
WAIT: Final = "Einen Moment, bitte."
NOTED: Final = "Vielen Dank. Wir rufen Sie unter dieser Nummer zurück."
NUMBER: Final = "+15005550006"
STATE: Final = ResumeState(call_id="c7", language="de")


@dataclass
class Inbox:
    """Stores callbacks, unless its database fails."""

    kept: list[Callback] = field(default_factory=list)
    fails: bool = False

    async def add(self, wanted: Callback) -> bool:
        if self.fails:
            raise StorageError("the disk is full")
        self.kept.append(wanted)
        return True


def shared(inbox: Inbox) -> Any:
    """Return the parts of a process that the answers use."""

    def callback_number(number: str, *, placed: bool) -> str:
        del placed
        return f"+{number.removeprefix('+')}"  # Plivo sends no plus

    return SimpleNamespace(
        settings=SimpleNamespace(
            agent=SimpleNamespace(language="en"), callbacks=SimpleNamespace(campaign=None)
        ),
        last_resort=SimpleNamespace(utterances=built_in_texts(), callbacks=inbox, messages=None),
        gate=SimpleNamespace(callback_number=callback_number),
    )


async def lose(it: CarrierServer, carrier: str, caller: Carrier) -> None:
    """Store a call's state and fill all seats, after its first stream has been closed."""
    await Parked(it.host.pool, carrier).place(caller.phone.call_sid).keep(STATE)
    it.pool.why_closed = "busy"
    await until(lambda: bool(caller.lost_at))


def said(it: CarrierServer, carrier: str, caller: Carrier) -> Sequence[tuple[str, str]]:
    """Return what the carrier said to the caller; with the language if it is known here."""
    if carrier != "telnyx":
        return [("de-DE", text) for text in caller.announcements]
    spoken = it.telnyx.commands_so_far(caller.phone.call_sid, "speak")
    return [(fields["language"], fields["payload"]) for _, fields in spoken]


def refused(it: CarrierServer) -> Sequence[CallRefused]:
    return [event for event in it.pool.told if isinstance(event, CallRefused)]


@pytest.mark.parametrize("carrier", SAYS_SENTENCES)
async def test_its_caller_is_asked_to_wait_until_there_is_a_seat(carrier: str) -> None:
    inbox = Inbox()
    async with carrier_server(returns_within_s=30, waiting=waiting_answers(shared(inbox))) as it:
        it.pool.full = True  # the first stream is closed before there is a call
        async with it.caller(carrier) as caller:
            await lose(it, carrier, caller)
            await asyncio.sleep(HELD_S - 2 * SEAT_S)
            kept = await Parked(it.host.pool, carrier).look(caller.phone.call_sid)
            assert kept  # nothing is lost meanwhile
            assert kept.call_id == STATE.call_id
            assert it.pool.calls == []
            it.pool.full, it.pool.why_closed = False, ""
            call = await it.pool.call()

            assert len(said(it, carrier, caller)) in (4, 5)
            assert set(said(it, carrier, caller)) == {("de-DE", WAIT)}
            assert call.leg.parked
            assert call.leg.parked.state
            assert call.leg.parked.state.call_id == STATE.call_id
            assert not caller.ended.is_set()
        assert (refused(it), inbox.kept) == ([], [])


@pytest.mark.parametrize(
    ("fails", "last"),
    [
        pytest.param(False, NOTED, id="stored"),
        pytest.param(True, "Es tut mir leid, hier ist etwas schiefgegangen.", id="disk is full"),
    ],
)
@pytest.mark.parametrize("carrier", SAYS_SENTENCES)
async def test_without_a_seat_in_time_a_callback_is_stored(
    carrier: str, *, fails: bool, last: str
) -> None:
    inbox = Inbox(fails=fails)
    async with carrier_server(returns_within_s=30, waiting=waiting_answers(shared(inbox))) as it:
        it.pool.full = True
        async with it.caller(carrier) as caller:
            await lose(it, carrier, caller)
            since_s = caller.now_s
            await asyncio.wait_for(caller.ended.wait(), 60)
            lasted_s = caller.now_s - since_s

        *asked, end = [text for _, text in said(it, carrier, caller)]
        assert HELD_S <= lasted_s <= HELD_S + 2 * (SEAT_S + SAID_S) + 1
        assert set(asked) == {WAIT}
        assert end.startswith(last)
        stored = [(item.call_id, item.number, item.reason) for item in inbox.kept]
        assert stored == ([] if fails else [("c7", NUMBER, REASON)])
        assert refused(it) == [CallRefused(transport=carrier, reason="full")]
        assert caller.ended_by == "agent"


async def test_the_fallback_url_is_told_the_same_about_a_call_that_has_lost_its_machine() -> None:
    phone = PhoneCall()
    async with pool(waiting=waiting_answers(shared(Inbox()))) as it:
        assert verbs(await ask(it, phone, path="voice")) == CONNECTED
        await Parked(it._houses[0], "twilio").place(phone.call_sid).keep(STATE)
        it.why_closed = "busy"

        assert verbs(await ask(it, phone, path="voice")) == ["Response", "Say", "Redirect"]


async def test_exotels_caller_waits_for_a_seat_and_gets_a_callback_stored() -> None:
    inbox = Inbox()
    async with carrier_server(waiting=waiting_answers(shared(inbox))) as it:
        first = it._exotel(None)
        await Parked(it.host.pool, "exotel").place(first.phone.call_sid).keep(STATE)
        it.pool.why_closed = "busy"
        async with first:
            began_s = first.now_s
            await asyncio.wait_for(first.ended.wait(), 20)
            assert SEAT_S <= first.now_s - began_s <= SEAT_S + 1

        assert [(item.call_id, item.reason) for item in inbox.kept] == [("c7", REASON)]
        it.pool.why_closed = ""  # the flow's next step is another stream
        async with it._exotel(first.phone):
            call = await it.pool.call()
            assert call.leg.parked
            assert call.leg.parked.state
            assert call.leg.parked.state.call_id == STATE.call_id
