"""Twilio's REST interface and its outbound calls: places, finds, redirects and ends calls.

Status callbacks are sent in the carrier's order, each with its sequence number. Source:
twilio.com/docs/voice/api/call-resource, /api/errors/20003, /20404, /20429, /21211, /21215,
/voice/twiml/dial, /voice/twiml/refer, /voice/answering-machine-detection.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, Final

import aiohttp
from aiohttp import web

from lab.simulators.carrier import exchange as outbound
from lab.simulators.carrier.callee import Callee, DialVerb, read_dial_verb
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exchange import End, Exchange, OrderIntake, RequestedCall, call_back
from lab.simulators.carrier.manner import TwilioManner
from lab.simulators.carrier.webhook import (
    AgentServer,
    CallInstructions,
    LoopbackServer,
    NotConnectedError,
    PhoneCall,
    follow,
    notify,
    read_twiml,
    signature,
    web_session,
)
from lab.simulators.clock import utc_now

NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
MAX_TWIML_CHARS: Final = 4000
# The callback event of each status; for any other status, `completed`.
EVENTS: Final[Mapping[str, str]] = {
    "queued": "",
    "initiated": "initiated",
    "ringing": "ringing",
    "in-progress": "answered",
}
PRICE: Final = 0.0140  # chosen: for each started minute, in the account's currency


class GivenTwimlManner(TwilioManner):
    """Twilio's behaviour for a call whose TwiML came with the request."""

    def __init__(self, twiml: CallInstructions) -> None:
        self._twiml = twiml

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> CallInstructions:
        """Return the TwiML of the request; there is no webhook."""
        return self._twiml


