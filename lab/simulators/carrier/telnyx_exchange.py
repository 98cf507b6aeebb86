"""Outbound calls of Telnyx: the request, its result, and its events.

Source: developers.telnyx.com/api-reference/call-commands/dial, /call-information/*,
/debugging/list-call-events, /callbacks/call-hangup, apispec.telnyx.com/call-cost-received-event.
Chosen, because it is not documented: the shape of an event's `metadata` around the raw event, the
answer to a second request with the same `command_id`, and each cause's SIP code.
"""

import asyncio
import math
import re
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.exchange import DETECTION_S, End, Exchange, OrderIntake, RequestedCall
from lab.simulators.carrier.telnyx import (
    TelnyxAccount,
    TelnyxManner,
    telnyx_call,
    telnyx_payload,
    telnyx_refusal,
)
from lab.simulators.carrier.webhook import (
    AgentServer,
    CallInstructions,
    NotConnectedError,
    PhoneCall,
    web_session,
)
from lab.simulators.clock import utc_now

NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
KNOWN_S: Final = 600.0  # how long a call's status is available after its end
PRICE: Final = 0.0070  # chosen: for each started minute, in the account's currency
CAUSES: Final[Mapping[End, tuple[str, str]]] = {
    "answered": ("normal_clearing", "200"),
    "busy": ("user_busy", "486"),
    "no-answer": ("timeout", "unspecified"),
    "failed": ("not_found", "404"),
    "canceled": ("originator_cancel", "487"),
}
STANDARD: Final = {"human": "human", "machine_start": "machine", "unknown": "not_sure"}
PREMIUM: Final = {
    "human": "human_residence",
    "machine_start": "machine",
    "fax": "fax_detected",
    "unknown": "silence",
}


@dataclass(slots=True, kw_only=True)
class TelnyxRequestedCall(RequestedCall):
    """A requested call.

    Attributes:
        events_sent: Its events so far, in the format of the list of events.
    """

    leg_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    events_sent: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def lasted_s(self) -> float:
        """The time from the request to the call's end; 0 before the end."""
        return 0.0 if self.ended is None else (self.ended - self.created).total_seconds()

    async def hang_up(self, *, by: str = "agent") -> None:
        """End the call, even while it rings."""
        self.cancelled.set()
        if self.carrier is not None:
            await self.carrier.hang_up(by=by)

    def payload(self, **more: str) -> dict[str, Any]:
        """Return its fields in an event."""
        fields = {
            "call_leg_id": self.leg_id,
            "connection_id": self.order["connection_id"],
            "client_state": self.order.get("client_state"),
            "direction": "outgoing",
        }
        return telnyx_payload(self.phone) | fields | more

    def status_body(self) -> dict[str, Any]:
        """Return the body of a status answer, which does not say why the call ended."""
        fields = {
            "record_type": "call",
            "call_control_id": self.phone.call_sid,
            "call_leg_id": self.leg_id,
            "call_session_id": "ff55a038-6f5d-11ef-9692-02420aeffb1f",
            "client_state": self.order.get("client_state"),
            "is_alive": self.answered is not None and self.ended is None,
            "start_time": self.created.isoformat(),
        }
        if self.ended is None:
            return fields
        lasted = round(self.lasted_s)
        return fields | {"end_time": self.ended.isoformat(), "call_duration": lasted}


class DialManner(TelnyxManner):
    """Telnyx's behaviour for an answered outbound call."""

    def __init__(
        self, exchange: "TelnyxExchange", placed: TelnyxRequestedCall, *, codec: str
    ) -> None:
        super().__init__(exchange.account, codec=codec)
        self._exchange, self._placed = exchange, placed

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> CallInstructions:
        """Report the answer, and wait for the stream command."""
        await self._exchange.emit(self._placed, "call.answered")
        commands = ("streaming_start", "hangup")
        action, fields = await self.account.wait_for_command(phone.call_sid, *commands)
        if action == "hangup":
            raise NotConnectedError(status=200, said="hung up")
        return self.stream(fields)

    def payload(self, phone: PhoneCall) -> dict[str, Any]:
        """Return its fields in an event, with the request's `client_state`."""
        return self._placed.payload(**_client_state_field(self.account, self._placed))


