"""A single call to a number, outside any campaign, from the request to its result."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from calls.outbound import DialOutcome, DialResult
from campaigns.breakers import WatchedCarrier
from campaigns.dialing import (
    MAX_CALL_S,
    DialerSettings,
    DialingCapacity,
    OwnCalls,
    determine_result,
    wait_to_ask,
)
from campaigns.order_gate import WITHDRAWN, Order, OrderGate
from campaigns.order_rules import OrderRefusal
from transports.dialling import (
    REFUSED,
    CampaignCarrier,
    CarrierError,
    DialRefusedError,
    DialRequest,
    DialWithdrawnError,
    FoundCall,
)

ONE_CALL: Final = "one-"  # the prefix of dial ids of single calls
LOST_S: Final = 60.0  # after this time without the call at the carrier, the outcome is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCall:
    """Places single calls that pass the gate; the carrier is asked for each of them once.

    Attributes:
        under_way: Dial ids of calls without an outcome that the carrier has, as far as is known.
    """

    carrier: CampaignCarrier
    gate: OrderGate
    calls: OwnCalls
    pool: DialingCapacity
    under_way: set[str] = field(default_factory=set[str])
    settings: DialerSettings
    now_s: Callable[[], float]

    async def make(self, order: Order) -> DialResult | OrderRefusal:
        """Call a number; return the result when the call is over, or why it is not placed.

        An admitted order is ended in any case, also after an error or a cancellation.

        Raises:
            StorageError: The database does not answer; the carrier was not asked.
            DialWithdrawnError: This process began to stop before the carrier was asked.
        """
        if refusal := await self.gate.admit(order):
            return refusal
        dial_id = order.id
        # The gate gets these if an error or a cancellation ends the call here.
        outcome, result = str(DialOutcome.UNKNOWN), DialResult(outcome=DialOutcome.UNKNOWN)
        request = DialRequest(
            dial_id=dial_id,
            to=order.number,
            campaign="",
            patience_s=self.settings.ring_s,
            confirm=self._refuse_if_leaving,
            wait=partial(wait_to_ask, dial_id, calls=self.calls, pool=self.pool),
            take_turn=self.pool.take_turn,
        )
        self.under_way.add(dial_id)
        try:
            result = await self._dial_and_follow(request)
            outcome = result.outcome
        except DialWithdrawnError as withdrawn:
            outcome, result = WITHDRAWN, replace(result, reason=str(withdrawn))
            raise
        finally:
            self.under_way.discard(dial_id)
            self.calls.forget(dial_id)
            await self.gate.end(dial_id, outcome, reason=result.reason, length_s=result.length_s)
        return result

    async def _refuse_if_leaving(self) -> None:
        if self.pool.leaving:  # no agent could talk with the callee
            raise DialWithdrawnError("leaving")

    async def _dial_and_follow(self, request: DialRequest) -> DialResult:
        """Ask for the call once, and follow it; a refusal by the carrier is returned at once.

        A lost response may mean that the call was placed: it is looked for, and it is in
        `under_way` again once the carrier shows it.
        """
        began_s = self.now_s()
        try:
            found = FoundCall(provider_call_id=await self.carrier.dial(request))
        except DialRefusedError:
            return DialResult(outcome=DialOutcome.FAILED, reason=REFUSED)
        except CarrierError:
            found = None  # the call may have been placed
            self.under_way.discard(request.dial_id)
        return await self._follow_until_over(request, found, began_s)

    async def _follow_until_over(
        self, request: DialRequest, found: FoundCall | None, began_s: float
    ) -> DialResult:
        """Ask the carrier until the call is over or lost; cancel it on shutdown while it rings.

        It is lost after `LOST_S` without the call in a usable response; on shutdown, at once if the
        carrier has never shown it. After `MAX_CALL_S` a call counts as over. `found` is `None` if
        the response to the dial was lost. `began_s` is when dialling began, in seconds since 1970.
        """
        missing_s, cancelled = 0.0, False
        while found is None or found.outcome is None:
            await self.calls.wait(request.dial_id, self.settings.look_s)
            try:
                latest = await self.carrier.find(request.dial_id, request.to, began_s - 1.0)
            except CarrierError:
                latest = None
            found = latest or found
            missing_s = 0.0 if latest else missing_s + self.settings.look_s
            if found and self.now_s() > began_s + MAX_CALL_S:
                break  # the carrier has missed its end
            leaving, call_ref = self.pool.leaving, found.provider_call_id if found else ""
            if call_ref:
                self.under_way.add(request.dial_id)
            if missing_s > LOST_S or (leaving and not call_ref):  # probably never placed
                return DialResult(outcome=DialOutcome.UNKNOWN, reason="lost_at_carrier")
            if leaving and found and not (cancelled or found.answered or found.outcome):
                # No agent could talk with the callee.
                await WatchedCarrier(self.carrier).cancel(request.dial_id, call_ref)
                cancelled = True
        return await determine_result(
            request.dial_id, found, calls=self.calls, settings=self.settings, now_s=self.now_s
        )