class InstructionUrlManner(TwilioManner):
    """Twilio's behaviour for a call whose request has an instruction URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> CallInstructions:
        """Request the instructions; raise `NotConnectedError` if they open no stream."""
        twiml = await follow(session, self._url, phone.form(), server=server)
        if twiml.stream_url is None:
            raise NotConnectedError(status=200, said=twiml.said)
        return twiml


class TwilioExchange(Exchange[RequestedCall]):
    """Places Twilio's outbound calls, including those of transfers.

    Attributes:
        billed_after_s: The time from a call's end to its price.
        dialled: The callees of transferred callers.
    """

    def __init__(self, server: AgentServer | None = None) -> None:
        """Start without callees."""
        super().__init__(server)
        self.billed_after_s = 2.0
        self.dialled: list[DialVerb] = []

    def _ring_s(self, placed: RequestedCall) -> float:
        return float(placed.order.get("Timeout", "60"))

    def _manner_for(self, placed: RequestedCall) -> TwilioManner:
        twiml = placed.order.get("Twiml")
        return (
            InstructionUrlManner(placed.order["Url"])
            if twiml is None
            else GivenTwimlManner(read_twiml(twiml))
        )

    async def _report_ringing(self, placed: RequestedCall) -> None:
        await self._set_status(placed, "initiated")
        await self._set_status(placed, "ringing")

    async def _report_answer(self, placed: RequestedCall) -> None:
        await self._set_status(placed, "in-progress")

    async def _report_detection(self, placed: RequestedCall, callee: Callee) -> None:
        """Post the result of machine detection after `DETECTION_S`, if the request wants it."""
        url = placed.order.get("AsyncAmdStatusCallback")
        if url is None or self.server is None:
            return
        await asyncio.sleep(outbound.DETECTION_S)
        placed.answered_by = callee.answered_by
        form = {
            "AccountSid": placed.phone.account_sid,
            "CallSid": placed.phone.call_sid,
            "AnsweredBy": callee.answered_by,
            "MachineDetectionDuration": str(round(outbound.DETECTION_S * 1000)),
        }
        async with web_session() as session:
            await notify(session, url, form, server=self.server)

    async def _report_end(self, placed: RequestedCall, callee: Callee, fate: End) -> None:
        """Report the end; the price of a conversation is known `billed_after_s` later."""
        placed.ended = utc_now()
        if fate != "answered":
            await self._set_status(placed, fate, SipResponseCode=str(callee.sip))
            return
        lasted = str(placed.talked_s)
        await self._set_status(placed, "completed", SipResponseCode="200", CallDuration=lasted)
        await asyncio.sleep(self.billed_after_s)
        placed.price = f"-{placed.minutes * PRICE:.5f}"

    async def cancel(self, placed: RequestedCall) -> None:
        """Report a ringing call as cancelled; `run` then ends without a further report."""
        placed.ended = utc_now()
        await self._set_status(placed, "canceled", SipResponseCode="487")

    async def _set_status(self, placed: RequestedCall, status: str, **more: str) -> None:
        """Set a call's status, and report it if the request wants that status's event."""
        placed.status = status
        number = len(placed.statuses)
        placed.statuses.append(status)
        url = placed.order.get("StatusCallback")
        if url is None or EVENTS.get(status, "completed") not in placed.events:
            return
        form = placed.phone.form() | {"CallStatus": status, "SequenceNumber": str(number)} | more
        form["CallbackSource"] = "call-progress-events"
        if placed.answered_by:
            form["AnsweredBy"] = placed.answered_by
        token = self.server.auth_token if self.server else ""
        headers = {"X-Twilio-Signature": signature(token, url, form)}
        await call_back(self, url, lambda: (form, headers))

    async def connect(
        self, session: aiohttp.ClientSession, phone: PhoneCall, verb: DialVerb
    ) -> dict[str, str]:
        """Connect a live call with a callee; return the result for the verb's `action`.

        With `<Refer>` it returns once it is known whether the callee answers, with `<Dial>` after
        the conversation, if there is one.
        """
        self.dialled.append(verb)
        callee = self.callees.get(verb.number, Callee())
        await asyncio.sleep(min(callee.ring_s, verb.timeout_s))
        fate = "no-answer" if callee.ring_s > verb.timeout_s else callee.fate
        if verb.refers:
            return {"ReferCallStatus": fate, "ReferSipResponseCode": "202",
                    "NotifySipResponseCode": str(callee.sip)}  # fmt: skip
        child = {"DialCallSid": "CA" + secrets.token_hex(16)}
        if fate != "answered":
            return child | {"DialCallStatus": fate, "DialSipResponseCode": str(callee.sip)}
        if verb.callback and "answered" in verb.events and self.server:
            form: dict[str, Any] = phone.form() | {
                "CallSid": child["DialCallSid"],
                "ParentCallSid": phone.call_sid,
                "CallStatus": "in-progress",
                "Direction": "outbound-dial",
                "SequenceNumber": "2",
            }
            await notify(session, verb.callback, form, server=self.server)
        await asyncio.sleep(callee.talk_s)
        return child | {
            "DialCallStatus": "completed",
            "DialCallDuration": str(round(callee.talk_s)),
        }


class CarrierRest(LoopbackServer, OrderIntake):
    """The REST interface of an account: `async with CarrierRest(account_sid, token) as rest`.

    Attributes:
        url: Its address, for `transports.twilio.api_url`.
        calls: The known calls, by CallSid.
        requests: CallSid and requested status of every authorised change; for a new call, an empty
            text and the called number.
        answer_with: A status to answer instead, as a fault.
        look_up_status: A status to answer to look-ups of a call instead, as a fault.
        look_up_delay_s: The delay of the answer to a look-up.
        change_delay_s: The time to carry out and answer a change of a live call.
        breaks_off: Whether such a change is carried out, but not answered: the connection breaks.
        not_permitted: Prefixes of numbers that the account may not call: its geo permissions.
        exchange: Places the calls.
    """

    def __init__(
        self, account_sid: str, auth_token: str, *, server: AgentServer | None = None
    ) -> None:
        """Create the interface of an account without calls.

        Args:
            account_sid: The account.
            auth_token: Authorises requests.
            server: The server for webhooks of outbound calls.
        """
        LoopbackServer.__init__(self)
        OrderIntake.__init__(self)
        self.calls: dict[str, Carrier] = {}
        self.requests: list[tuple[str, str]] = []
        self.answer_with: int | None = None
        self.look_up_status: int | None = None
        self.look_up_delay_s, self.change_delay_s = 0.0, 0.0
        self.breaks_off = False
        self.not_permitted: tuple[str, ...] = ()
        self.calls_per_s = 1.0
        self.exchange = TwilioExchange(server)
        self._account_sid = account_sid
        self._proof = aiohttp.encode_basic_auth(account_sid, auth_token)
        self.status = "active"
        self.voice_urls: dict[str, str] = {}
        self.app.router.add_get("/2010-04-01/Accounts/{account}.json", self._serve_account)
        numbers = "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json"
        self.app.router.add_get(numbers, self._serve_numbers)
        base = "/2010-04-01/Accounts/{account}/Calls"
        self.app.router.add_post(base + ".json", self._create_call)
        self.app.router.add_get(base + ".json", self._list_calls)
        self.app.router.add_get(base + "/{call}.json", self._serve_call_details)
        self.app.router.add_post(base + "/{call}.json", self._update_call)

    def register_call(self, call: Carrier) -> None:
        """Register a call, so that it can be ended."""
        self.calls[call.phone.call_sid] = call

    def _refusal_of(self, request: web.Request) -> web.Response | None:
        """Return the answer that refuses a request; `None` if the request may be carried out.

        Its credentials may be wrong. With `answer_with`, every request is refused.
        """
        if not hmac.compare_digest(request.headers.get("Authorization", ""), self._proof):
            return _error_response(401, 20003, "Authenticate")
        if self.answer_with is not None:
            return _error_response(self.answer_with, 20500, "Internal Server Error")
        if request.match_info["account"] != self._account_sid:
            return _not_found(request)
        return None

    async def _serve_account(self, request: web.Request) -> web.Response:
        if refused := self._refusal_of(request):
            return refused
        return web.json_response({"sid": self._account_sid, "status": self.status, "type": "Full"})

    async def _serve_numbers(self, request: web.Request) -> web.Response:
        """List the account's numbers with their voice URLs, perhaps only the one asked for."""
        if refused := self._refusal_of(request):
            return refused
        wanted = request.query.get("PhoneNumber")
        found = [
            {"phone_number": number, "voice_url": url, "voice_method": "POST", "trunk_sid": None}
            for number, url in self.voice_urls.items()
            if wanted in (None, number)
        ]
        return web.json_response({"incoming_phone_numbers": found})

    async def _create_call(self, request: web.Request) -> web.StreamResponse:
        """Place a call, unless it is invalid, not permitted or too soon after the last one."""
        if refused := self._refusal_of(request):
            return refused
        fields = await request.post()
        order = {name: str(value) for name, value in fields.items()}
        self.requests.append(("", order.get("To", "")))
        if refused := _check_order(order):
            return refused
        if order["To"].startswith(self.not_permitted):
            return _error_response(403, 21215, f"Account not authorized to call {order['To']}.")
        if self.is_too_soon():
            return _error_response(429, 20429, "Too Many Requests")
        phone = PhoneCall(
            caller=order["From"],
            called=order["To"],
            account_sid=self._account_sid,
            direction="outbound-api",
        )
        events = frozenset(map(str, fields.getall("StatusCallbackEvent", ["completed"])))
        placed = RequestedCall(phone=phone, order=order, events=events, created=utc_now())
        self.place(self.exchange, placed, order.get("StatusCallback", ""), self.start)
        self.lose_answer(request)
        return web.json_response(_call_body(placed), status=201)

    async def _list_calls(self, request: web.Request) -> web.Response:
        """List the calls, newest first, perhaps only those to one number."""
        if refused := self._refusal_of(request):
            return refused
        to = request.query.get("To")
        found = [call for call in self.exchange.placed.values() if to in (None, call.phone.called)]
        newest = sorted(found, key=lambda call: call.created, reverse=True)
        size = int(request.query.get("PageSize", "50"))
        return web.json_response({"calls": [_call_body(call) for call in newest[:size]]})

    async def _serve_call_details(self, request: web.Request) -> web.Response:
        """Answer with a placed call or the error `look_up_status`, after `look_up_delay_s`."""
        if refused := self._refusal_of(request):
            return refused
        await asyncio.sleep(self.look_up_delay_s)
        if self.look_up_status is not None:
            return _error_response(self.look_up_status, 20500, "Internal Server Error")
        placed = self.exchange.placed.get(request.match_info["call"])
        return _not_found(request) if placed is None else web.json_response(_call_body(placed))

    async def _update_call(self, request: web.Request) -> web.Response:
        """Redirect or end a live call, or cancel one that is not answered yet."""
        if refused := self._refusal_of(request):
            return refused
        sid, form = request.match_info["call"], await request.post()
        wanted = str(form.get("Status"))
        self.requests.append((sid, wanted))
        placed = self.exchange.placed.get(sid)
        call = self.calls.get(sid) or (placed.carrier if placed else None)
        if wanted == "canceled" and placed is not None and placed.carrier is None:
            await self.exchange.cancel(placed)
            return web.json_response(_call_body(placed))
        if call is None or call.ended.is_set():
            return _not_found(request)
        if self.breaks_off and request.transport is not None:
            request.transport.abort()
        await asyncio.sleep(self.change_delay_s)
        return await self._change_live_call(call, form.get("Twiml"), wanted)

    async def _change_live_call(self, call: Carrier, twiml: object, wanted: str) -> web.Response:
        """Redirect a live call to TwiML, or end it; refuse any other change."""
        if twiml is not None:
            return await self._redirect_call(call, str(twiml))
        if wanted != "completed":
            return _error_response(400, 21220, "Invalid call state")
        await call.hang_up(by="agent")
        return web.json_response({"sid": call.phone.call_sid, "status": "completed"})

    async def _redirect_call(self, call: Carrier, twiml: str) -> web.Response:
        """End a call's stream, and then dial the number in the TwiML."""
        verb = read_dial_verb(twiml)
        if verb is None or len(twiml) > MAX_TWIML_CHARS:
            return _error_response(400, 21218, "Invalid TwiML")

        async def connect_person(
            session: aiohttp.ClientSession, phone: PhoneCall
        ) -> tuple[str | None, dict[str, str]]:
            return verb.action, await self.exchange.connect(session, phone, verb)

        await call.redirect(connect_person)
        return web.json_response({"sid": call.phone.call_sid, "status": "in-progress"})