class TelnyxExchange(Exchange[TelnyxRequestedCall], OrderIntake):
    """Places Telnyx's outbound calls: `async with telnyx_exchange() as exchange`.

    If you create one directly, do so before the account listens.

    Attributes:
        account: Its REST interface accepts the requests.
        connection_id: Of the application that may place calls.
        over_rate: How many requests were refused because they exceeded the rate.
        mute: Whether events are only listed, not sent.
        lists_late: Whether the list of events lags: it is then empty.
        tells_cost: Whether the application reports costs.
        billed_after_s: The time from a call's end to its cost.
    """

    refusals = (NotConnectedError, TimeoutError)

    def __init__(self, account: TelnyxAccount, *, codec: str = "PCMU") -> None:
        Exchange.__init__(self)
        OrderIntake.__init__(self)
        self.account = account
        self.connection_id = "1684641123236054244"
        self.over_rate = 0
        self.mute = False
        self.lists_late = False
        self.tells_cost = True
        self.billed_after_s = 2.0
        self._codec = codec
        router = account.app.router
        router.add_post("/v2/calls", self._serve_dial)
        router.add_get("/v2/calls/{call}", self._serve_call_details)
        router.add_get("/v2/connections/{connection}/active_calls", self._serve_active_calls)
        router.add_get("/v2/call_events", self._serve_events)

    def _ring_s(self, placed: TelnyxRequestedCall) -> float:
        return float(placed.order.get("timeout_secs", 30))

    def _agent_server_for(self, placed: TelnyxRequestedCall) -> AgentServer:
        where = urlsplit(placed.order["webhook_url"])
        url = f"{where.scheme}://{where.netloc}"
        return AgentServer(base_url=url, public_url=url, auth_token="")

    def _manner_for(self, placed: TelnyxRequestedCall) -> DialManner:
        return DialManner(self, placed, codec=self._codec)

    async def _report_ringing(self, placed: TelnyxRequestedCall) -> None:
        await self.emit(placed, "call.initiated", state="bridging")

    async def _report_detection(self, placed: TelnyxRequestedCall, callee: Callee) -> None:
        """Report the result of machine detection after `DETECTION_S`, if it was requested."""
        means = placed.order.get("answering_machine_detection", "disabled")
        if means == "disabled":
            return
        await asyncio.sleep(DETECTION_S)
        premium = means == "premium"
        result = (PREMIUM if premium else STANDARD).get(callee.answered_by, "not_sure")
        event = f"call.machine.{'premium.' if premium else ''}detection.ended"
        await self.emit(placed, event, result=result)

    async def _report_end(self, placed: TelnyxRequestedCall, callee: Callee, fate: End) -> None:
        """Report the end, and `billed_after_s` later the cost of an answered call."""
        placed.ended = utc_now()
        self.account.over.add(placed.phone.call_sid)
        cause, sip_code = CAUSES[fate]
        in_time = callee.ring_s <= self._ring_s(placed)
        if callee.sip_code is not None and in_time and fate not in ("answered", "canceled"):
            cause, sip_code = "call_rejected", str(callee.sip_code)  # for any other SIP code
        fields = {"hangup_cause": cause, "sip_hangup_cause": sip_code, "hangup_source": "callee"}
        await self.emit(placed, "call.hangup", state="hangup", **fields)
        if self.tells_cost and placed.answered:
            await asyncio.sleep(self.billed_after_s)
            total = f"{math.ceil(placed.lasted_s / 60) * PRICE:.5f}"
            await self.emit(placed, "call.cost", status="valid", total_cost=total)

    async def emit(self, placed: TelnyxRequestedCall, event: str, **more: str) -> None:
        """Record an event, and send it to the call's webhook address unless `mute` is set.

        Raises:
            NotConnectedError: The agent's server refuses it.
            TimeoutError: The server does not answer in time.
        """
        payload = placed.payload(**_client_state_field(self.account, placed), **more)
        data = {"event_type": event, "payload": payload, "record_type": "event"}
        noted = {
            "record_type": "call_event",
            "call_leg_id": placed.leg_id,
            "call_session_id": payload["call_session_id"],
            "event_timestamp": utc_now().isoformat(),
            "name": event,
            "type": "webhook",
            "metadata": {"event": {"data": data}, "status": "delivered"},
        }
        placed.events_sent.append(noted)
        if not self.mute:
            async with web_session() as session:
                await self.account.emit(session, placed.order["webhook_url"], event, payload)

    async def _serve_dial(self, request: web.Request) -> web.StreamResponse:
        """Place a call; a request with a known `command_id` gets the same call again."""
        if refused := self.account.refusal_of(request):
            return refused
        order = await request.json()
        if refused := _check_order(order, self.connection_id):
            return refused
        placed = next(
            (call for call in self.placed.values() if _is_same_request(call.order, order)), None
        )
        if placed is None:
            if self.is_too_soon():
                self.over_rate += 1
                return telnyx_refusal(429, "10011", "Too many requests")
            phone = telnyx_call(caller=order["from"], called=order["to"])
            placed = TelnyxRequestedCall(phone=phone, order=order, created=utc_now())
            self.account.calls[phone.call_sid] = placed
            state = order.get("client_state", "")
            self.place(self, placed, state, lambda work: self.account.start(_run_reported(work)))
        self.lose_answer(request)
        return web.json_response({"data": placed.status_body() | {"is_alive": False}})

    async def _serve_call_details(self, request: web.Request) -> web.Response:
        """Describe a call, until `KNOWN_S` after its end."""
        if refused := self.account.refusal_of(request):
            return refused
        placed = self.placed.get(request.match_info["call"])
        if placed is None or not _is_listed(placed):
            return telnyx_refusal(404, "10005", "Resource not found")
        return web.json_response({"data": placed.status_body()})

    async def _serve_active_calls(self, request: web.Request) -> web.Response:
        """List the connection's calls that have not ended; 404 for another connection."""
        if refused := self.account.refusal_of(request):
            return refused
        if request.match_info["connection"] != self.connection_id:
            return telnyx_refusal(404, "10005", "Resource not found")
        calls = [call.status_body() for call in self.placed.values() if call.ended is None]
        return web.json_response({"data": calls, "meta": {"total_items": len(calls)}})

    async def _serve_events(self, request: web.Request) -> web.Response:
        """List the events of all calls to a number since a time; none while `lists_late` is set."""
        if refused := self.account.refusal_of(request):
            return refused
        to, since = request.query["filter[to]"], request.query["filter[occurred_at][gte]"]
        found = [
            event
            for item in self.placed.values()
            for event in item.events_sent
            if item.phone.called == to
            and not self.lists_late
            and datetime.fromisoformat(event["event_timestamp"]) >= datetime.fromisoformat(since)
        ]
        return web.json_response({"data": found, "meta": {"total_results": len(found)}})


