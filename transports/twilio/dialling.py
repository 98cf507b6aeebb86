"""Campaigns over Twilio, whose callbacks carry our own dial id.

Twilio's API finds a call by Twilio's id, or by number and time. The id comes from the response to
the call request, from the ledger, or from a callback to any process of the worker pool. A call is
searched for by number and time only if its id is unknown, because this requires that Twilio's clock
agrees with ours. The SIP status of an ended call is only in its last callback, so the end of an
unanswered call is reported up to `CALLBACK_S` late, to wait for that callback.

Source: twilio.com/docs/voice/api/call-resource, /voice/answering-machine-detection.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    dial_outcome_of,
    remember,
)
from transports.rest import number_of
from transports.twilio.rest import MAX_RING_S, STATUS_PATH, TwilioRest, created_s
from transports.twilio.webhook import VOICE_PATH

INVALID_NUMBER: Final = frozenset({"21211", "21217", "13224"})  # twilio.com/docs/api/errors
EVENTS: Final = ("initiated", "ringing", "answered", "completed")


CALLBACK_S: Final = 5.0  # wait for the last callback (chosen: it comes about 1 s after the end)


@dataclass(slots=True, kw_only=True)
class TwilioCarrier:
    """One account and one of its numbers; callbacks come to the account's public address.

    Attributes:
        rest: The account's API.
        number: Our number, which the callee sees.
        news: What callbacks have reported.
        machine: The mode of Twilio's machine detection; empty for none.
        calls_per_s: How many calls the account may place.
    """

    rest: TwilioRest
    number: str
    news: CarrierNews
    machine: str = "Enable"
    calls_per_s: float = 1.0
    _pace: DialPace = field(init=False)
    # When a call was first seen to have ended without its last callback, on the loop's clock.
    _over_at: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, invalid_codes=INVALID_NUMBER)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return its SID."""
        fields = self._dial_fields(request)
        placed = await self._pace.place(lambda: self.rest.ask("POST", "Calls", fields), request)
        call_sid = str(placed.get("sid", ""))
        self.news.refs[request.dial_id] = call_sid
        return call_sid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the carrier's id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; `None` if Twilio has no such call.

        If the call's id is unknown, this is our oldest call to the number `to` since `since_s` that
        belongs to no other dial.
        """
        with carrier_errors():
            call_sid = await self._call_id_of(dial_id)
            request = (
                self._fetch_call(call_sid)
                if call_sid
                else self._search_and_claim_call(dial_id, to, since_s)
            )
            call = await request
        return None if call is None else await self._with_sip_code(dial_id, _found_call(call))

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop the ringing of a call."""
        with carrier_errors():
            await self.rest.ask("POST", _path_of_call(ordered), (("Status", "canceled"),))

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call; `None` until Twilio knows it, some time after the call."""
        with carrier_errors():
            return _found_call(await self.rest.ask("GET", _path_of_call(provider_call_id))).cost

    def _dial_fields(self, request: DialRequest) -> list[tuple[str, str]]:
        """Return the form that requests a call; it rings for `patience_s`, at most `MAX_RING_S`."""
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

    async def _fetch_call(self, call_sid: str) -> Mapping[str, Any] | None:
        """Return a call; `None` if it was deleted, or the id is of another account or carrier."""
        try:
            return await self.rest.ask("GET", _path_of_call(call_sid))
        except ServiceError as error:
            if error.failure.kind is Kind.NOT_FOUND:
                return None
            raise

    async def _search_and_claim_call(
        self, dial_id: str, to: str, since_s: float
    ) -> Mapping[str, Any] | None:
        """Return our oldest call to a number since `since_s` that belongs to no other dial.

        From then on it belongs to this dial. `None` if there is none among the newest 50 calls to
        the number. The time, in seconds since 1970, is compared here: Twilio's filter uses the
        start time, which a queued call lacks.
        """
        listed = await self.rest.ask("GET", "Calls", (("To", to), ("PageSize", "50")))
        taken = {sid for ref, sid in self.news.refs.items() if ref != dial_id}
        unclaimed = [  # the newest first, as Twilio lists them
            call
            for call in listed.get("calls", ())
            if call.get("from") == self.number
            and call.get("sid") not in taken
            and created_s(call) >= int(since_s)  # Twilio's times have no fractions of seconds
        ]
        if not unclaimed:
            return None
        oldest = unclaimed[-1]
        self.news.refs[dial_id] = str(oldest.get("sid", ""))
        return oldest

    async def _with_sip_code(self, dial_id: str, found: FoundCall) -> FoundCall:
        """Add the verdict of the last callback, with its SIP status, to an unanswered call.

        Until that callback comes, for at most `CALLBACK_S`, the call counts as in progress.
        """
        if found.outcome not in UNANSWERED:
            return found
        reported = await self.news.heard(dial_id)
        if reported is not None and reported.ended is not None:
            self._over_at.pop(dial_id, None)
            return replace(found, verdict=reported.found.verdict)
        now = asyncio.get_running_loop().time()
        if dial_id not in self._over_at:
            remember(self._over_at, dial_id, now)
        if now < self._over_at[dial_id] + CALLBACK_S:
            return FoundCall(provider_call_id=found.provider_call_id)
        return found

    async def _call_id_of(self, dial_id: str) -> str:
        """Return the call's id, as remembered or from a callback; empty if it is unknown."""
        if call_sid := self.news.refs.get(dial_id):
            return call_sid
        reported = await self.news.heard(dial_id)
        return reported.call_ref if reported else ""


def _path_of_call(call_sid: str) -> str:
    return f"Calls/{quote(call_sid, safe='')}"


def _found_call(call: Mapping[str, Any]) -> FoundCall:
    """Return a call from Twilio's record, in which prices are texts, and negative."""
    status, price = str(call.get("status", "")), number_of(call.get("price"))
    machine = str(call.get("answered_by") or "").startswith(MACHINES)
    return FoundCall(
        provider_call_id=str(call.get("sid", "")),
        outcome=dial_outcome_of(OUTCOMES.get(status), machine=machine),
        answered=status in ("in-progress", "completed"),
        length_s=number_of(call.get("duration")) or None,
        cost=None if price is None else abs(price),
    )
