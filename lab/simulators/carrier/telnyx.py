"""Simulates Telnyx: Call Control and Media Streaming.

Source: developers.telnyx.com/docs/voice/programmable-voice/voice-api-webhooks,
/api-reference/call-commands, /api-reference/websockets/stream-call-media-over-websocket.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.simulators import clock
from lab.simulators.carrier.carrier import SAID_S, Carrier
from lab.simulators.carrier.manner import (
    CarrierManner,
    Complaint,
    Order,
    PlayOrder,
    WireForm,
    WireMessage,
)
from lab.simulators.carrier.sound_code import MULAW_CODE, plain_code
from lab.simulators.carrier.webhook import (
    WEBHOOK_ANSWER_S,
    AgentServer,
    CallInstructions,
    LoopbackServer,
    NotConnectedError,
    PhoneCall,
)

CODES: Final = {"PCMU": MULAW_CODE, "L16": plain_code(16000, high_byte_first=True)}
COMMAND_S: Final = 5.0  # for the agent's first command for a call


class EndableCall(Protocol):
    """A call that can be ended."""

    async def hang_up(self, *, by: str = ...) -> None:
        """End it."""
        ...


class TelnyxAccount(LoopbackServer):
    """An account: its keys, its calls, and its REST interface.

    `async with TelnyxAccount() as account`.

    Attributes:
        url: Its address, for `transports.telnyx.api_url`.
        api_key: Authorises commands.
        commands: Call, action and fields of every authorised command that was not refused.
        answer_with: A status to answer instead, as a fault.
        refuses: By action, a status to answer instead.
        late_s: By action, how long its next answer is delayed after the action was carried out.
        repeats: How often each event is sent with the same id; Telnyx may repeat one.
        people: By number, the outcome of a leg to a person: `answered`, or a `hangup_cause`;
            for other numbers `timeout`.
        calls: The known calls, by their ids.
        over: The ids of ended calls.
        states: By call, the `client_state` of its latest command, which all its events carry.
        addresses: By call, the `webhook_url` of its latest command, to which all its events go.
        webhook: The address to which the latest event was posted.
        app: The REST interface; it accepts requests for calls only with a `TelnyxExchange`.
    """

    def __init__(self) -> None:
        """Create new keys, and register the REST routes in `app`; start no server."""
        super().__init__()
        self.api_key = "KEY" + secrets.token_hex(16)
        self.commands: list[tuple[str, str, dict[str, Any]]] = []
        self.answer_with: int | None = None
        self.refuses: dict[str, int] = {}
        self.late_s: dict[str, float] = {}
        self.repeats = 1
        self.people: dict[str, str] = {}
        self.webhook = ""
        self.calls: dict[str, EndableCall] = {}
        self._private = Ed25519PrivateKey.generate()
        self.over: set[str] = set()
        self.states: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self._received = asyncio.Condition()
        self.app.router.add_post("/v2/calls/{call}/actions/{action}", self._serve_command)
        update = "/v2/calls/{call}/actions/{action:client_state_update}"
        self.app.router.add_put(update, self._serve_command)
        self.webhooks: dict[str, str] = {}
        self.app.router.add_get("/v2/phone_numbers", self._serve_numbers)
        self.app.router.add_get("/v2/call_control_applications/{number}", self._serve_application)

    async def _serve_numbers(self, request: web.Request) -> web.Response:
        """List the account's numbers, perhaps only the one asked for."""
        if refused := self.refusal_of(request):
            return refused
        wanted = request.query.get("filter[phone_number]")
        found = [
            {"phone_number": number, "status": "active", "connection_id": number.lstrip("+")}
            for number in self.webhooks
            if wanted in (None, number)
        ]
        return web.json_response({"data": found})

    async def _serve_application(self, request: web.Request) -> web.Response:
        """Answer with where the calls of a number go; the number stands for its application."""
        if refused := self.refusal_of(request):
            return refused
        url = self.webhooks[f"+{request.match_info['number']}"]
        return web.json_response({"data": {"webhook_event_url": url, "active": True}})

    @property
    def public_key(self) -> str:
        """The public key as in Telnyx's portal: base64 of the raw key."""
        raw = self._private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return base64.b64encode(raw).decode()

    def register_call(self, call: Carrier) -> None:
        """Register a call, so that it can be ended."""
        self.calls[call.phone.call_sid] = call

    def signature_headers(self, body: bytes, *, at_s: float | None = None) -> dict[str, str]:
        """Return the headers of a webhook with this body."""
        stamp = str(int(clock.utc_now().timestamp() if at_s is None else at_s))
        proof = self._private.sign(stamp.encode() + b"|" + body)
        return {
            "telnyx-timestamp": stamp,
            "telnyx-signature-ed25519": base64.b64encode(proof).decode(),
            "Content-Type": "application/json",
        }

    async def emit(
        self, session: aiohttp.ClientSession, url: str, event: str, payload: dict[str, Any]
    ) -> None:
        """Post an event of a call, `repeats` times, and remember the address as `webhook`.

        Raises:
            NotConnectedError: The agent's server refuses it.
            TimeoutError: The server does not answer in time.
        """
        self.webhook = url  # `_call_person` reports to the same address
        data = {"record_type": "event", "event_type": event, "id": secrets.token_hex(16)}
        body = json.dumps({"data": data | {"payload": payload}}).encode()
        for _ in range(self.repeats):
            async with (
                asyncio.timeout(WEBHOOK_ANSWER_S),
                session.post(url, data=body, headers=self.signature_headers(body)) as answer,
            ):
                if not answer.ok:
                    raise NotConnectedError(status=answer.status, said=await answer.text())

    async def wait_for_command(
        self, call: str, *actions: str, number: int = 0, within_s: float | None = COMMAND_S
    ) -> tuple[str, dict[str, Any]]:
        """Wait for one of these commands to a call; return its action and its fields.

        Args:
            call: The call's id.
            actions: The actions of the commands.
            number: The index of the command among all such commands so far, from 0.
            within_s: The time limit; `None` for none.

        Raises:
            TimeoutError: It did not come in time.
        """
        async with asyncio.timeout(within_s), self._received:
            while True:
                found = self.commands_so_far(call, *actions)
                if len(found) > number:
                    return found[number]
                await self._received.wait()

    def commands_so_far(self, call: str, *actions: str) -> list[tuple[str, dict[str, Any]]]:
        """Return these commands to a call, without repeats of the same `command_id`."""
        found: dict[object, tuple[str, dict[str, Any]]] = {}
        for number, (call_id, action, fields) in enumerate(self.commands):
            if call_id == call and action in actions:
                found.setdefault(fields.get("command_id", number), (action, fields))
        return list(found.values())

    def refusal_of(self, request: web.Request) -> web.Response | None:
        """Return the answer that refuses a request; `None` if the request may be carried out.

        Its credentials may be wrong. With `answer_with`, every request is refused.
        """
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return telnyx_refusal(401, "10009", "Authentication failed")
        if self.answer_with is not None:
            return telnyx_refusal(self.answer_with, "10007", "Unexpected error")
        return None

    async def _serve_command(self, request: web.Request) -> web.Response:
        """Record and carry out a command, unless it is refused; `late_s` delays only the answer."""
        if refused := self.refusal_of(request):
            return refused
        call, action = request.match_info["call"], request.match_info["action"]
        if call in self.over:
            return telnyx_refusal(422, "90018", "Call has already ended")
        if action in self.refuses:
            return telnyx_refusal(self.refuses[action], "10015", "Bad Request")
        fields = await request.json()
        for name, kept in (("client_state", self.states), ("webhook_url", self.addresses)):
            kept.update({call: fields[name]} if name in fields else {})
        is_repeat = _was_given(self.commands, call, fields)
        async with self._received:
            self.commands.append((call, action, fields))
            self._received.notify_all()
        works = {"transfer": _call_person, "speak": _speak_on_call}
        if action in works and not is_repeat:
            self.start(works[action](self, call, fields))
        if action in ("hangup", "reject"):
            self.over.add(call)
        if action == "hangup" and call in self.calls:
            await self.calls[call].hang_up(by="agent")
        await asyncio.sleep(self.late_s.pop(action, 0.0))
        return web.json_response({"data": {"result": "ok"}})


