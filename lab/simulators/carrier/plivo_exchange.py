"""Outbound calls of Plivo: queued, then live, and recorded some time after the end.

Source: plivo.com/docs/voice/api/call/make-a-call, /machine-detection, /the-call-object,
/retrieve-all-calls, /docs/voice/troubleshooting/hangup-causes; the package `plivo`,
resources/{calls,live_calls,queued_calls}.py and its tests' fixtures (the shapes of a live call, of
a list and of a record). The fields of a hang-up are those of callbacks that customers have shown.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Self

from aiohttp import web

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.exchange import (
    DETECTION_S,
    End,
    Exchange,
    OrderIntake,
    RequestedCall,
    call_back,
)
from lab.simulators.carrier.plivo import (
    PlivoAccount,
    PlivoManner,
    plivo_call,
    plivo_form,
    plivo_uuid,
)
from lab.simulators.carrier.webhook import AgentServer
from lab.simulators.clock import utc_now

INDIA: Final = timezone(timedelta(hours=5, minutes=30))  # records are in the console's own zone
PRICE: Final = 0.0100  # chosen: for each started minute, in the account's currency


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a call ended, in Plivo's terms."""

    code: int
    name: str
    telephony: str  # the telephone network's cause
    status: str


CAUSES: Final[Mapping[End, Cause]] = {
    "answered": Cause(4000, "Normal Hangup", "NORMAL_CLEARING", "completed"),
    "busy": Cause(3010, "Busy Line", "USER_BUSY", "busy"),
    "no-answer": Cause(6010, "Ring Timeout Reached", "NO_ANSWER", "no-answer"),
    "failed": Cause(2000, "Invalid Destination Address", "UNALLOCATED_NUMBER", "failed"),
    "canceled": Cause(1000, "Canceled", "ORIGINATOR_CANCEL", "cancel"),
}


@dataclass(slots=True, kw_only=True)
class PlivoDial(RequestedCall):
    """A requested call.

    Attributes:
        place: The list that contains it: `queued`, `live` or `record`; for some time after its end
            `between`, which is no list.
        machine: Whether answering-machine detection has found a machine.
    """

    request_uuid: str
    place: str = "queued"
    cause: Cause | None = None
    machine: bool = False

    @property
    def total(self) -> str:
        """The price of the call."""
        return f"{self.minutes * PRICE:.5f}"


class PlivoExchange(Exchange[PlivoDial]):
    """Places Plivo's outbound calls.

    Attributes:
        calls_per_s: The rate at which calls are placed; further ones wait.
        recorded_after_s: The time from a call's end to its record.
    """

    def __init__(self, account: PlivoAccount, server: AgentServer | None = None) -> None:
        """Start without callees."""
        super().__init__(server)
        self.calls_per_s = 2.0
        self.recorded_after_s = 2.0
        self._account = account
        self._free_at = 0.0

    def _ring_s(self, placed: PlivoDial) -> float:
        return float(placed.order.get("ring_timeout", 120))

    def _manner_for(self, placed: PlivoDial) -> PlivoManner:
        url = placed.order["answer_url"]
        return PlivoManner(self._account, answer_url=url, extra_fields=_request_ids(placed))

    async def _report_ringing(self, placed: PlivoDial) -> None:
        """Wait until the rate allows the call, then report that it rings, unless it was ended."""
        loop = asyncio.get_running_loop()
        at = max(loop.time(), self._free_at)
        self._free_at = at + 1 / self.calls_per_s
        await asyncio.sleep(at - loop.time())
        if placed.over:
            placed.cancelled.set()
            return
        placed.place = "live"
        await self._report_status(placed, "ring_url", "Ring", "ringing")

    async def _report_answer(self, placed: PlivoDial) -> None:
        placed.status = "in-progress"
        placed.statuses.append("in-progress")

    async def _report_detection(self, placed: PlivoDial, callee: Callee) -> None:
        """Let commands find the call; if detection was requested, report a machine."""
        assert placed.carrier is not None  # noqa: S101 - the call is in progress
        self._account.register_call(placed.carrier)  # from now on, live requests find the call
        if not placed.order.get("machine_detection"):
            return
        await asyncio.sleep(DETECTION_S)
        placed.machine = callee.answered_by.startswith("machine")
        if placed.machine:
            form = {"Machine": "true", "IfMachine": "continue"}
            await self._post_form(placed, "machine_detection_url", "MachineDetection", form)

    async def _report_end(self, placed: PlivoDial, callee: Callee, fate: End) -> None:
        del callee
        await self.finish(placed, fate)

    async def finish(self, placed: PlivoDial, fate: End) -> None:
        """Report the end of a call; list its record after `recorded_after_s`."""
        cause = CAUSES[fate]
        placed.cause, placed.place, placed.ended = cause, "between", utc_now()
        fields = {
            "HangupCause": cause.telephony,
            "HangupCauseCode": str(cause.code),
            "HangupCauseName": cause.name,
            "HangupSource": "Callee" if placed.answered else "Carrier",
            "Duration": str(placed.talked_s),
            "BillDuration": str(placed.minutes * 60),
            "AnswerTime": f"{placed.answered:%Y-%m-%d %H:%M:%S}" if placed.answered else "",
            "TotalCost": placed.total,
        }
        fields |= {"Machine": "true"} if placed.machine else {}
        await self._report_status(placed, "hangup_url", "Hangup", cause.status, **fields)
        await asyncio.sleep(self.recorded_after_s)
        placed.place = "record"

    async def _report_status(
        self, placed: PlivoDial, address: str, event: str, status: str, **more: str
    ) -> None:
        """Set a call's status, and report it to one of the addresses in the request."""
        placed.status = status
        placed.statuses.append(status)
        await self._post_form(placed, address, event, more)

    async def _post_form(
        self, placed: PlivoDial, address: str, event: str, more: dict[str, str]
    ) -> None:
        """Post a signed form to an address in the request, if it has one and the event is on."""
        url = placed.order.get(address)
        if url is None or event in self.silent:
            return
        form = plivo_form(placed.phone, placed.status) | _request_ids(placed) | {"Event": event}
        form |= more
        await call_back(self, url, lambda: (form, self._account.signature_headers(url, form)))


