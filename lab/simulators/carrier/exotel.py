"""Simulates Exotel: the Voicebot applet's socket.

Source: developer.exotel.com/docs/agentstream/stream-voicebot-applet.
"""

import asyncio
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp
from aiohttp import web

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.exchange import End, Exchange, OrderIntake, RequestedCall, call_back
from lab.simulators.carrier.manner import (
    CarrierManner,
    Complaint,
    Order,
    PlayOrder,
    WireForm,
    WireMessage,
)
from lab.simulators.carrier.sound_code import plain_code
from lab.simulators.carrier.webhook import (
    AgentServer,
    CallInstructions,
    LoopbackServer,
    NotConnectedError,
    PhoneCall,
)
from lab.simulators.clock import utc_now

MIN_BYTES: Final = 3200
MAX_BYTES: Final = 100 * 1024
STEP_BYTES: Final = 320


class ExotelManner(CarrierManner):
    """Exotel's behaviour: no webhook, credentials in the address, long pieces of plain samples.

    Attributes:
        next_step: Whether the flow's next step is the same applet again.
    """

    next_step = False

    form = WireForm(
        number="sequence_number", stream="stream_sid", number_type=int, key={"duration": "120"}
    )
    tick_s = 0.1

    def __init__(self, *, key: str = "", token: str = "", rate_hz: int = 8000) -> None:
        """Call with the applet's credentials."""
        self.code = plain_code(rate_hz)
        self._key = key
        self._token = token

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> CallInstructions:
        """Return the applet's configured address: there is no webhook."""
        headers = {}
        if self._key:
            headers = {"Authorization": aiohttp.encode_basic_auth(self._key, self._token)}
        url = f"{server.public_url.replace('http', 'ws', 1)}/exotel/media"
        return CallInstructions(
            stream_url=f"{url}?sample-rate={self.code.rate_hz}",
            parameters={},
            said="",
            action=url if self.next_step else None,
            headers=headers,
        )

    async def resume_after_stream(
        self,
        session: aiohttp.ClientSession,
        phone: PhoneCall,
        server: AgentServer,
        last: CallInstructions,
    ) -> CallInstructions:
        """Return the next applet's address, which is the same."""
        return last

    def opening_messages(
        self, phone: PhoneCall, instructions: CallInstructions
    ) -> Sequence[WireMessage]:
        """Return `connected` and `start`."""
        start = {
            "stream_sid": phone.stream_sid,
            "call_sid": phone.call_sid,
            "account_sid": phone.account_sid,
            "from": phone.caller,
            "to": phone.called,
            "custom_parameters": {},
            "media_format": {
                "encoding": "audio/x-raw",
                "sample_rate": str(self.code.rate_hz),
                "bit_rate": "16",
            },
        }
        return (
            {"event": "connected"},
            {
                "event": "start",
                "sequence_number": 1,
                "stream_sid": phone.stream_sid,
                "start": start,
            },
        )

    def stop_message(self, phone: PhoneCall) -> WireMessage:
        """Return `stop`."""
        stop = {"call_sid": phone.call_sid, "account_sid": phone.account_sid, "reason": "callended"}
        return {"event": "stop", "stop": stop}

    def play_order(self, sound: bytes) -> Order:
        """Return the order to play a piece, or a complaint about a length that would break up."""
        if not MIN_BYTES <= len(sound) <= MAX_BYTES or len(sound) % STEP_BYTES:
            return Complaint(f"a chunk of {len(sound)} bytes")
        return PlayOrder(sound)


def exotel_call(caller: str = "+15005550006", called: str = "+15005550100") -> PhoneCall:
    """Return a call with ids in Exotel's format."""
    return PhoneCall(
        caller=caller,
        called=called,
        account_sid="exotel1",
        call_sid=secrets.token_hex(16),
        stream_sid=secrets.token_hex(16),
    )


PRICE: Final = "1.500"  # chosen: for any answered call, in the account's currency
RATE_HZ: Final = 8000  # the default, if the address asks for no other
MAX_RING_S: Final = 45.0  # chosen: requests do not set it, and networks give up about then


