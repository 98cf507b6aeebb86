"""Campaigns over Twilio, whose callbacks carry our own dial id.

Twilio's API finds a call by Twilio's id, or by number and time. The id comes from the ledger or
from a callback to any process of the worker pool. The search by number and time, for which two
clocks must agree, is used only if the id is unknown. The SIP status of an ended call is only in its
last callback, which is waited for a moment.

Source: twilio.com/docs/voice/api/call-resource, /voice/answering-machine-detection.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from calls.leg_progress import MACHINES, OUTCOMES
from fallbacks.failure import Kind, ServiceError
from transports.dialling import (
    UNANSWERED,
    CarrierNews,
    DialOrder,
    DialPace,
    DialRequest,
    FoundCall,
    carrier_errors,
    outcome_of,
    remember,
)
from transports.rest import number_of
from transports.twilio.rest import MOST_RING_S, STATUS_PATH, TwilioRest
from transports.twilio.webhook import VOICE_PATH

EVENTS: Final = ("initiated", "ringing", "answered", "completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """Twilio's record of a call.

    Attributes:
        length_s: Of the conversation, in whole seconds; `None` while it goes on, or if there was
            none.
        cost: In the account's currency; `None` until it is known, some time after the end.
    """

    call_sid: str
    status: str  # queued, initiated, ringing, in-progress, completed, busy, no-answer, ...
    to: str
    caller: str
    created: datetime | None = None
    answered_by: str = ""
    length_s: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioCalls:
    """Places calls of one account; callbacks come to our address.

    Every method raises a classified `ServiceError`; transient failures may be retried. A dial that
    got no answer may have been placed anyway: look it up before a retry.
    """

    rest: TwilioRest
    public_url: str

    async def dial(self, order: DialOrder) -> CallRecord:
        """Order a call."""
        return _record(await self.rest.ask("POST", "Calls", self._fields(order)))

    async def fetch(self, call_sid: str) -> CallRecord:
        """Return a call's record."""
        return _record(await self.rest.ask("GET", f"Calls/{quote(call_sid, safe='')}"))

    async def search(self, *, to: str, since: datetime) -> Sequence[CallRecord]:
        """Return the calls to a number that were ordered since a moment, the newest first.

        Twilio's filter uses the start, which a queued call lacks: so we filter here.
        """
        found = await self.rest.ask("GET", "Calls", (("To", to), ("PageSize", "50")))
        records = [_record(item) for item in found.get("calls", ())]
        whole_s = since.replace(microsecond=0)  # its times have no fractions
        return [
            record for record in records if record.created is not None and record.created >= whole_s
        ]

    async def cancel(self, call_sid: str) -> CallRecord:
        """Stop an unanswered call."""
        fields = (("Status", "canceled"),)
        return _record(await self.rest.ask("POST", f"Calls/{quote(call_sid, safe='')}", fields))

    def _fields(self, order: DialOrder) -> list[tuple[str, str]]:
        ref = urlencode({"dial": order.ref})
        status = f"{self.public_url}{STATUS_PATH}?{ref}"
        fields = [
            ("To", order.to),
            ("From", order.caller),
            ("Url", f"{self.public_url}{VOICE_PATH}?{ref}"),
            ("Method", "POST"),
            ("Timeout", str(max(1, min(MOST_RING_S, round(order.ring_s))))),
            ("StatusCallback", status),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", event) for event in EVENTS),
        ]
        if order.machine:
            fields += [
                ("MachineDetection", order.machine),
                ("AsyncAmd", "true"),  # otherwise a person who answers hears silence for seconds
                ("AsyncAmdStatusCallback", status),
                ("AsyncAmdStatusCallbackMethod", "POST"),
            ]
        return fields