def _check_order(order: Mapping[str, str]) -> web.Response | None:
    """Return the answer to an invalid request; `None` if it is valid."""
    if not NUMBER.fullmatch(order.get("To", "")):
        return _error_response(
            400, 21211, f"The 'To' number {order.get('To')} is not a valid number."
        )
    if not NUMBER.fullmatch(order.get("From", "")):
        return _error_response(400, 21212, "The 'From' number is not a valid number.")
    if "Url" not in order and "Twiml" not in order:
        return _error_response(400, 21205, "Url parameter is required.")
    return None


def _call_body(placed: RequestedCall) -> dict[str, Any]:
    """Return a call as Twilio describes it; its duration is null until it is over."""
    return {
        "sid": placed.phone.call_sid,
        "status": placed.status,
        "to": placed.phone.called,
        "from": placed.phone.caller,
        "direction": placed.phone.direction,
        "answered_by": placed.answered_by,
        "date_created": format_datetime(placed.created),
        "duration": str(placed.talked_s) if placed.over else None,
        "price": placed.price,
        "price_unit": "USD",
    }


def _not_found(request: web.Request) -> web.Response:
    return _error_response(404, 20404, f"The requested resource {request.path} was not found")


def _error_response(status: int, code: int, message: str) -> web.Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return web.json_response(
        {"code": code, "message": message, "more_info": more, "status": status}, status=status
    )
