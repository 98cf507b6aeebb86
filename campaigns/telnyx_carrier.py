"""Campaigns over Telnyx, which finds calls by our own id.

Telnyx reports how a call ended once, in a signed webhook; the call's status says only that it is
over. So webhooks come first, then the list of active calls, which has our id, and then the list of
events, for webhooks that were sent while no process received them. The length comes from our own
side: it is not documented whether Telnyx includes the ringing.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from calls.leg_progress import MACHINES, OUTCOMES
from campaigns.carrier import (
    CarrierError,
    CarrierNews,
    DialRequest,
    FoundCall,
    HeardLeg,
    carrier_errors,
    outcome_of,
    verdict_of,
)
from campaigns.pacing import DialPace
from fallbacks.failure import Scope
from transports.telnyx.calls import TelnyxCalls, TelnyxRecord

THIS_NUMBER: Final = frozenset({Scope.PAYLOAD})
"""Other bad requests, such as an unknown application, are not about the number."""


@dataclass(slots=True, kw_only=True)
class TelnyxCarrier:
    """One application and one of its numbers.

    Attributes:
        number: Our number, which the callee sees.
        news: What the application's webhooks have reported.
        machine: Telnyx's machine detection.
        calls_per_s: How many calls the account may place.
    """

    calls: TelnyxCalls
    number: str
    news: CarrierNews
    machine: str = "detect"
    calls_per_s: float = 1.0
    _pace: DialPace = field(init=False)

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, refuses=THIS_NUMBER)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return its id."""
        order = request.order(self.number, machine=self.machine)
        placed = await self._pace.place(lambda: self.calls.dial(order), request)
        self.news.refs[request.dial_id] = placed.call_id
        return placed.call_id

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial.

        A call that is over without a reported reason counts as going on for ten minutes. Then
        Telnyx no longer knows it, and its outcome is unknown.
        """
        heard = await self.news.heard(dial_id)
        if heard is not None and heard.outcome is not None:
            return heard.found
        with carrier_errors():
            record = await self._look(dial_id, to, since_s, heard)
        if record is None:
            return None
        self.news.refs[dial_id] = record.call_id
        return _found(record, heard)

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop the ringing."""
        if refused := await self.calls.cancel(ordered):
            raise CarrierError(refused)

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call, if a webhook has reported it."""
        return await self.news.charged(provider_call_id)

    async def _look(
        self, dial_id: str, to: str, since_s: float, heard: HeardLeg | None
    ) -> TelnyxRecord | None:
        call_id = heard.call_ref if heard else self.news.refs.get(dial_id)
        record = await self.calls.fetch(call_id) if call_id else await self.calls.active(dial_id)
        if record is not None and not record.over:
            return record
        since = datetime.fromtimestamp(since_s, UTC)
        listed = await self.calls.search(dial_id, to=to, since=since)
        if listed is None or (call_id and not listed.over):
            return record  # the list lags, or has lost the end
        return listed


def _found(record: TelnyxRecord, heard: HeardLeg | None) -> FoundCall:
    machine = record.answered_by.startswith(MACHINES) or bool(heard and heard.machine)
    outcome = outcome_of(OUTCOMES.get(record.status), machine=machine)
    return FoundCall(
        provider_call_id=record.call_id,
        outcome=outcome,
        answered=record.answered or bool(heard and heard.answered),
        verdict=verdict_of(outcome, record.sip_code),
    )
