"""Campaigns over Twilio: calls under our own id, found again by it, or by number and time."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from calls.leg_progress import MACHINES, OUTCOMES
from campaigns.carrier import CarrierError, DialRequest, FoundCall, outcome_of
from campaigns.dial_pace import DialPace
from fallbacks.failure import ServiceError
from transports.twilio_calls import CallRecord, DialOrder, Machine, TwilioCalls


@dataclass(slots=True, kw_only=True)
class TwilioCarrier:
    """One account and one of its numbers.

    Attributes:
        number: Ours, which the callee sees.
        machine: Whether Twilio listens for answering machines.
        refs: The carrier's id of a dial, as its callbacks say it; shared with who hears them.
        calls_per_s: How many calls the account may place.
    """

    calls: TwilioCalls
    number: str
    machine: Machine = "Enable"
    refs: MutableMapping[str, str] = field(default_factory=dict[str, str])
    calls_per_s: float = 1.0
    _pace: DialPace = field(init=False)

    def __post_init__(self) -> None:
        """Begin at once."""
        self._pace = DialPace(calls_per_s=self.calls_per_s)

    async def dial(self, request: DialRequest) -> str:
        """Have somebody called."""
        order = DialOrder(
            to=request.to,
            caller=self.number,
            ref=request.dial_id,
            ring_s=request.patience_s,
            machine=self.machine,
        )
        placed = await self._pace.place(lambda: self.calls.dial(order), confirm=request.confirm)
        self.refs[request.dial_id] = placed.call_sid
        return placed.call_sid

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return what became of a dial; without its id the oldest call to the number since then."""
        try:
            call_sid = self.refs.get(dial_id)
            if call_sid:
                return _found(await self.calls.fetch(call_sid))
            since = datetime.fromtimestamp(since_s, UTC)
            known = await self.calls.search(to=to, since=since)
        except ServiceError as error:
            raise CarrierError(error.failure.reason) from error
        taken = {sid for ref, sid in self.refs.items() if ref != dial_id}
        ours = [each for each in known if each.caller == self.number and each.call_sid not in taken]
        if not ours:
            return None
        self.refs[dial_id] = ours[-1].call_sid
        return _found(ours[-1])

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return what a call cost; Twilio says so some time behind its end."""
        try:
            return (await self.calls.fetch(provider_call_id)).cost
        except ServiceError as error:
            raise CarrierError(error.failure.reason) from error


def _found(record: CallRecord) -> FoundCall:
    machine = record.answered_by.startswith(MACHINES)
    return FoundCall(
        provider_call_id=record.call_sid,
        outcome=outcome_of(OUTCOMES.get(record.status), machine=machine),
        answered=record.status in ("in-progress", "completed"),
        length_s=record.length_s or None,
        cost=record.cost,
    )
