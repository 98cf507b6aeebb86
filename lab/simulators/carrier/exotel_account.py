"""Exotel's REST interface for calls: orders, and records, by Sid only.

Source: as `exotel_exchange.py`; the refusal of a number on the do-not-call list is as customers'
code reads it (HTTP 403, "TRAI NDNC" in the message).
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from aiohttp import web

from lab.simulators.carrier.exotel import exotel_call
from lab.simulators.carrier.exotel_exchange import ExotelDial, ExotelExchange, described
from lab.simulators.carrier.loopback_server import LoopbackServer
from lab.simulators.carrier.webhook import AgentServer
from lab.simulators.clock import utc_now

NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
MOST_URL_CHARS: Final = 600
MOST_CUSTOM_CHARS: Final = 128
EVENTS: Final = frozenset({"answered", "terminal", "ringing"})
EVENTS_FIELD: Final = "StatusCallbackEvents[]"


class ExotelAccount(LoopbackServer):
    """An account and its interface: `async with ExotelAccount(server) as account`.

    Attributes:
        url: Its address, for `transports.exotel.api_url`.
        exchange: Places its calls.
        book: Every order, recorded before any answer: the call's Sid, the number, and our own id
            in it.
        answer_with: A status to answer instead, as a fault.
        swallow: How many more calls are placed without an answer.
        barred: Numbers on the do-not-call list.
        forgets: Whether it knows none of the calls.
    """

    def __init__(self, server: AgentServer | None = None) -> None:
        """Prepare."""
        super().__init__()
        self.account_sid = "exotel" + secrets.token_hex(3)
        self.api_key = secrets.token_hex(24)
        self.api_token = secrets.token_hex(24)
        self.exchange = ExotelExchange(server)
        self.book: list[tuple[str, str, str]] = []
        self.answer_with: int | None = None
        self.swallow = 0
        self.barred: set[str] = set()
        self.forgets = False
        base = "/v1/Accounts/{account}/Calls"
        self.app.router.add_post(base + "/connect.json", self._order)
        self.app.router.add_get(base + "/{call}.json", self._describe)

    def _turned_away(self, request: web.Request) -> web.Response | None:
        proof = aiohttp.encode_basic_auth(self.api_key, self.api_token)
        if not hmac.compare_digest(request.headers.get("Authorization", ""), proof):
            return _refusal(401, "Authentication failed. Invalid API Key or Token.")
        if self.answer_with is not None:
            return _refusal(self.answer_with, "broken on purpose")
        if request.match_info["account"] != self.account_sid:
            return _refusal(404, "The account does not exist")
        return None

    async def _order(self, request: web.Request) -> web.StreamResponse:
        if refused := self._turned_away(request):
            return refused
        fields = await request.post()
        order = {name: str(value) for name, value in fields.items() if name != EVENTS_FIELD}
        events = frozenset(map(str, fields.getall(EVENTS_FIELD, [])))
        if why := _wrong(order, events):
            return _refusal(400, why)
        if order["From"] in self.barred:
            text = f"Call to {order['From']} cannot be made because of TRAI NDNC regulations"
            return _refusal(403, text)
        dial = ExotelDial(
            phone=exotel_call(order["From"], order["CallerId"]),
            order=order,
            events=events or frozenset({"terminal"}),
            created=utc_now(),
        )
        self.exchange.placed[dial.phone.call_sid] = dial
        self.book.append((dial.phone.call_sid, order["From"], order.get("CustomField", "")))
        self._running.append(self._tasks.create_task(self.exchange.run(dial)))
        if self.swallow:
            self.swallow -= 1
            if request.transport is not None:
                request.transport.abort()
        return web.json_response(described(dial))

    async def _describe(self, request: web.Request) -> web.Response:
        if refused := self._turned_away(request):
            return refused
        dial = self.exchange.placed.get(request.match_info["call"])
        if dial is None or self.forgets:
            return _refusal(404, "The call does not exist")
        return web.json_response(described(dial))


def _wrong(order: Mapping[str, str], events: frozenset[str]) -> str:
    """Return what is wrong with an order; empty if nothing is."""
    url = order.get("StreamUrl", "")
    wrongs = {
        "From": not NUMBER.fullmatch(order.get("From", "")),
        "CallerId": not order.get("CallerId"),
        "StreamUrl": not url.startswith(("ws://", "wss://")) or len(url) > MOST_URL_CHARS,
        "StreamType": order.get("StreamType") != "bidirectional",
        "CustomField": len(order.get("CustomField", "")) > MOST_CUSTOM_CHARS,
        "StatusCallbackEvents": not events <= EVENTS,
    }
    return next((f"{name} parameter is invalid" for name, wrong in wrongs.items() if wrong), "")


def _refusal(status: int, message: str) -> web.Response:
    told: dict[str, Any] = {"RestException": {"Status": status, "Message": message}}
    return web.json_response(told, status=status)
