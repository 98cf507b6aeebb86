"""Campaigns over Twilio, whose callbacks carry our own dial id.

Twilio's API finds a call by Twilio's id, or by number and time. The id comes from the ledger or
from a callback to any process of the worker pool. The search by number and time, for which two
clocks must agree, is used only if the id is unknown. The SIP status of an ended call is only in its
last callback, which is waited for a moment.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from calls.leg_progress import MACHINES, OUTCOMES
from campaigns.carrier import (
    UNANSWERED,
    CarrierNews,
    DialRequest,
    FoundCall,
    carrier_errors,
    outcome_of,
)
from campaigns.pacing import DialPace
from fallbacks.failure import Kind, ServiceError
from transports.twilio.calls import CallRecord, TwilioCalls

CALLBACK_S: Final = 5.0  # chosen: Twilio calls back within a second of what its record shows
MOST: Final = 1000  # dials that are remembered; the oldest is dropped


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
        over_at = self._over_at.setdefault(dial_id, now)
        while len(self._over_at) > MOST:
            del self._over_at[next(iter(self._over_at))]
        if now < over_at + CALLBACK_S:
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
