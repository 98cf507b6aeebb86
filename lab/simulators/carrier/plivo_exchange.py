"""Outbound calls of Plivo: queued, then live, and recorded some time after the end.

Source: plivo.com/docs/voice/api/call/make-a-call, /machine-detection, /the-call-object,
/retrieve-all-calls, /docs/voice/troubleshooting/hangup-causes; the package `plivo`,
resources/{calls,live_calls,queued_calls}.py and its tests' fixtures (the shapes of a live call, of
a list and of a record). The fields of a hang-up are those of callbacks that customers have shown.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from lab.simulators.carrier.behaviour import converse
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exchange import VERDICT_S
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_form
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