def record_of(dial: PlivoDial) -> dict[str, Any]:
    """Return an ended call's record."""
    uuid = dial.phone.call_sid
    return {
        "answer_time": _time_in_india(dial.answered),
        "api_id": "1",
        "bill_duration": dial.talked_s,
        "billed_duration": dial.minutes * 60,
        "call_direction": "outbound",
        "call_duration": dial.talked_s,
        "call_uuid": uuid,
        "end_time": _time_in_india(dial.ended),
        "from_number": dial.phone.caller,
        "hangup_cause_code": dial.cause.code if dial.cause else 0,
        "hangup_cause_name": dial.cause.name if dial.cause else "",
        "initiation_time": _time_in_india(dial.created),
        "parent_call_uuid": None,
        "resource_uri": f"/v1/Account/MA/Call/{uuid}/",
        "to_number": dial.phone.called.removeprefix("+"),
        "total_amount": dial.total,
        "total_rate": f"{PRICE:.5f}",
    }


def _request_ids(dial: PlivoDial) -> dict[str, str]:
    return {"RequestUUID": dial.request_uuid, "ALegRequestUUID": dial.request_uuid}


def _time_in_india(at: datetime | None) -> str | None:
    """Return a moment as Plivo writes it, in Indian time; `None` stays `None`."""
    return None if at is None else f"{at.astimezone(INDIA):%Y-%m-%d %H:%M:%S}+05:30"


NUMBER: Final = re.compile(r"[1-9]\d{6,14}")
NEEDED: Final = ("from", "to", "answer_url")


class PlivoRestApi(OrderIntake):
    """Plivo's REST interface for calls: `async with PlivoRestApi(account, server) as api`.

    It takes requests, lists queued, live and recorded calls, and cancels or ends calls.

    Attributes:
        exchange: Places the calls.
        one_id: Whether a request and its call have the same id, as in every recorded case.
    """

    def __init__(self, account: PlivoAccount, server: AgentServer | None = None) -> None:
        """Create the interface of an account, which must already listen."""
        super().__init__()
        self.exchange = PlivoExchange(account, server)
        self.one_id = False
        self._account = account

    async def __aenter__(self) -> Self:
        """Begin to accept call requests."""
        self._account.orders = self.ask
        return self

    async def __aexit__(self, *raised: Any) -> None:
        """Stop accepting call requests; the account cancels calls in progress."""
        self._account.orders = None

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer requests about calls."""
        uuid = request.match_info.get("call") or request.match_info.get("request") or ""
        match request.method, uuid:
            case "POST", "":
                return await self._place_order(request)
            case "GET", "":
                return self._list_calls(request.query)
            case "GET", _:
                return self._describe_call(uuid, request.query.get("status", ""))
            case "DELETE", _:
                return self._end_call(uuid, of_call="call" in request.match_info)
            case _:
                return _not_found()

    async def _place_order(self, request: web.Request) -> web.StreamResponse:
        """Record and start a call, unless a field is missing or a number is invalid."""
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
        self.place(self.exchange, dial, order.get("hangup_url", ""), self._account.start)
        self.lose_answer(request)
        answer = {"message": "call fired", "request_uuid": dial.request_uuid, "api_id": "1"}
        return web.json_response(answer, status=201)

    def _list_calls(self, query: Mapping[str, str]) -> web.Response:
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
        ended = [dial for dial in found if f"{dial.ended:%Y-%m-%d %H:%M:%S}" >= since]
        return web.json_response({"api_id": "1", "objects": [record_of(dial) for dial in ended]})

    def _describe_call(self, uuid: str, place: str) -> web.Response:
        """Describe a call that is in the named list; without a name, in the list of records."""
        wanted = place or "record"
        for item in self.exchange.placed.values():
            if item.place == wanted and uuid == _id_in(item, wanted):
                return web.json_response(_live_body(item) if place else record_of(item))
        return _not_found()

    def _end_call(self, uuid: str, *, of_call: bool) -> web.Response:
        """End a call by its id, or an unanswered call by its request's id."""
        for item in self.exchange.placed.values():
            known = item.phone.call_sid == uuid if of_call else item.request_uuid == uuid
            if known and not item.over and (of_call or item.answered is None):
                fate = "canceled" if item.answered is None else "answered"
                self._account.start(self.exchange.finish(item, fate))
                return web.Response(status=204)
        return _not_found()


def _live_body(dial: PlivoDial) -> dict[str, Any]:
    """Return a call that is queued or live, as Plivo describes it."""
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
