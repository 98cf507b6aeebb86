"""Outbound calls of the carrier: for the REST interface, and for transferred callers.

The statuses arrive in the carrier's order, each with its number, at the given address. Source:
twilio.com/docs/voice/api/call-resource, /voice/twiml/dial, /voice/twiml/refer,
/voice/answering-machine-detection.
"""

import asyncio
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import aiohttp

from lab.simulators.carrier.callee import Callee, DialVerb, converse
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.manner import TwilioManner
from lab.simulators.carrier.webhook import (
    AgentServer,
    NotConnectedError,
    PhoneCall,
    Twiml,
    follow,
    notify,
    read_twiml,
    web_session,
)

# The names of statuses in the REST interface.
EVENTS: Final[Mapping[str, str]] = {
    "queued": "",
    "initiated": "initiated",
    "ringing": "ringing",
    "in-progress": "answered",
}
VERDICT_S: Final = 2.0  # until the answering-machine detection has decided
PRICE: Final = 0.0140  # chosen: for each started minute, in the account's currency


@dataclass(slots=True, kw_only=True)
class Placed:
    """An ordered call."""

    phone: PhoneCall
    order: Mapping[str, str]
    events: frozenset[str]
    created: datetime
    status: str = "queued"
    answered_by: str | None = None
    statuses: list[str] = field(default_factory=list)
    carrier: Carrier | None = None
    talked_s: int = 0  # whole seconds, as billed
    price: str | None = None  # known only some time after the end

    @property
    def over(self) -> bool:
        """Whether the call has its final outcome."""
        return self.status in {"completed", "busy", "no-answer", "failed", "canceled"}


class GivenTwiml(TwilioManner):
    """Twilio's behaviour for a call whose TwiML came with the order."""

    def __init__(self, twiml: Twiml) -> None:
        self._twiml = twiml

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Use that TwiML without a request."""
        return self._twiml


class AskedUrl(TwilioManner):
    """Twilio's behaviour for a call whose order has an instruction URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Request the instructions."""
        twiml = await follow(session, self._url, phone.form(), server=server)
        if twiml.stream_url is None:
            raise NotConnectedError(status=200, said=twiml.said)
        return twiml


class Exchange:
    """Rings callees, and connects those who answer.

    Attributes:
        callees: The behaviour of each number; unknown numbers answer.
        server: The server for webhooks.
        placed: Every call, by its CallSid.
        repeats: How often each status is sent, as by a carrier without an answer.
        billed_after_s: The time from a call's end to its price.
        dialled: The callees of live calls.
    """

    def __init__(self, server: AgentServer | None) -> None:
        """Start without callees."""
        self.callees: dict[str, Callee] = {}
        self.server = server
        self.placed: dict[str, Placed] = {}
        self.repeats = 1
        self.billed_after_s = 2.0
        self.dialled: list[DialVerb] = []

    async def run(self, placed: Placed) -> None:
        """Place a call, and report its progress until it is over."""
        callee = self.callees.get(placed.phone.called, Callee())
        async with web_session() as session:
            await self._become(session, placed, "initiated")
            await self._become(session, placed, "ringing")
            ring_s = float(placed.order.get("Timeout", "60"))
            await asyncio.sleep(min(callee.ring_s, ring_s))
            if placed.over:
                return
            fate = "no-answer" if callee.ring_s > ring_s else callee.fate
            if fate != "answered":
                await self._become(session, placed, fate, SipResponseCode=str(callee.sip))
                return
            await self._talk(session, placed, callee)

    async def _talk(self, session: aiohttp.ClientSession, placed: Placed, callee: Callee) -> None:
        assert self.server is not None  # noqa: S101 - only it can order a call
        await self._become(session, placed, "in-progress")
        began_s = asyncio.get_running_loop().time()
        said = placed.order.get("Twiml")
        carrier = Carrier(
            self.server.base_url,
            self.server.auth_token,
            phone=placed.phone,
            public_url=self.server.public_url,
            manner=AskedUrl(placed.order["Url"]) if said is None else GivenTwiml(read_twiml(said)),
        )
        try:
            async with carrier:
                placed.carrier = carrier
                await converse(carrier, callee, self._judge(session, placed, callee))
        except NotConnectedError:
            pass  # it was answered, and ordered to hang up
        placed.talked_s = max(1, round(asyncio.get_running_loop().time() - began_s))
        lasted = str(placed.talked_s)
        await self._become(session, placed, "completed", SipResponseCode="200", CallDuration=lasted)
        await asyncio.sleep(self.billed_after_s)
        placed.price = f"-{math.ceil(placed.talked_s / 60) * PRICE:.5f}"

    async def _judge(self, session: aiohttp.ClientSession, placed: Placed, callee: Callee) -> None:
        url = placed.order.get("AsyncAmdStatusCallback")
        if url is None or self.server is None:
            return
        await asyncio.sleep(VERDICT_S)
        placed.answered_by = callee.answered_by
        form = {
            "AccountSid": placed.phone.account_sid,
            "CallSid": placed.phone.call_sid,
            "AnsweredBy": callee.answered_by,
            "MachineDetectionDuration": str(round(VERDICT_S * 1000)),
        }
        await notify(session, url, form, server=self.server)

    async def _become(
        self, session: aiohttp.ClientSession, placed: Placed, status: str, **more: str
    ) -> None:
        placed.status = status
        number = len(placed.statuses)
        placed.statuses.append(status)
        url = placed.order.get("StatusCallback")
        if (
            url is None
            or self.server is None
            or EVENTS.get(status, "completed") not in placed.events
        ):
            return
        form = placed.phone.form() | {"CallStatus": status, "SequenceNumber": str(number)} | more
        form["CallbackSource"] = "call-progress-events"
        if placed.answered_by:
            form["AnsweredBy"] = placed.answered_by
        for _ in range(self.repeats):
            await notify(session, url, form, server=self.server)

    async def cancel(self, placed: Placed) -> None:
        """Stop placing a call."""
        async with web_session() as session:
            await self._become(session, placed, "canceled", SipResponseCode="487")

    async def connect(
        self, session: aiohttp.ClientSession, phone: PhoneCall, verb: DialVerb
    ) -> dict[str, str]:
        """Connect a live call with a callee; return the result for the verb's `action`."""
        self.dialled.append(verb)
        callee = self.callees.get(verb.number, Callee())
        rang_s = min(callee.ring_s, verb.timeout_s)
        await asyncio.sleep(rang_s)
        fate = "no-answer" if callee.ring_s > verb.timeout_s else callee.fate
        if verb.refers:
            return {"ReferCallStatus": fate, "ReferSipResponseCode": "202",
                    "NotifySipResponseCode": str(callee.sip)}  # fmt: skip
        child = {"DialCallSid": "CA" + secrets.token_hex(16)}
        if fate != "answered":
            return child | {"DialCallStatus": fate, "DialSipResponseCode": str(callee.sip)}
        if verb.callback and "answered" in verb.events and self.server:
            told: dict[str, Any] = phone.form() | {
                "CallSid": child["DialCallSid"],
                "ParentCallSid": phone.call_sid,
                "CallStatus": "in-progress",
                "Direction": "outbound-dial",
                "SequenceNumber": "2",
            }
            await notify(session, verb.callback, told, server=self.server)
        await asyncio.sleep(callee.talk_s)
        return child | {
            "DialCallStatus": "completed",
            "DialCallDuration": str(round(callee.talk_s)),
        }
