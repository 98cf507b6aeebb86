"""Campaigns over Twilio: calls under our own id, found again by it, or by number and time."""

import asyncio
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from calls.outbound import DialOutcome
from campaigns.call_pace import CallPace
from campaigns.carrier import CarrierError, DialRequest, FoundCall, carrier_error
from fallbacks.failure import Kind, ServiceError
from transports.twilio_calls import CallRecord, DialOrder, Machine, TwilioCalls

OUTCOMES: Final[Mapping[str, DialOutcome]] = {
    "completed": DialOutcome.COMPLETED,
    "busy": DialOutcome.BUSY,
    "no-answer": DialOutcome.NO_ANSWER,
    "failed": DialOutcome.FAILED,
    "canceled": DialOutcome.CANCELLED,
}
MACHINES: Final = ("machine", "fax")
LIMITED_TRIES: Final = 5
LIMITED_S: Final = 1.1  # an account may place one call a second unless it asked for more


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
    _pace: CallPace = field(init=False)

    def __post_init__(self) -> None:
        self._pace = CallPace(calls_per_s=self.calls_per_s)

    async def dial(self, request: DialRequest) -> str:
        """Have somebody called; what is refused for its pace alone was not placed."""
        order = DialOrder(
            to=request.to,
            caller=self.number,
            ref=request.dial_id,
            ring_s=request.patience_s,
            machine=self.machine,
        )
        for _ in range(LIMITED_TRIES):
            await self._pace.keep()
            try:
                placed = await self.calls.dial(order)
            except ServiceError as error:
                if error.failure.kind is not Kind.RATE_LIMITED:
                    raise carrier_error(error.failure) from error
            else:
                self.refs[request.dial_id] = placed.call_sid
                return placed.call_sid
            await asyncio.sleep(LIMITED_S)
        raise CarrierError("too many calls for this account")

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
    outcome = OUTCOMES.get(record.status)
    if outcome is DialOutcome.COMPLETED and record.answered_by.startswith(MACHINES):
        outcome = DialOutcome.VOICEMAIL
    return FoundCall(
        provider_call_id=record.call_sid,
        outcome=outcome,
        answered=record.status in ("in-progress", "completed"),
        length_s=record.length_s or None,
        cost=record.cost,
    )