def _was_given(
    commands: Sequence[tuple[str, str, dict[str, Any]]], call: str, fields: dict[str, Any]
) -> bool:
    """Return whether the call already had a command with this `command_id`, so it is a repeat."""
    name = fields.get("command_id")
    return name is not None and name in [
        given.get("command_id") for call_id, _, given in commands if call_id == call
    ]


async def _speak_on_call(account: TelnyxAccount, call: str, fields: dict[str, Any]) -> None:
    """Say a sentence on a call, and report its end."""
    del fields
    await asyncio.sleep(SAID_S)
    running = account.calls.get(call)
    if not isinstance(running, Carrier):
        return
    payload = telnyx_payload(running.phone) | {"client_state": account.states.get(call)}
    del payload["direction"]  # as in Telnyx's own
    url = account.addresses.get(call, account.webhook)
    with suppress(NotConnectedError, aiohttp.ClientError):  # a refusal has no consequence
        async with aiohttp.ClientSession() as session:
            await account.emit(session, url, "call.speak.ended", payload)


async def _call_person(account: TelnyxAccount, call: str, fields: dict[str, Any]) -> None:
    """Call a person, and report the progress of that leg; `people` decides its outcome."""
    outcome = account.people.get(fields["to"], "timeout")
    url = account.addresses.get(call, account.webhook)
    leg = telnyx_payload(telnyx_call(called=fields["to"])) | {
        "client_state": fields["target_leg_client_state"],
        "direction": "outgoing",
    }
    with suppress(NotConnectedError, aiohttp.ClientError):  # a refusal has no consequence
        async with aiohttp.ClientSession() as session:
            await account.emit(session, url, "call.initiated", leg)
            if outcome == "answered":
                await account.emit(session, url, "call.answered", leg)
                await account.emit(session, url, "call.bridged", leg)
                return
            await asyncio.sleep(float(fields["timeout_secs"]) if outcome == "timeout" else 0.0)
            over = leg | {"hangup_cause": outcome}
            await account.emit(session, url, "call.hangup", over)


