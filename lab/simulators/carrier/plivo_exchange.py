"""Outbound calls of Plivo: queued, then live, and recorded some time after the end.

Source: plivo.com/docs/voice/api/call/make-a-call, /machine-detection, /the-call-object,
/retrieve-all-calls, /docs/voice/troubleshooting/hangup-causes; the package `plivo`,
resources/{calls,live_calls,queued_calls}.py and its tests' fixtures (the shapes of a live call, of
a list and of a record). The fields of a hang-up are those of callbacks that customers have shown.
"""

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Self

from aiohttp import web

from lab.simulators.carrier.callee import Callee, Fate, converse
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exchange import VERDICT_S
from lab.simulators.carrier.plivo import (
    PlivoAccount,
    PlivoManner,
    plivo_call,
    plivo_form,
    plivo_uuid,
)
from lab.simulators.carrier.webhook import (
    ANSWER_S,
    AgentServer,
    NotConnectedError,
    PhoneCall,
    web_session,
)
from lab.simulators.clock import utc_now

INDIA: Final = timezone(timedelta(hours=5, minutes=30))  # records are in the console's own zone
PRICE: Final = 0.0100  # chosen: for each started minute, in the account's currency


@dataclass(frozen=True, slots=True)
class Cause:
    """The reason of a call's end, in Plivo's words."""

    code: int
    name: str
    telephony: str  # the network's
    status: str


CAUSES: Final[Mapping[Fate, Cause]] = {
    "answered": Cause(4000, "Normal Hangup", "NORMAL_CLEARING", "completed"),
    "busy": Cause(3010, "Busy Line", "USER_BUSY", "busy"),
    "no-answer": Cause(6010, "Ring Timeout Reached", "NO_ANSWER", "no-answer"),
    "failed": Cause(2000, "Invalid Destination Address", "UNALLOCATED_NUMBER", "failed"),
}
CANCELLED: Final = Cause(1000, "Canceled", "ORIGINATOR_CANCEL", "cancel")


@dataclass(slots=True, kw_only=True)
class PlivoDial:
    """An ordered call."""

    phone: PhoneCall
    request_uuid: str
    order: Mapping[str, Any]
    created: datetime
    place: str = "queued"  # live, between, record
    status: str = "queued"
    answered: datetime | None = None
    ended: datetime | None = None
    cause: Cause | None = None
    machine: bool = False
    carrier: Carrier | None = None
    statuses: list[str] = field(default_factory=list[str])

    @property
    def over(self) -> bool:
        """Whether the call has its final outcome."""
        return self.cause is not None

    @property
    def talked_s(self) -> int:
        """Return the conversation's length in whole seconds, as billed."""
        if self.answered is None or self.ended is None:
            return 0
        return max(1, round((self.ended - self.answered).total_seconds()))


