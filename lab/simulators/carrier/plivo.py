"""Simulates Plivo: signed forms, XML, audio streams.

Source: plivo.com/docs/voice/xml/audiostream, /voice/audio-streaming/audio-streaming,
/voice/concepts/signature-validation, /voice/api/call. Its outbound calls are in
`plivo_exchange.py`.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import aiohttp
from aiohttp import web

from lab.simulators.carrier.callee import Callee, DialVerb
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.manner import (
    CarrierManner,
    ClearOrder,
    Complaint,
    MarkOrder,
    Order,
    PlayOrder,
    WireForm,
    WireMessage,
)
from lab.simulators.carrier.sound_code import MULAW_CODE, plain_code
from lab.simulators.carrier.webhook import (
    AgentServer,
    CallInstructions,
    LoopbackServer,
    NotConnectedError,
    PhoneCall,
    ask,
    post,
)

NEVER_S: Final = 3600.0  # if the verb sets no time, it rings until one side gives up
DECLINED: Final = 603
ENDS: Final[Mapping[str, tuple[str, str]]] = {
    "busy": ("busy", "USER_BUSY"),
    "no-answer": ("no-answer", "NO_ANSWER"),
    "timeout": ("timeout", "NO_ANSWER"),
    "failed": ("failed", "UNALLOCATED_NUMBER"),
    "declined": ("failed", "CALL_REJECTED"),
}
"""The status of an unanswered dial, and the network's cause."""


class PlivoSwitch:
    """Connects an account's live calls with callees: `<Dial>`, its callbacks, its action.

    Source: plivo.com/docs/voice/xml/dial, /docs/voice/use-cases/dial-status-reporting; the fields
    of a callback are from a customer's example. Chosen: the cause of a declined call.

    Attributes:
        people: The behaviour of each number or address; unknown ones answer.
        dialled: The callees of all transfers.
        silent: Whether no callback is sent, as if all were lost.
    """

    def __init__(
        self, signature_headers: Callable[[str, Mapping[str, str]], dict[str, str]]
    ) -> None:
        """Start without callees; `signature_headers` signs a form that is posted to an address."""
        self.people: dict[str, Callee] = {}
        self.dialled: list[DialVerb] = []
        self.silent = False
        self._signature_headers = signature_headers

    async def connect(
        self,
        session: aiohttp.ClientSession,
        form: Mapping[str, str],
        verb: DialVerb,
        server: AgentServer,
    ) -> dict[str, str]:
        """Connect a call with a callee; return the result for the verb's `action`."""
        self.dialled.append(verb)
        callee = self.people.get(verb.number, Callee())
        await asyncio.sleep(min(callee.ring_s, verb.timeout_s))
        fields = {"DialRingStatus": "true", "DialALegUUID": form["CallUUID"], "DialBLegUUID": ""}
        end = _end_of(callee, verb)
        if end:
            status, cause = ENDS[end]
            return fields | {"DialStatus": status, "DialHangupCause": cause}
        fields |= {"DialBLegUUID": secrets.token_hex(16)}
        for action in ("answer", "connected"):
            await self._post_dial_callback(
                session, verb, _callback_fields(form, fields, action), server
            )
        await asyncio.sleep(callee.talk_s)
        await self._post_dial_callback(
            session, verb, _callback_fields(form, fields, "hangup"), server
        )
        return fields | {"DialStatus": "completed", "DialHangupCause": "NORMAL_CLEARING"}

    async def _post_dial_callback(
        self,
        session: aiohttp.ClientSession,
        verb: DialVerb,
        message: Mapping[str, str],
        server: AgentServer,
    ) -> None:
        """Post a signed message to a `<Dial>`'s callback URL; not if it has none or `silent`."""
        if verb.callback is None or self.silent:
            return
        headers = self._signature_headers(verb.callback, message)
        await post(session, verb.callback, message, headers, server=server)


def read_plivo_dial(text: str) -> DialVerb | None:
    """Return the verb of an answer that calls a person, if there is one.

    Raises:
        NotConnectedError: It has no valid number, or a method other than POST.
    """
    dial = ElementTree.fromstring(text).find("Dial")  # noqa: S314 - of the server under test
    if dial is None:
        return None
    number, user = dial.findtext("Number"), dial.findtext("User")
    if bool(number) == bool(user) or (user and not user.startswith("sip")):
        raise NotConnectedError(status=200, said=f"an invalid <Dial>: {text}")
    if dial.get("method") != "POST" or dial.get("callbackMethod") != "POST":
        raise NotConnectedError(status=200, said=f"uses GET, which has no route: {text}")
    return DialVerb(
        number=str(number or user),
        action=dial.get("action"),
        timeout_s=float(dial.get("timeout", NEVER_S)),
        callback=dial.get("callbackUrl"),
    )