@dataclass(slots=True, kw_only=True)
class ExotelDial(RequestedCall):
    """A requested call; the caller of its `phone` is the number that Exotel calls."""

    status: str = "in-progress"  # as in the answer to the request


class GivenStreamManner(ExotelManner):
    """Exotel's behaviour for a call whose request has the media address."""

    def __init__(self, url: str) -> None:
        super().__init__(rate_hz=RATE_HZ)
        self._url = url

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> CallInstructions:
        """Return the address in the request; there is no webhook."""
        return CallInstructions(stream_url=self._url, parameters={}, said="")


class ExotelExchange(Exchange[ExotelDial]):
    """Places Exotel's outbound calls: a request dials a number, whose call streams to the agent.

    Source: developer.exotel.com/docs/agentstream/developer-guide ("Connect Voice AI"; the request,
    its answer, the stream), /docs/voice-v1/api-reference/status-callback and /call-details,
    /docs/references/error-codes. Inferred: the stream's `from` is the called number, and the call
    ends with its stream, because nothing follows the stream.

    Attributes:
        callback_format: The format of callbacks.
        billed_after_s: The time from a call's end to its price.
    """

    refusals = (NotConnectedError, aiohttp.ClientError)

    def __init__(self, server: AgentServer | None = None) -> None:
        """Start without callees."""
        super().__init__(server)
        self.callback_format: Literal["parts", "form", "json"] = "parts"
        self.billed_after_s = 2.0

    def number(self, placed: ExotelDial) -> str:
        """Return the callee's number, which is the caller of the stream."""
        return placed.phone.caller

    def _ring_s(self, placed: ExotelDial) -> float:
        del placed
        return MAX_RING_S

    def _manner_for(self, placed: ExotelDial) -> GivenStreamManner:
        return GivenStreamManner(placed.order["StreamUrl"])

    async def _report_ringing(self, placed: ExotelDial) -> None:
        await self._record_and_send_event(placed, "ringing")

    async def _report_answer(self, placed: ExotelDial) -> None:
        await self._record_and_send_event(placed, "answered")

    async def _report_end(self, placed: ExotelDial, callee: Callee, fate: End) -> None:
        """Report the end; the price is known `billed_after_s` later."""
        del callee
        placed.status = "completed" if fate == "answered" else fate
        placed.ended = utc_now()
        await self._record_and_send_event(placed, "terminal")
        await asyncio.sleep(self.billed_after_s)
        placed.price = PRICE if placed.answered else "0.000"

    async def _record_and_send_event(self, placed: ExotelDial, event: str) -> None:
        """Record and send an event, if the request wants it and it is not in `silent`."""
        url = placed.order.get("StatusCallback")
        if url is None or self.server is None or event in self.silent or event not in placed.events:
            return
        placed.statuses.append(event)
        fields = callback_fields(placed, event)
        await call_back(self, url, lambda: encode_callback(fields, self.callback_format))


def callback_fields(dial: ExotelDial, event: str) -> dict[str, str]:
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


def encode_callback(fields: Mapping[str, str], form: str) -> tuple[Any, dict[str, str]]:
    """Return a callback's body in one of the formats, and its headers."""
    if form == "json":
        return json.dumps(fields), {"Content-Type": "application/json"}
    if form == "form":
        return dict(fields), {}
    parts = aiohttp.FormData()
    for name, value in fields.items():
        parts.add_field(name, value, content_type="text/plain")
    return parts, {}


def call_body(dial: ExotelDial) -> dict[str, Any]:
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


NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
MAX_URL_CHARS: Final = 600
MAX_CUSTOM_CHARS: Final = 128
EVENTS: Final = frozenset({"answered", "terminal", "ringing"})
EVENTS_FIELD: Final = "StatusCallbackEvents[]"


