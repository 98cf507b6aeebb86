"""Campaigns over Twilio, whose callbacks carry our own dial id.

Twilio's API finds a call by Twilio's id, or by number and time. The id comes from the ledger or
from a callback to any process of the worker pool. The search by number and time, for which two
clocks must agree, is used only if the id is unknown. The SIP status of an ended call is only in its
last callback, which is waited for a moment.

Source: twilio.com/docs/voice/api/call-resource, /voice/answering-machine-detection.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from calls.leg_progress import MACHINES, OUTCOMES
from fallbacks.failure import Kind, ServiceError
from transports.dialling import (
    UNANSWERED,
    CarrierNews,
    DialPace,
    DialRequest,
    FoundCall,
    carrier_errors,
    outcome_of,
    remember,
)
from transports.rest import number_of
from transports.twilio.rest import MAX_RING_S, STATUS_PATH, TwilioRest
from transports.twilio.webhook import VOICE_PATH

EVENTS: Final = ("initiated", "ringing", "answered", "completed")


CALLBACK_S: Final = 5.0  # chosen: Twilio calls back within a second of what its record shows


@dataclass(slots=True, kw_only=True)
class TwilioCarrier:
    """One account and one of its numbers; callbacks come to the account's public address.

    Attributes:
        rest: The account.
        number: Our number, which the callee sees.
        news: What callbacks have reported.
        machine: Twilio's machine detection; empty for none.
        calls_per_s: How many calls the account may place.
    """

    rest: TwilioRest
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
        fields = self._fields(request)
        placed = await self._pace.place(lambda: self.rest.ask("POST", "Calls", fields), request)
        call_sid = str(placed.get("sid", ""))
        self.news.refs[request.dial_id] = call_sid
        return call_sid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the carrier's id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; without its id, of the oldest call to the number since."""
        with carrier_errors():
            call_sid = await self._told_id(dial_id)
            looked = self._fetch(call_sid) if call_sid else self._search(dial_id, to, since_s)
            call = await looked
        return None if call is None else await self._told(dial_id, _found(call))

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop the ringing."""
        with carrier_errors():
            await self.rest.ask("POST", _call(ordered), (("Status", "canceled"),))

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call; Twilio knows it some time after the call."""
        with carrier_errors():
            return _found(await self.rest.ask("GET", _call(provider_call_id))).cost

    def _fields(self, request: DialRequest) -> list[tuple[str, str]]:
        ref = urlencode({"dial": request.dial_id})
        status = f"{self.rest.public_url}{STATUS_PATH}?{ref}"
        fields = [
            ("To", request.to),
            ("From", self.number),
            ("Url", f"{self.rest.public_url}{VOICE_PATH}?{ref}"),
            ("Method", "POST"),
            ("Timeout", str(max(1, min(MAX_RING_S, round(request.patience_s))))),
            ("StatusCallback", status),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", event) for event in EVENTS),
        ]
        if self.machine:
            fields += [
                ("MachineDetection", self.machine),
                ("AsyncAmd", "true"),  # otherwise a person who answers hears silence for seconds
                ("AsyncAmdStatusCallback", status),
                ("AsyncAmdStatusCallbackMethod", "POST"),
            ]
        return fields

    async def _fetch(self, call_sid: str) -> Mapping[str, Any] | None:
        """Return a call; `None` if it was erased, or is one of a former account or carrier."""
        try:
            return await self.rest.ask("GET", _call(call_sid))
        except ServiceError as error:
            if error.failure.kind is Kind.NOT_FOUND:
                return None
            raise

    async def _search(self, dial_id: str, to: str, since_s: float) -> Mapping[str, Any] | None:
        """Return our oldest call to a number since a moment; `None` if there is none.

        Twilio's filter uses the start, which a queued call lacks: so we filter here.
        """
        listed = await self.rest.ask("GET", "Calls", (("To", to), ("PageSize", "50")))
        taken = {sid for ref, sid in self.news.refs.items() if ref != dial_id}
        ours = [
            call
            for call in listed.get("calls", ())
            if call.get("from") == self.number
            and call.get("sid") not in taken
            and _created_s(call) >= int(since_s)  # its times have no fractions
        ]
        if not ours:
            return None
        self.news.refs[dial_id] = str(ours[-1].get("sid", ""))
        return ours[-1]

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


def _call(call_sid: str) -> str:
    return f"Calls/{quote(call_sid, safe='')}"


def _found(call: Mapping[str, Any]) -> FoundCall:
    """Return a call from Twilio's record; its prices are texts, and negative."""
    status, price = str(call.get("status", "")), number_of(call.get("price"))
    machine = str(call.get("answered_by") or "").startswith(MACHINES)
    return FoundCall(
        provider_call_id=str(call.get("sid", "")),
        outcome=outcome_of(OUTCOMES.get(status), machine=machine),
        answered=status in ("in-progress", "completed"),
        length_s=number_of(call.get("duration")) or None,
        cost=None if price is None else abs(price),
    )


def _created_s(call: Mapping[str, Any]) -> float:
    """Return when a call was ordered, in seconds since 1970; before any time if unknown."""
    try:
        return parsedate_to_datetime(str(call.get("date_created"))).timestamp()
    except ValueError:
        return float("-inf")