class TelnyxManner(CarrierManner):
    """Telnyx's behaviour: signed events, REST commands, snake case; complaints: `error` frames."""

    form = WireForm(
        number="sequence_number",
        stream="stream_id",
        checks_stream=False,
        media={"track": "inbound"},
        dtmf={"occurred_at": "2026-11-21T12:00:00.0Z"},
        unknown="100002: unknown event",
    )

    def __init__(self, account: TelnyxAccount, *, codec: str = "PCMU") -> None:
        """Call through an account, with the codec that the agent is expected to request."""
        self.account = account
        self.code = CODES[codec]
        self._codec = codec

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> CallInstructions:
        """Report the call, wait to be answered, report that, and wait for the stream command."""
        url = f"{server.base_url}/telnyx/voice"
        await self.account.emit(session, url, "call.initiated", self.payload(phone))
        action, fields = await self.account.wait_for_command(phone.call_sid, "answer", "reject")
        if action == "reject":
            raise NotConnectedError(status=200, said=fields["cause"])
        url = self._events_url(phone, server)
        await self.account.emit(session, url, "call.answered", self.payload(phone))
        action, fields = await self.account.wait_for_command(
            phone.call_sid, "streaming_start", "hangup"
        )
        if action == "hangup":
            raise NotConnectedError(status=200, said="hung up")
        return self.stream(fields)

    def payload(self, phone: PhoneCall) -> dict[str, Any]:
        """Return a call's fields in an event."""
        return telnyx_payload(phone) | {"client_state": self.account.states.get(phone.call_sid)}

    def _events_url(self, phone: PhoneCall, server: AgentServer) -> str:
        """Return where a call's events go: to the address that a command for it has set, if any."""
        default = f"{server.base_url}/telnyx/voice"
        return self.account.addresses.get(phone.call_sid, default)

    def stream(self, fields: dict[str, Any]) -> CallInstructions:
        """Return the media address in a `streaming_start`.

        Raises:
            NotConnectedError: It requests another codec or rate than this call uses.
        """
        wanted = {
            "stream_bidirectional_mode": "rtp",
            "stream_bidirectional_codec": self._codec,
            "stream_bidirectional_sampling_rate": self.code.rate_hz,
        }
        found = {name: fields.get(name) for name in wanted}
        if found != wanted:
            raise NotConnectedError(status=200, said=f"the stream would carry {found}")
        parameters = {field["name"]: field["value"] for field in fields["custom_parameters"]}
        # Telnyx has no `action`; any text makes `Carrier` call `resume_after_stream`.
        return CallInstructions(
            stream_url=fields["stream_url"], parameters=parameters, said="", action="webhook"
        )

    async def resume_after_stream(
        self,
        session: aiohttp.ClientSession,
        phone: PhoneCall,
        server: AgentServer,
        last: CallInstructions,
    ) -> CallInstructions:
        """Report that the stream failed; return the next one when the agent's server requests it.

        There is no time limit, and the caller hears silence meanwhile. `last` is not needed.
        """
        # Counted before the event, because the command may come while `emit` still waits.
        number = len(self.account.commands_so_far(phone.call_sid, "streaming_start"))
        url = self._events_url(phone, server)
        reason = {"failure_reason": "connection_failed", "stream_id": phone.stream_sid}
        with suppress(NotConnectedError):  # a refused event does not end the call
            await self.account.emit(session, url, "streaming.failed", self.payload(phone) | reason)
        _, fields = await self.account.wait_for_command(
            phone.call_sid, "streaming_start", number=number, within_s=None
        )
        return self.stream(fields)

    def opening_messages(
        self, phone: PhoneCall, instructions: CallInstructions
    ) -> Sequence[WireMessage]:
        """Return `connected` and `start`."""
        start = {
            "user_id": "3E6F995F-85F7-4705-9741-53B116D28237",
            "call_control_id": phone.call_sid,
            "call_session_id": "ff55a038-6f5d-11ef-9692-02420aeffb1f",
            "from": phone.caller,
            "to": phone.called,
            "tags": [],
            "client_state": "",
            "custom_parameters": dict(instructions.parameters),
            "media_format": {
                "encoding": self._codec,
                "sample_rate": self.code.rate_hz,
                "channels": 1,
            },
        }
        return (
            {"event": "connected", "version": "1.0.0"},
            {
                "event": "start",
                "sequence_number": "1",
                "stream_id": phone.stream_sid,
                "start": start,
            },
        )

    def stop_message(self, phone: PhoneCall) -> WireMessage:
        """Return `stop`."""
        stop = {"user_id": "3E6F995F", "call_control_id": phone.call_sid}
        return {"event": "stop", "stop": stop}

    def play_order(self, sound: bytes) -> Order:
        """Return the order to play a piece, or a complaint about its length."""
        seconds = len(sound) / self.code.sample_bytes / self.code.rate_hz
        if not 0.02 <= seconds <= 30:
            return Complaint(f"100003: a chunk of {seconds:.3f} s")
        return PlayOrder(sound)


def telnyx_call(caller: str = "+15005550006", called: str = "+15005550100") -> PhoneCall:
    """Return a call with ids in Telnyx's format."""
    return PhoneCall(
        caller=caller,
        called=called,
        call_sid="v3:" + secrets.token_urlsafe(40),
        stream_sid=secrets.token_hex(16).upper(),
    )


def telnyx_payload(phone: PhoneCall) -> dict[str, Any]:
    """Return a call's fields in an event."""
    return {
        "call_control_id": phone.call_sid,
        "call_leg_id": "428c31b6-7af4-4bcb-b7f5-5013ef9657c1",
        "call_session_id": "ff55a038-6f5d-11ef-9692-02420aeffb1f",
        "connection_id": "7267xxxxxxxxxxxxxx",
        "client_state": None,
        "direction": "incoming",
        "from": phone.caller,
        "to": phone.called,
        "state": "parked",
    }


def telnyx_refusal(status: int, code: str, title: str) -> web.Response:
    """Return the answer to an invalid request."""
    return web.json_response({"errors": [{"code": code, "title": title}]}, status=status)