class ExotelAccount(LoopbackServer, OrderIntake):
    """An account and its REST interface: `async with ExotelAccount(server) as account`.

    It takes requests for calls, and finds records by Sid only. The refusal of a number on the
    do-not-call list is as customers' code reads it (HTTP 403, "TRAI NDNC" in the message).

    Attributes:
        url: Its address, for `transports.exotel.api_url`.
        exchange: Places its calls.
        answer_with: A status to answer instead, as a fault.
        barred: Numbers on the do-not-call list.
        forgets: Whether look-ups find no call.
    """

    def __init__(self, server: AgentServer | None = None) -> None:
        """Create an account without calls."""
        LoopbackServer.__init__(self)
        OrderIntake.__init__(self)
        self.account_sid = "exotel" + secrets.token_hex(3)
        self.api_key = secrets.token_hex(24)
        self.api_token = secrets.token_hex(24)
        self.exchange = ExotelExchange(server)
        self.answer_with: int | None = None
        self.barred: set[str] = set()
        self.forgets = False
        self.status = "active"
        self.app.router.add_get("/v1/Accounts/{account}.json", self._serve_account)
        base = "/v1/Accounts/{account}/Calls"
        self.app.router.add_post(base + "/connect.json", self._serve_order)
        self.app.router.add_get(base + "/{call}.json", self._serve_call_details)

    def _refusal_of(self, request: web.Request) -> web.Response | None:
        """Return the answer that refuses a request; `None` if the request may be carried out.

        Its credentials may be wrong. With `answer_with`, every request is refused.
        """
        proof = aiohttp.encode_basic_auth(self.api_key, self.api_token)
        if not hmac.compare_digest(request.headers.get("Authorization", ""), proof):
            return _error_response(401, "Authentication failed. Invalid API Key or Token.")
        if self.answer_with is not None:
            return _error_response(self.answer_with, "broken on purpose")
        if request.match_info["account"] != self.account_sid:
            return _error_response(404, "The account does not exist")
        return None

    async def _serve_account(self, request: web.Request) -> web.Response:
        if refused := self._refusal_of(request):
            return refused
        return web.json_response({"Account": {"Sid": self.account_sid, "Status": self.status}})

    async def _serve_order(self, request: web.Request) -> web.StreamResponse:
        """Place a call, unless the request is invalid or its number is barred."""
        if refused := self._refusal_of(request):
            return refused
        fields = await request.post()
        order = {name: str(value) for name, value in fields.items() if name != EVENTS_FIELD}
        events = frozenset(map(str, fields.getall(EVENTS_FIELD, [])))
        if why := _find_error(order, events):
            return _error_response(400, why)
        if order["From"] in self.barred:
            text = f"Call to {order['From']} cannot be made because of TRAI NDNC regulations"
            return _error_response(403, text)
        dial = ExotelDial(
            phone=exotel_call(order["From"], order["CallerId"]),
            order=order,
            events=events or frozenset({"terminal"}),
            created=utc_now(),
        )
        self.place(self.exchange, dial, order.get("CustomField", ""), self.start)
        self.lose_answer(request)
        return web.json_response(call_body(dial))

    async def _serve_call_details(self, request: web.Request) -> web.Response:
        """Answer with a placed call; 404 if it is unknown or `forgets` is set."""
        if refused := self._refusal_of(request):
            return refused
        dial = self.exchange.placed.get(request.match_info["call"])
        if dial is None or self.forgets:
            return _error_response(404, "The call does not exist")
        return web.json_response(call_body(dial))


def _find_error(order: Mapping[str, str], events: frozenset[str]) -> str:
    """Return what is wrong with a request; empty if it is valid."""
    url = order.get("StreamUrl", "")
    errors = {
        "From": not NUMBER.fullmatch(order.get("From", "")),
        "CallerId": not order.get("CallerId"),
        "StreamUrl": not url.startswith(("ws://", "wss://")) or len(url) > MAX_URL_CHARS,
        "StreamType": order.get("StreamType") != "bidirectional",
        "CustomField": len(order.get("CustomField", "")) > MAX_CUSTOM_CHARS,
        "StatusCallbackEvents": not events <= EVENTS,
    }
    return next((f"{name} parameter is invalid" for name, wrong in errors.items() if wrong), "")


def _error_response(status: int, message: str) -> web.Response:
    body: dict[str, Any] = {"RestException": {"Status": status, "Message": message}}
    return web.json_response(body, status=status)
