"""Plivo's REST interface for calls: orders, the three places of a call, cancelling.

Source: as `plivo_exchange.py`.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, Self

from aiohttp import web

from lab.simulators.carrier.plivo import PlivoAccount, plivo_call, plivo_uuid
from lab.simulators.carrier.plivo_exchange import (
    CANCELLED,
    CAUSES,
    PlivoDial,
    PlivoExchange,
    record_of,
)
from lab.simulators.carrier.webhook import AgentServer
from lab.simulators.clock import utc_now

NUMBER: Final = re.compile(r"[1-9]\d{6,14}")
NEEDED: Final = ("from", "to", "answer_url")


class PlivoRestApi:
    """Accepts an account's orders: `async with PlivoRestApi(account, server) as api`.

    Attributes:
        exchange: Places the calls.
        book: Every order, recorded before any answer: the call's id, the number, and the address
            of its callbacks, which contains the agent's own id.
        one_id: Whether a request's id is its call's, as in every recorded case.
        swallow: How many more calls are placed without an answer.
    """

    def __init__(self, account: PlivoAccount, server: AgentServer | None = None) -> None:
        """Prepare; the account listens already."""
        self.exchange = PlivoExchange(account, server)
        self.book: list[tuple[str, str, str]] = []
        self.one_id = False
        self.swallow = 0
        self._account = account
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Accept the account's orders."""
        await self._tasks.__aenter__()
        self._account.orders = self
        return self

    async def __aexit__(self, *raised: Any) -> None:
        """Accept no more, and stop all ringing."""
        self._account.orders = None
        for item in self._running:
            item.cancel()
        await self._tasks.__aexit__(*raised)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer requests about calls and orders."""
        uuid = request.match_info.get("call") or request.match_info.get("request") or ""
        match request.method, uuid:
            case "POST", "":
                return await self._order(request)
            case "GET", "":
                return self._listed(request.query)
            case "GET", _:
                return self._described(uuid, request.query.get("status", ""))
            case "DELETE", _:
                return self._end(uuid, of_call="call" in request.match_info)
            case _:
                return _not_found()

    async def _order(self, request: web.Request) -> web.StreamResponse:
        order = await request.json()
        for name in NEEDED:
            if name not in order or (name != "answer_url" and not NUMBER.fullmatch(order[name])):
                return web.json_response({"error": f"{name} parameter is invalid"}, status=400)
        phone = plivo_call(f"+{order['from']}", f"+{order['to']}", "outbound")
        dial = PlivoDial(
            phone=phone,
            request_uuid=phone.call_sid if self.one_id else plivo_uuid(),
            order=order,
            created=utc_now(),
        )
        self.exchange.placed[phone.call_sid] = dial
        self.book.append((phone.call_sid, phone.called, order.get("hangup_url", "")))
        self._running.append(self._tasks.create_task(self.exchange.run(dial)))
        if self.swallow:
            self.swallow -= 1
            if request.transport is not None:
                request.transport.abort()
        answer = {"message": "call fired", "request_uuid": dial.request_uuid, "api_id": "1"}
        return web.json_response(answer, status=201)

    def _listed(self, query: Mapping[str, str]) -> web.Response:
        """List the ids of live calls, or the records of ended ones."""
        to, place = query.get("to_number"), query.get("status", "record")
        found = [
            item
            for item in self.exchange.placed.values()
            if item.place == place and (to is None or item.phone.called == f"+{to}")
        ]
        found = found[: int(query.get("limit", "20"))]
        if place != "record":
            ids = [_id_in(item, place) for item in found]
            return web.json_response({"api_id": "1", "calls": ids})
        since = query.get("end_time__gte", "")
        ended = [item for item in found if f"{item.ended:%Y-%m-%d %H:%M:%S}" >= since]
        return web.json_response({"api_id": "1", "objects": [record_of(item) for item in ended]})

    def _described(self, uuid: str, place: str) -> web.Response:
        wanted = place or "record"
        for item in self.exchange.placed.values():
            if item.place == wanted and uuid == _id_in(item, wanted):
                return web.json_response(_going_on(item) if place else record_of(item))
        return _not_found()

    def _end(self, uuid: str, *, of_call: bool) -> web.Response:
        """End a call; by its request's id, an unanswered one."""
        for item in self.exchange.placed.values():
            known = item.phone.call_sid == uuid if of_call else item.request_uuid == uuid
            if known and not item.over and (of_call or item.answered is None):
                cause = CANCELLED if item.answered is None else CAUSES["answered"]
                self._running.append(self._tasks.create_task(self.exchange.end(item, cause)))
                return web.Response(status=204)
        return _not_found()


def _going_on(dial: PlivoDial) -> dict[str, Any]:
    return {
        "api_id": "1",
        "call_status": dial.status,
        "call_uuid": _id_in(dial, dial.place),
        "caller_name": "",
        "direction": "outbound",
        "from": dial.phone.caller,
        "request_uuid": dial.request_uuid,
        "session_start": f"{dial.created:%Y-%m-%d %H:%M:%S.%f}",
        "to": dial.phone.called.removeprefix("+"),
    }


def _id_in(dial: PlivoDial, place: str) -> str:
    return dial.request_uuid if place == "queued" else dial.phone.call_sid


def _not_found() -> web.Response:
    return web.json_response({"api_id": "1", "error": "not found"}, status=404)