@asynccontextmanager
async def telnyx_exchange() -> AsyncIterator[TelnyxExchange]:
    """Run an account that places calls, during the block."""
    exchange = TelnyxExchange(TelnyxAccount())
    async with exchange.account:
        yield exchange


async def _run_reported(work: Coroutine[Any, Any, None]) -> None:
    """Run a call's work; stop without an error if the agent's server refuses a report or fails."""
    with suppress(NotConnectedError, aiohttp.ClientError, TimeoutError):
        await work


def _check_order(order: Mapping[str, Any], connection_id: str) -> web.Response | None:
    """Return the answer to an invalid request; `None` if it is valid."""
    if order.get("connection_id") != connection_id:
        return telnyx_refusal(422, "10017", "Associated resource does not exist")
    if not all(NUMBER.fullmatch(str(order.get(name))) for name in ("to", "from")):
        return telnyx_refusal(422, "10016", "Phone number must be in +E.164 format")
    return None


def _is_listed(placed: TelnyxRequestedCall) -> bool:
    return placed.ended is None or (utc_now() - placed.ended).total_seconds() < KNOWN_S


def _client_state_field(account: TelnyxAccount, placed: TelnyxRequestedCall) -> dict[str, str]:
    """Return a call's `client_state`, if a command has set one since the request."""
    state = account.states.get(placed.phone.call_sid)
    return {} if state is None else {"client_state": state}


def _is_same_request(order: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    command_id = order.get("command_id")
    return command_id is not None and command_id == other.get("command_id")