class PlivoExchange:
    """Rings an account's callees, and connects those who answer.

    Attributes:
        callees: The behaviour of each number; unknown numbers answer.
        server: The server for webhooks.
        placed: Every call, by its CallUUID.
        calls_per_s: The rate of placing; more calls wait.
        repeats: How often each callback is sent, as one without an answer may be.
        silent: Events without a callback.
        recorded_after_s: The time from a call's end to its record.
    """

    def __init__(self, account: PlivoAccount, server: AgentServer | None = None) -> None:
        """Start without callees."""
        self.callees: dict[str, Callee] = {}
        self.server = server
        self.placed: dict[str, PlivoDial] = {}
        self.calls_per_s = 2.0
        self.repeats = 1
        self.silent: set[str] = set()
        self.recorded_after_s = 2.0
        self._account = account
        self._free_at = 0.0

    async def run(self, dial: PlivoDial) -> None:
        """Place a call, and report its progress until it is over."""
        loop = asyncio.get_running_loop()
        at = max(loop.time(), self._free_at)
        self._free_at = at + 1 / self.calls_per_s
        await asyncio.sleep(at - loop.time())
        if dial.over:
            return
        callee = self.callees.get(dial.phone.called, Callee())
        dial.place = "live"
        await self._tell(dial, "ring_url", "Ring", "ringing")
        ring_s = float(dial.order.get("ring_timeout", 120))
        await asyncio.sleep(min(callee.ring_s, ring_s))
        if dial.over:
            return
        fate = "no-answer" if callee.ring_s > ring_s else callee.fate
        if fate == "answered":
            await self._talk(dial, callee)
        await self.end(dial, CAUSES[fate])

    async def _talk(self, dial: PlivoDial, callee: Callee) -> None:
        assert self.server is not None  # noqa: S101 - only it can order a call
        dial.status, dial.answered = "in-progress", utc_now()
        dial.statuses.append("in-progress")
        manner = PlivoManner(
            self._account, answer_url=dial.order["answer_url"], told=_requested(dial)
        )
        carrier = Carrier(
            self.server.base_url,
            "",
            phone=dial.phone,
            public_url=self.server.public_url,
            manner=manner,
        )
        try:
            async with carrier:
                dial.carrier = carrier
                self._account.know(carrier)
                await converse(carrier, callee, self._judge(dial, callee))
        except NotConnectedError:
            pass  # it was answered, and ordered to hang up

    async def _judge(self, dial: PlivoDial, callee: Callee) -> None:
        if not dial.order.get("machine_detection"):
            return
        await asyncio.sleep(VERDICT_S)
        dial.machine = callee.answered_by.startswith("machine")
        if dial.machine:
            form = {"Machine": "true", "IfMachine": "continue"}
            await self._post(dial, "machine_detection_url", "MachineDetection", form)

    async def end(self, dial: PlivoDial, cause: Cause) -> None:
        """Report a call's end, and record it some time later."""
        dial.cause, dial.place, dial.ended = cause, "between", utc_now()
        told = {
            "HangupCause": cause.telephony,
            "HangupCauseCode": str(cause.code),
            "HangupCauseName": cause.name,
            "HangupSource": "Callee" if dial.answered else "Carrier",
            "Duration": str(dial.talked_s),
            "BillDuration": str(math.ceil(dial.talked_s / 60) * 60),
            "AnswerTime": f"{dial.answered:%Y-%m-%d %H:%M:%S}" if dial.answered else "",
            "TotalCost": _price(dial),
        }
        told |= {"Machine": "true"} if dial.machine else {}
        await self._tell(dial, "hangup_url", "Hangup", cause.status, **told)
        await asyncio.sleep(self.recorded_after_s)
        dial.place = "record"

    async def _tell(
        self, dial: PlivoDial, address: str, event: str, status: str, **more: str
    ) -> None:
        dial.status = status
        dial.statuses.append(status)
        await self._post(dial, address, event, more)

    async def _post(self, dial: PlivoDial, address: str, event: str, more: dict[str, str]) -> None:
        url = dial.order.get(address)
        if url is None or self.server is None or event in self.silent:
            return
        form = plivo_form(dial.phone, dial.status) | _requested(dial) | {"Event": event} | more
        async with web_session() as session:
            for _ in range(self.repeats):
                headers = self._account.signed(url, form)
                async with (
                    asyncio.timeout(ANSWER_S),
                    session.post(self.server.real(url), data=form, headers=headers),
                ):
                    pass


def record_of(dial: PlivoDial) -> dict[str, Any]:
    """Return an ended call's record."""
    uuid = dial.phone.call_sid
    return {
        "answer_time": _moment(dial.answered),
        "api_id": "1",
        "bill_duration": dial.talked_s,
        "billed_duration": math.ceil(dial.talked_s / 60) * 60,
        "call_direction": "outbound",
        "call_duration": dial.talked_s,
        "call_uuid": uuid,
        "end_time": _moment(dial.ended),
        "from_number": dial.phone.caller,
        "hangup_cause_code": dial.cause.code if dial.cause else 0,
        "hangup_cause_name": dial.cause.name if dial.cause else "",
        "initiation_time": _moment(dial.created),
        "parent_call_uuid": None,
        "resource_uri": f"/v1/Account/MA/Call/{uuid}/",
        "to_number": dial.phone.called.removeprefix("+"),
        "total_amount": _price(dial),
        "total_rate": f"{PRICE:.5f}",
    }


def _requested(dial: PlivoDial) -> dict[str, str]:
    return {"RequestUUID": dial.request_uuid, "ALegRequestUUID": dial.request_uuid}


def _price(dial: PlivoDial) -> str:
    return f"{math.ceil(dial.talked_s / 60) * PRICE:.5f}"


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(INDIA):%Y-%m-%d %H:%M:%S}+05:30"


# Plivo's REST interface for calls: orders, the three places of a call, cancelling.
#
# Source: as `plivo_exchange.py`.

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