def _end_of(callee: Callee, verb: DialVerb) -> str:
    """Return why the call is not answered; empty if it is answered."""
    if callee.ring_s > verb.timeout_s:
        return "timeout"
    if callee.sip == DECLINED:
        return "declined"
    return "" if callee.fate == "answered" else callee.fate


def _callback_fields(
    form: Mapping[str, str], fields: Mapping[str, str], action: str
) -> dict[str, str]:
    """Return a callback's fields: those of the caller's call and of the other leg."""
    return {
        "CallUUID": form["CallUUID"],
        "DialALegUUID": fields["DialALegUUID"],
        "DialAction": action,
        "DialBLegFrom": form["From"],
        "DialBLegPosition": "1",
        "DialBLegStatus": "hangup" if action == "hangup" else "answer",
        "DialBLegUUID": fields["DialBLegUUID"],
        "Event": f"Dial{action.capitalize()}",
    }


CODES: Final = {
    "audio/x-mulaw;rate=8000": MULAW_CODE,
    "audio/x-l16;rate=8000": plain_code(8000),
    "audio/x-l16;rate=16000": plain_code(16000),
}
MAX_HEADER_BYTES: Final = 512
NORMAL_CLOSURE: Final = 1000  # RFC 6455, 7.4.1


class PlivoAccount(LoopbackServer):
    """An account and the REST interface of its live calls: `async with PlivoAccount()`.

    Attributes:
        url: Its address, for `transports.plivo.api_url`.
        auth_id: The account.
        auth_token: Signs its forms, and authorises commands.
        requests: Method, call and fields of every authorised request.
        answer_with: A status to answer instead, as a fault.
        orders: Answers look-ups, and requests about calls that are not live; `None` without
            outbound calls.
        switch: Connects its live calls with callees.
        ends_streams: Whether the transfer of a live call ends its stream; otherwise the transfer
            waits until the agent closes the stream.
        loses_orders: Whether transfers of live calls are acknowledged, but not carried out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth_id = "MA" + secrets.token_hex(9).upper()
        self.auth_token = secrets.token_hex(20)
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.answer_with: int | None = None
        self.calls: dict[str, Carrier] = {}
        self.orders: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.switch = PlivoSwitch(self.signature_headers)
        self.ends_streams = False
        self.loses_orders = False
        self.answer_urls: dict[str, str] = {}
        router, base = self.app.router, "/v1/Account/{account}/"
        for path in ("", "Number/{number}/", "Application/{number}/"):
            router.add_get(base + path, self._serve_setup)
        for path in ("Call/", "Request/{request}/", "Call/{call}/", "Call/{call}/DTMF/"):
            router.add_route("*", base + path, self._serve_call)

    def register_call(self, call: Carrier) -> None:
        """Register a call, so that it can be ended."""
        self.calls[call.phone.call_sid] = call

    def signature_headers(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a form posted to `url`."""
        nonce = secrets.token_hex(10)
        return {
            "X-Plivo-Signature-V3": plivo_signature(self.auth_token, url, form, nonce),
            "X-Plivo-Signature-V3-Nonce": nonce,
        }

    def _refusal_of(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request without the account's credentials."""
        proof = aiohttp.encode_basic_auth(self.auth_id, self.auth_token)
        if hmac.compare_digest(request.headers.get("Authorization", ""), proof):
            return None
        return web.json_response({"error": "unauthorized"}, status=401)

    async def _serve_setup(self, request: web.Request) -> web.Response:
        """Describe the account, a number, or the number's application."""
        if refused := self._refusal_of(request):
            return refused
        number = request.match_info.get("number")
        if number is None:
            fields = {"auth_id": self.auth_id, "account_type": "standard", "cash_credits": "10.0"}
        elif (url := self.answer_urls.get(f"+{number}")) is None:
            return web.json_response({"error": "not found"}, status=404)
        elif "/Application/" in request.path:
            fields = {"answer_url": url, "answer_method": "POST"}
        else:
            fields = {
                "number": number,
                "application": request.path.replace("Number", "Application"),
            }
        return web.json_response(fields)

    async def _serve_call(self, request: web.Request) -> web.StreamResponse:
        """Pass a request about a call to `orders`, or obey it for a live inbound call."""
        if refused := self._refusal_of(request):
            return refused
        if self.answer_with is not None:
            return web.json_response({"error": "broken"}, status=self.answer_with)
        call = self.calls.get(request.match_info.get("call", ""))
        if self.orders is not None and (call is None or request.method == "GET"):
            return await self.orders(request)
        return await self._obey_command(request, call)

    async def _obey_command(self, request: web.Request, call: Carrier | None) -> web.Response:
        """Record a request, and hang up, transfer or change the call; 404 if it is over."""
        fields = await request.json() if request.can_read_body else {}
        self.requests.append((request.method, request.match_info.get("call", ""), fields))
        if call is None or call.ended.is_set():
            return web.json_response({"error": "not found"}, status=404)
        if request.method == "DELETE":
            await call.hang_up(by="agent")
            return web.Response(status=204)
        if "legs" in fields:
            return await self._transfer_call(call, fields)
        return web.json_response({"message": "digits sent"}, status=202)

    async def _transfer_call(self, call: Carrier, fields: Mapping[str, Any]) -> web.Response:
        """Make the call ask `aleg_url` after its stream; with `loses_orders`, only claim to."""
        if fields["legs"] != "aleg" or fields.get("aleg_method") != "POST":
            return web.json_response({"error": "invalid parameters"}, status=400)
        if not self.loses_orders:
            # The call asks this address when its stream is over.
            call.instructions = replace(call.instructions, action=fields["aleg_url"])
        if self.ends_streams:
            await call.break_off(NORMAL_CLOSURE)
        return web.json_response({"message": "call transferred", "api_id": "1"}, status=202)


def plivo_signature(token: str, url: str, form: Mapping[str, str], nonce: str) -> str:
    """Return Plivo's V3 signature of a form posted to `url`."""
    parts = urlsplit(url)
    query = "&".join(
        f"{name}={value}" for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True))
    )
    signed = f"{parts.scheme}://{parts.netloc}{parts.path}"
    signed += f"?{query}" if query or form else ""
    signed += "." if query and form else ""
    signed += "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(token.encode(), f"{signed}.{nonce}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class PlivoManner(CarrierManner):
    """Plivo's behaviour: forms, XML, camel case, checkpoints as marks, no message at the end."""

    form = WireForm(
        number="sequenceNumber",
        stream="streamId",
        number_type=int,
        media={"track": "inbound"},
        began_ms=1_705_312_200_000,
        key={"track": "inbound", "timestamp": "1"},
    )
    says_stop = False

    def __init__(
        self,
        account: PlivoAccount,
        *,
        content_type: str = "audio/x-mulaw;rate=8000",
        answer_url: str = "",
        extra_fields: dict[str, str] | None = None,
    ) -> None:
        """Call through an account.

        Args:
            account: The account.
            content_type: The codec that the agent is expected to request.
            answer_url: Of a requested outbound call; the application's by default.
            extra_fields: Additional fields of every form.
        """
        self.account = account
        self._answer_url = answer_url
        self._extra_fields = extra_fields or {}
        self.code = CODES[content_type]
        self._content_type = content_type
        self._extra_headers = ""

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> CallInstructions:
        """Post the form to the answer URL."""
        url = self._answer_url or f"{server.public_url}/plivo/voice"
        status = "in-progress" if self._answer_url else "ringing"
        form = plivo_form(phone, status) | self._extra_fields
        headers = self.account.signature_headers(url, form)
        answer = self._read_answer(await ask(session, url, form, headers, server=server))
        if answer.stream_url is None:
            raise NotConnectedError(status=200, said=answer.said)
        return answer

    async def resume_after_stream(
        self,
        session: aiohttp.ClientSession,
        phone: PhoneCall,
        server: AgentServer,
        last: CallInstructions,
    ) -> CallInstructions:
        """Post the form to the target of the `<Redirect>` after the stream, or of a transfer.

        A `<Dial>` in the answer is carried out first; then its action is asked for instructions.
        """
        form = plivo_form(phone, "in-progress") | self._extra_fields
        url, fields = last.action or "", form
        while True:
            headers = self.account.signature_headers(url, fields)
            text = await ask(session, url, fields, headers, server=server)
            if (verb := read_plivo_dial(text)) is None:
                return self._read_answer(text)
            fields = form | await self.account.switch.connect(session, form, verb, server)
            url = verb.action or ""

    def _read_answer(self, text: str) -> CallInstructions:
        """Read the XML of an answer.

        Raises:
            NotConnectedError: Its `<Stream>` is invalid, or has another codec than expected.
        """
        root = ElementTree.fromstring(text)  # noqa: S314 - the answer of the server under test
        stream, redirect, hangup = (root.find(name) for name in ("Stream", "Redirect", "Hangup"))
        if stream is None:
            reason = "" if hangup is None else hangup.get("reason", "hung up")
            return CallInstructions(
                stream_url=None,
                parameters={},
                said=root.findtext("Speak") or reason,
                redirect=None if redirect is None else redirect.text,
                pause_s=sum(float(wait.get("length", 1)) for wait in root.iter("Wait")),
            )
        headers = stream.get("extraHeaders", "")
        pairs = dict(word.split("=", 1) for word in headers.split(",") if word)
        plain = all(text.isascii() and text.isalnum() for pair in pairs.items() for text in pair)
        wanted = (stream.get("bidirectional"), stream.get("contentType"))
        if wanted != ("true", self._content_type) or not plain or len(headers) > MAX_HEADER_BYTES:
            raise NotConnectedError(status=200, said=f"an invalid <Stream>: {stream.attrib}")
        keeps = stream.get("keepCallAlive") == "true" and redirect is not None
        return CallInstructions(
            stream_url=stream.text,
            parameters=pairs,
            said="",
            action=redirect.text if keeps and redirect is not None else None,
        )

    def opening_messages(
        self, phone: PhoneCall, instructions: CallInstructions
    ) -> Sequence[WireMessage]:
        """Return `start`."""
        encoding, _, rate = self._content_type.partition(";rate=")
        self._extra_headers = ";".join(
            f"{name}={value}" for name, value in instructions.parameters.items()
        )
        start = {
            "callId": phone.call_sid,
            "streamId": phone.stream_sid,
            "accountId": self.account.auth_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": encoding, "sampleRate": int(rate)},
        }
        message = {"event": "start", "sequenceNumber": 1, "start": start}
        return (message | {"extra_headers": self._extra_headers},)

    def with_number(self, message: WireMessage, phone: PhoneCall, number: int) -> WireMessage:
        """Return a message with its number, its stream, and the headers."""
        more = {"extra_headers": self._extra_headers}
        return super().with_number(message, phone, number) | more

    def echo_message(self, name: str) -> WireMessage:
        """Return `playedStream`."""
        return {"event": "playedStream", "name": name}

    def stop_message(self, phone: PhoneCall) -> WireMessage:
        """Return nothing; it is not used, because Plivo sends no such message."""
        return {}

    def find_order(self, message: WireMessage) -> Order | None:
        """Return the agent's order."""
        match message:
            case {"event": "playAudio", "media": {"payload": str(payload)} as media}:
                codec = f"{media.get('contentType')};rate={media.get('sampleRate')}"
                if codec != self._content_type:
                    return Complaint(f"a codec that was not requested: {codec}")
                return PlayOrder(base64.b64decode(payload))
            case {"event": "checkpoint", "name": str(name)}:
                return MarkOrder(name)
            case {"event": "clearAudio"}:
                return ClearOrder()
            case _:
                return None


def plivo_call(
    caller: str = "+15005550006", called: str = "+15005550100", direction: str = "inbound"
) -> PhoneCall:
    """Return a call with ids in Plivo's format."""
    return PhoneCall(
        caller=caller,
        called=called,
        call_sid=plivo_uuid(),
        stream_sid=secrets.token_hex(16),
        direction=direction,
    )


def plivo_uuid() -> str:
    """Return an id in Plivo's format."""
    uuid = secrets.token_hex(16)
    return "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))


def plivo_form(phone: PhoneCall, status: str) -> dict[str, str]:
    """Return a call's form."""
    return {
        "ALegUUID": phone.call_sid,
        "CallUUID": phone.call_sid,
        "CallStatus": status,
        "Direction": phone.direction,
        "Event": "StartApp",
        "From": phone.caller.removeprefix("+"),
        "To": phone.called.removeprefix("+"),
    }
