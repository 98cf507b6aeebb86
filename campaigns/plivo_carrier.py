"""Campaigns over Plivo: its callbacks say what became of a dial, and it is asked where they do not.

Plivo answers an order with the request's id, moves a call through three places and keeps no record
of it for some time behind its end. So what callbacks said goes first; and a call that Plivo has
nowhere, although it was there a moment ago, is waited for before it is taken for lost.
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

LIMITED_S: Final = 5.0  # Plivo counts requests in windows of so long
UNSEEN_S: Final = 60.0  # chosen: Plivo does not say how soon there is a record of a call
MOST: Final = 1000  # dials that are kept in mind; the oldest gives way


@dataclass(slots=True, kw_only=True)
class PlivoCarrier:
    """One account and one of its numbers.

    Attributes:
        number: Ours, which the callee sees.
        news: What callbacks have told; its ids of calls are the request's, and the call's own as
            soon as it is known.
        machine: How Plivo listens for answering machines; empty: not at all.
        calls_per_s: How many calls the account may place; Plivo queues what is more.
    """

    calls: PlivoCalls
    number: str
    news: CarrierNews
    machine: str = "true"
    calls_per_s: float = 2.0
    _pace: DialPace = field(init=False)
    # On the loop's clock: when Plivo last had a dial somewhere.
    _seen_at: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Begin at once."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, again_s=LIMITED_S)

    async def dial(self, request: DialRequest) -> str:
        """Have somebody called; return the id of the request."""
        order = request.order(self.number, machine=self.machine)
        request_uuid = await self._pace.place(lambda: self.calls.dial(order), request)
        self._see(request.dial_id, request_uuid)
        return request_uuid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Know the call of a dial that another process has made, or its order."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return what became of a dial; without its id the oldest call to the number since then."""
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
        """Have a telephone ring no longer."""
        with carrier_errors():
            await self.calls.cancel(ordered)

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return what a call cost, as soon as there is a record of it."""
        with carrier_errors():
            record = await self.calls.fetch(provider_call_id, queued=False)
        return record.cost if record else None

    async def _look(self, dial_id: str, heard: HeardLeg | None) -> PlivoRecord | None:
        """Return the call by the id that we know."""
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
            and not (ordered and call.request_uuid)  # of another order than ours
        ]
        return ours[-1] if ours else None

    def _unseen(self, dial_id: str, heard: HeardLeg | None) -> FoundCall | None:
        """Return what is known of a call that Plivo has nowhere: it may be between two places."""
        now = asyncio.get_running_loop().time()
        if heard is not None:
            self._seen_at.setdefault(dial_id, now)
            self.news.refs[dial_id] = heard.call_ref
        uuid, answered = self.news.refs.get(dial_id, ""), heard is not None and heard.answered
        if now < self._seen_at.get(dial_id, float("-inf")) + UNSEEN_S:
            return FoundCall(provider_call_id=uuid, answered=answered)
        if heard is None:
            return None
        # It was called, whatever Plivo has kept of it: nobody is called twice for that.
        return FoundCall(provider_call_id=uuid, outcome=DialOutcome.UNKNOWN, answered=answered)

    def _see(self, dial_id: str, uuid: str) -> None:
        self.news.refs[dial_id] = uuid
        self._seen_at[dial_id] = asyncio.get_running_loop().time()
        while len(self._seen_at) > MOST:
            del self._seen_at[next(iter(self._seen_at))]


def _found(record: PlivoRecord, heard: HeardLeg | None) -> FoundCall:
    machine = heard is not None and heard.machine  # a record says nothing of machines
    return FoundCall(
        provider_call_id=record.uuid,
        outcome=outcome_of(record.outcome, machine=machine),
        answered=record.answered or (heard is not None and heard.answered),
        length_s=record.length_s or None,
        cost=record.cost,
    )
