"""Campaigns over Plivo, which reports results by callback and, without one, when asked.

Plivo answers an order with a request id, moves a call through three resources, and has no record of
it for some time after its end. So callbacks come first. A call that Plivo no longer lists, although
it did a moment ago, is waited for before it counts as lost.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from calls.outbound import DialOutcome
from campaigns.carrier import (
    CarrierNews,
    DialRequest,
    FoundCall,
    HeardLeg,
    carrier_errors,
    outcome_of,
)
from campaigns.pacing import DialPace
from transports.plivo.calls import PlivoCalls, PlivoRecord, same_number

LIMITED_S: Final = 5.0  # Plivo's window for counting requests
UNSEEN_S: Final = 60.0  # chosen: Plivo does not say how soon there is a record of a call
MOST: Final = 1000  # dials that are remembered; the oldest is dropped


@dataclass(slots=True, kw_only=True)
class PlivoCarrier:
    """One account and one of its numbers.

    Attributes:
        number: Our number, which the callee sees.
        news: What callbacks have reported. Its ids are request ids, until the call's own is known.
        machine: Plivo's machine detection; empty for none.
        calls_per_s: How many calls the account may place; Plivo queues any more.
    """

    calls: PlivoCalls
    number: str
    news: CarrierNews
    machine: str = "true"
    calls_per_s: float = 2.0
    _pace: DialPace = field(init=False)
    # When Plivo last listed a dial, on the loop's clock.
    _seen_at: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, again_s=LIMITED_S)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return the id of the request."""
        order = request.order(self.number, machine=self.machine)
        request_uuid = await self._pace.place(lambda: self.calls.dial(order), request)
        self._see(request.dial_id, request_uuid)
        return request_uuid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the call or request id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; without its id, of the oldest call to the number since."""
        heard = await self.news.heard(dial_id)
        if heard is not None and heard.outcome is not None:
            self._seen_at.pop(dial_id, None)
            return heard.found
        with carrier_errors():
            record = await self._look(dial_id, heard)
            if record is None and heard is None:
                record = await self._search(dial_id, to, since_s)
        if record is None:
            return self._unseen(dial_id, heard)
        self._see(dial_id, record.uuid)
        return _found(record, heard)

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop the ringing."""
        with carrier_errors():
            await self.calls.cancel(ordered)

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call, as soon as there is a record of it."""
        with carrier_errors():
            record = await self.calls.fetch(provider_call_id, queued=False)
        return record.cost if record else None

    async def _look(self, dial_id: str, heard: HeardLeg | None) -> PlivoRecord | None:
        """Return the call by its known id."""
        uuid = heard.call_ref if heard else self.news.refs.get(dial_id)
        return await self.calls.fetch(uuid, queued=heard is None) if uuid else None

    async def _search(self, dial_id: str, to: str, since_s: float) -> PlivoRecord | None:
        known = await self.calls.search(to=to, since=datetime.fromtimestamp(since_s, UTC))
        ordered = self.news.refs.get(dial_id)
        if ordered and (ours := [call for call in known if ordered == call.request_uuid]):
            return ours[0]
        taken = {uuid for ref, uuid in self.news.refs.items() if ref != dial_id}
        ours = [
            call
            for call in known
            if same_number(call.caller, self.number)
            and not {call.uuid, call.request_uuid} & taken
            and not (ordered and call.request_uuid)  # belongs to another order
        ]
        return ours[-1] if ours else None

    def _unseen(self, dial_id: str, heard: HeardLeg | None) -> FoundCall | None:
        """Return the state of a call that Plivo does not list: it may be between two resources."""
        now = asyncio.get_running_loop().time()
        if heard is not None:
            self._seen_at.setdefault(dial_id, now)
            self.news.refs[dial_id] = heard.call_ref
        uuid, answered = self.news.refs.get(dial_id, ""), heard is not None and heard.answered
        if now < self._seen_at.get(dial_id, float("-inf")) + UNSEEN_S:
            return FoundCall(provider_call_id=uuid, answered=answered)
        if heard is None:
            return None
        # The call was placed, even though Plivo has no record of it: do not call again.
        return FoundCall(provider_call_id=uuid, outcome=DialOutcome.UNKNOWN, answered=answered)

    def _see(self, dial_id: str, uuid: str) -> None:
        self.news.refs[dial_id] = uuid
        self._seen_at[dial_id] = asyncio.get_running_loop().time()
        while len(self._seen_at) > MOST:
            del self._seen_at[next(iter(self._seen_at))]


def _found(record: PlivoRecord, heard: HeardLeg | None) -> FoundCall:
    machine = heard is not None and heard.machine  # records do not report machines
    return FoundCall(
        provider_call_id=record.uuid,
        outcome=outcome_of(record.outcome, machine=machine),
        answered=record.answered or (heard is not None and heard.answered),
        length_s=record.length_s or None,
        cost=record.cost,
    )
