"""The carrier's REST interface: places, finds, redirects and ends calls.

Source: twilio.com/docs/voice/api/call-resource, /api/errors/20003, /20404, /20429, /21211, /21215.
"""

import asyncio
import hmac
import re
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, Final

import aiohttp
from aiohttp import web

from lab.simulators.carrier.callee import read_dial
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exchange import Exchange, Placed
from lab.simulators.carrier.webhook import AgentServer, LoopbackServer, PhoneCall
from lab.simulators.clock import utc_now

NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
MOST_TWIML_CHARS: Final = 4000


class CarrierRest(LoopbackServer):
    """The REST interface of an account: `async with CarrierRest(account_sid, token) as rest`.

    Attributes:
        url: Its address, for `transports.twilio.api_url`.
        calls: The known calls, by CallSid.
        requests: CallSid and requested status of every authorised request.
        answer_with: A status to answer instead, as a fault.
        looks_with: The same for looking a call up.
        looks_after_s: The delay of that answer.
        changes_after_s: The time to carry out and answer an order to a live call.
        breaks_off: Whether such an order is carried out but its connection broken.
        swallow: How many more calls are placed without an answer.
        not_permitted: Prefixes of numbers that the account may not call: its geo permissions.
        calls_per_s: The rate of placing; more calls are refused.
        exchange: Places the calls.
        book: Every ordered call, recorded before any answer: its CallSid, the number, and the
            address of its callbacks, which contains the agent's own id.
    """

    def __init__(
        self, account_sid: str, auth_token: str, *, server: AgentServer | None = None
    ) -> None:
        """Prepare.

        Args:
            account_sid: The account.
            auth_token: Authorises requests.
            server: The server for webhooks of outbound calls.
        """
        super().__init__()
        self.calls: dict[str, Carrier] = {}
        self.requests: list[tuple[str, str]] = []
        self.answer_with: int | None = None
        self.looks_with: int | None = None
        self.looks_after_s, self.changes_after_s = 0.0, 0.0
        self.swallow, self.breaks_off = 0, False
        self.not_permitted: tuple[str, ...] = ()
        self.calls_per_s = 1.0
        self.exchange = Exchange(server)
        self.book: list[tuple[str, str, str]] = []
        self._placed_at = float("-inf")
        self._account_sid = account_sid
        self._proof = aiohttp.encode_basic_auth(account_sid, auth_token)
        base = "/2010-04-01/Accounts/{account}/Calls"
        self.app.router.add_post(base + ".json", self._create)
        self.app.router.add_get(base + ".json", self._list)
        self.app.router.add_get(base + "/{call}.json", self._fetch)
        self.app.router.add_post(base + "/{call}.json", self._update)

    def know(self, call: Carrier) -> None:
        """Register a call, so that it can be ended."""
        self.calls[call.phone.call_sid] = call

    def _turned_away(self, request: web.Request) -> web.Response | None:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), self._proof):
            return _refusal(401, 20003, "Authenticate")
        if self.answer_with is not None:
            return _refusal(self.answer_with, 20500, "Internal Server Error")
        if request.match_info["account"] != self._account_sid:
            return _not_found(request)
        return None

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if refused := self._turned_away(request):
            return refused
        fields = await request.post()
        order = {name: str(value) for name, value in fields.items()}
        self.requests.append(("", order.get("To", "")))
        if refused := _refused(order):
            return refused
        if order["To"].startswith(self.not_permitted):
            return _refusal(403, 21215, f"Account not authorized to call {order['To']}.")
        now = asyncio.get_running_loop().time()
        if now - self._placed_at < 1 / self.calls_per_s:
            return _refusal(429, 20429, "Too Many Requests")
        self._placed_at = now
        placed = self._place(order, frozenset(map(str, fields.getall("StatusCallbackEvent", []))))
        if self.swallow:
            self.swallow -= 1
            if request.transport is not None:
                request.transport.abort()
        return web.json_response(_described(placed), status=201)

    def _place(self, order: dict[str, str], events: frozenset[str]) -> Placed:
        phone = PhoneCall(
            caller=order["From"],
            called=order["To"],
            account_sid=self._account_sid,
            direction="outbound-api",
        )
        placed = Placed(
            phone=phone,
            order=order,
            events=events or frozenset({"completed"}),
            created=utc_now(),
        )
        self.book.append((phone.call_sid, order["To"], order.get("StatusCallback", "")))
        self.exchange.placed[phone.call_sid] = placed
        self._running.append(self._tasks.create_task(self.exchange.run(placed)))
        return placed

    async def _list(self, request: web.Request) -> web.Response:
        if refused := self._turned_away(request):
            return refused
        to = request.query.get("To")
        found = [call for call in self.exchange.placed.values() if to in (None, call.phone.called)]
        newest = sorted(found, key=lambda call: call.created, reverse=True)
        size = int(request.query.get("PageSize", "50"))
        return web.json_response({"calls": [_described(call) for call in newest[:size]]})

    async def _fetch(self, request: web.Request) -> web.Response:
        if refused := self._turned_away(request):
            return refused
        await asyncio.sleep(self.looks_after_s)
        if self.looks_with is not None:
            return _refusal(self.looks_with, 20500, "Internal Server Error")
        placed = self.exchange.placed.get(request.match_info["call"])
        return _not_found(request) if placed is None else web.json_response(_described(placed))

    async def _update(self, request: web.Request) -> web.Response:
        if refused := self._turned_away(request):
            return refused
        sid, form = request.match_info["call"], await request.post()
        wanted = str(form.get("Status"))
        self.requests.append((sid, wanted))
        placed = self.exchange.placed.get(sid)
        call = self.calls.get(sid) or (placed.carrier if placed else None)
        if wanted == "canceled" and placed is not None and placed.carrier is None:
            await self.exchange.cancel(placed)
            return web.json_response(_described(placed))
        if call is None or call.ended.is_set():
            return _not_found(request)
        if self.breaks_off and request.transport is not None:
            request.transport.abort()
        await asyncio.sleep(self.changes_after_s)
        return await self._change(call, form.get("Twiml"), wanted)

    async def _change(self, call: Carrier, twiml: object, wanted: str) -> web.Response:
        if twiml is not None:
            return await self._redirect(call, str(twiml))
        if wanted != "completed":
            return _refusal(400, 21220, "Invalid call state")
        await call.hang_up(by="agent")
        return web.json_response({"sid": call.phone.call_sid, "status": "completed"})

    async def _redirect(self, call: Carrier, twiml: str) -> web.Response:
        verb = read_dial(twiml)
        if verb is None or len(twiml) > MOST_TWIML_CHARS:
            return _refusal(400, 21218, "Invalid TwiML")

        async def hand_on(
            session: aiohttp.ClientSession, phone: PhoneCall
        ) -> tuple[str | None, dict[str, str]]:
            return verb.action, await self.exchange.connect(session, phone, verb)

        await call.redirect(hand_on)
        return web.json_response({"sid": call.phone.call_sid, "status": "in-progress"})


def _refused(order: Mapping[str, str]) -> web.Response | None:
    """Return the answer to an invalid order."""
    if not NUMBER.fullmatch(order.get("To", "")):
        return _refusal(400, 21211, f"The 'To' number {order.get('To')} is not a valid number.")
    if not NUMBER.fullmatch(order.get("From", "")):
        return _refusal(400, 21212, "The 'From' number is not a valid number.")
    if "Url" not in order and "Twiml" not in order:
        return _refusal(400, 21205, "Url parameter is required.")
    return None


def _described(placed: Placed) -> dict[str, Any]:
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
    return _refusal(404, 20404, f"The requested resource {request.path} was not found")


def _refusal(status: int, code: int, message: str) -> web.Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return web.json_response(
        {"code": code, "message": message, "more_info": more, "status": status}, status=status
    )