def _record(body: Mapping[str, Any]) -> CallRecord:
    return CallRecord(
        call_sid=str(body.get("sid", "")),
        status=str(body.get("status", "")),
        to=str(body.get("to", "")),
        caller=str(body.get("from", "")),
        created=_moment(body.get("date_created")),
        answered_by=str(body.get("answered_by") or ""),
        length_s=number_of(body.get("duration")),
        cost=_cost(body.get("price")),
    )


def _cost(price: object) -> float | None:
    """Return the cost: Twilio's prices are texts, and negative."""
    amount = number_of(price)
    return None if amount is None else abs(amount)


def _moment(text: object) -> datetime | None:
    try:
        return parsedate_to_datetime(str(text)).astimezone(UTC)
    except ValueError:
        return None


CALLBACK_S: Final = 5.0  # chosen: Twilio calls back within a second of what its record shows


@dataclass(slots=True, kw_only=True)
class TwilioCarrier:
    """One account and one of its numbers.

    Attributes:
        number: Our number, which the callee sees.
        news: What callbacks have reported.
        machine: Twilio's machine detection; empty for none.
        calls_per_s: How many calls the account may place.
    """

    calls: TwilioCalls
    number: str
    news: CarrierNews
    machine: str = "Enable"
    calls_per_s: float = 1.0
    _pace: DialPace = field(init=False)
    # When a call was first seen to be over without a callback, on the loop's clock.
    _over_at: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return its SID."""
        order = request.order(self.number, machine=self.machine)
        placed = await self._pace.place(lambda: self.calls.dial(order), request)
        self.news.refs[request.dial_id] = placed.call_sid
        return placed.call_sid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the carrier's id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; without its id, of the oldest call to the number since."""
        with carrier_errors():
            if call_sid := await self._told_id(dial_id):
                return await self._fetch(dial_id, call_sid)
            since = datetime.fromtimestamp(since_s, UTC)
            known = await self.calls.search(to=to, since=since)
        taken = {sid for ref, sid in self.news.refs.items() if ref != dial_id}
        ours = [call for call in known if call.caller == self.number and call.call_sid not in taken]
        if not ours:
            return None
        self.news.refs[dial_id] = ours[-1].call_sid
        return await self._told(dial_id, _found(ours[-1]))

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop the ringing."""
        with carrier_errors():
            await self.calls.cancel(ordered)

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call; Twilio knows it some time after the call."""
        with carrier_errors():
            return (await self.calls.fetch(provider_call_id)).cost

    async def _fetch(self, dial_id: str, call_sid: str) -> FoundCall | None:
        try:
            return await self._told(dial_id, _found(await self.calls.fetch(call_sid)))
        except ServiceError as error:
            if error.failure.kind is Kind.NOT_FOUND:
                return None  # erased, or a call of a former account or carrier
            raise

    async def _told(self, dial_id: str, found: FoundCall) -> FoundCall:
        """Add the SIP status to a call; it counts as going on while its last callback may come."""
        if found.outcome not in UNANSWERED:
            return found
        heard = await self.news.heard(dial_id)
        if heard is not None and heard.ended is not None:
            self._over_at.pop(dial_id, None)
            return replace(found, verdict=heard.found.verdict)
        now = asyncio.get_running_loop().time()
        if dial_id not in self._over_at:
            remember(self._over_at, dial_id, now)
        if now < self._over_at[dial_id] + CALLBACK_S:
            return FoundCall(provider_call_id=found.provider_call_id)
        return found

    async def _told_id(self, dial_id: str) -> str:
        """Return the call's id from the order or a callback; empty if it is unknown."""
        if call_sid := self.news.refs.get(dial_id):
            return call_sid
        heard = await self.news.heard(dial_id)
        return heard.call_ref if heard else ""


def _found(record: CallRecord) -> FoundCall:
    machine = record.answered_by.startswith(MACHINES)
    return FoundCall(
        provider_call_id=record.call_sid,
        outcome=outcome_of(OUTCOMES.get(record.status), machine=machine),
        answered=record.status in ("in-progress", "completed"),
        length_s=record.length_s or None,
        cost=record.cost,
    )
