"""Outbound calls of Exotel: an order dials a number and streams to the agent at once.

Source: developer.exotel.com/docs/agentstream/developer-guide ("Connect Voice AI"; the order, its
answer, the stream), /docs/voice-v1/api-reference/status-callback and /call-details,
/docs/references/error-codes. That the stream's `from` is the called number, and that the call ends
with its stream, is inferred: nothing follows the stream.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import aiohttp

from lab.simulators.carrier.behaviour import converse
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner
from lab.simulators.carrier.webhook import (
    ANSWER_S,
    AgentServer,
    NotConnectedError,
    PhoneCall,
    Twiml,
    web_session,
)
from lab.simulators.clock import utc_now

PRICE: Final = "1.500"  # chosen: for any answered call, in the account's currency
RATE_HZ: Final = 8000  # the default, if the address asks for no other
MOST_RING_S: Final = 45.0  # chosen: the order does not say, and networks give up about then


@dataclass(slots=True, kw_only=True)
class ExotelDial:
    """An ordered call."""

    phone: PhoneCall  # its caller is the number that Exotel calls
    order: Mapping[str, str]
    events: frozenset[str]
    created: datetime
    status: str = "in-progress"  # already in the answer to the order
    answered: bool = False
    ended: bool = False
    price: str | None = None
    carrier: Carrier | None = None
    told: list[str] = field(default_factory=list[str])


class GivenStream(ExotelManner):
    """Exotel's behaviour for a call whose order has the media address."""

    def __init__(self, url: str) -> None:
        super().__init__(rate_hz=RATE_HZ)
        self._url = url

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Use that address without a request."""
        return Twiml(stream_url=self._url, parameters={}, said="")


class ExotelExchange:
    """Rings an account's callees, and connects those who answer.

    Attributes:
        callees: The behaviour of each number; unknown numbers answer.
        server: The server for callbacks and streams.
        placed: Every call, by its Sid.
        repeats: How often each callback is sent, as one without an answer may be.
        silent: Events without a callback.
        writes: The format of callbacks.
        billed_after_s: The time from a call's end to its price.
    """

    def __init__(self, server: AgentServer | None = None) -> None:
        """Start without callees."""
        self.callees: dict[str, Callee] = {}
        self.server = server
        self.placed: dict[str, ExotelDial] = {}
        self.repeats = 1
        self.silent: set[str] = set()
        self.writes: Literal["parts", "form", "json"] = "parts"
        self.billed_after_s = 2.0

    async def run(self, dial: ExotelDial) -> None:
        """Place a call, and report its progress until it is over."""
        callee = self.callees.get(dial.phone.caller, Callee())
        await self._tell(dial, "ringing")
        await asyncio.sleep(min(callee.ring_s, MOST_RING_S))
        fate = "no-answer" if callee.ring_s > MOST_RING_S else callee.fate
        if fate == "answered":
            await self._talk(dial, callee)
        dial.status = "completed" if fate == "answered" else fate
        dial.ended = True
        await self._tell(dial, "terminal")
        await asyncio.sleep(self.billed_after_s)
        dial.price = PRICE if dial.answered else "0.000"

    async def _talk(self, dial: ExotelDial, callee: Callee) -> None:
        assert self.server is not None  # noqa: S101 - only it can order a call
        dial.answered = True
        await self._tell(dial, "answered")
        carrier = Carrier(
            self.server.base_url,
            "",
            phone=dial.phone,
            public_url=self.server.public_url,
            manner=GivenStream(dial.order["StreamUrl"]),
        )
        try:
            async with carrier:
                dial.carrier = carrier
                await converse(carrier, callee, _nobody_listens())
        except (NotConnectedError, aiohttp.ClientError):
            pass  # it was answered, and its stream was refused

    async def _tell(self, dial: ExotelDial, event: str) -> None:
        url = dial.order.get("StatusCallback")
        if url is None or self.server is None or event in self.silent or event not in dial.events:
            return
        dial.told.append(event)
        fields = told_of(dial, event)
        async with web_session() as session:
            for _ in range(self.repeats):
                data, kind = written(fields, self.writes)
                async with (
                    asyncio.timeout(ANSWER_S),
                    session.post(self.server.real(url), data=data, headers=kind),
                ):
                    pass


async def _nobody_listens() -> None:
    """Do nothing: this order has no answering-machine detection."""


def told_of(dial: ExotelDial, event: str) -> dict[str, str]:
    """Return a callback's fields."""
    return {
        "CallSid": dial.phone.call_sid,
        "EventType": event,
        "DateCreated": f"{dial.created:%Y-%m-%d %H:%M:%S}",
        "DateUpdated": f"{utc_now():%Y-%m-%d %H:%M:%S}",
        "Status": dial.status,
        "From": dial.order["From"],
        "To": "",
        "PhoneNumberSid": dial.order["CallerId"],
        "Direction": "outbound-api",
        "RecordingUrl": "",
        **({"CustomField": dial.order.get("CustomField", "")} if event == "terminal" else {}),
    }


def written(fields: Mapping[str, str], form: str) -> tuple[Any, dict[str, str]]:
    """Return a callback's body in one of its formats, and its header."""
    if form == "json":
        return json.dumps(fields), {"Content-Type": "application/json"}
    if form == "form":
        return dict(fields), {}
    parts = aiohttp.FormData()
    for name, value in fields.items():
        parts.add_field(name, value, content_type="text/plain")
    return parts, {}


def described(dial: ExotelDial) -> dict[str, Any]:
    """Return a call's record for the account."""
    call = {
        "Sid": dial.phone.call_sid,
        "ParentCallSid": None,
        "DateCreated": f"{dial.created:%Y-%m-%d %H:%M:%S}",
        "From": dial.order["From"],
        "To": "",
        "PhoneNumberSid": dial.order["CallerId"],
        "Status": dial.status,
        "Price": dial.price,
        "Direction": "outbound-api",
        "AnsweredBy": None,
        "RecordingUrl": None,
    }
    return {"Call": call}
