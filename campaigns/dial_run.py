"""One dial, from the committed intent to its single outcome.

If the carrier's response was lost, the carrier is asked for the call: if it has the call, the call
is followed; if it never had the call, the dial is released. Meanwhile the process renews the dial's
lease. Without a usable response, the leading process keeps asking. A process that no longer leads
asks a few times and then lets the lease expire, so that the new leader takes over.

A contact is dialled again only after the carrier has said that it never had the call. This answer
counts only after a grace period, because a slow request may still reach the carrier.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from typing import Final, Literal, TypeAlias

from loguru import logger

from calls.campaign_events import ContactSkipped, DialAsked, DialEnded, DialPlaced
from calls.entry import Emit
from calls.outbound import OUTSIDE_HOURS, Claim, Dial, DialOutcome, DialResult, NextStep
from campaigns.breakers import WatchedCarrier
from campaigns.dialing import (
    GRACE_S,
    MAX_CALL_S,
    DialerSettings,
    DialingCapacity,
    OwnCalls,
    determine_result,
    wait_to_ask,
)
from campaigns.guard import contact_opens_s
from campaigns.model import Campaign, next_step, put_back
from campaigns.order_gate import WITHDRAWN, Order, OrderGate
from campaigns.order_rules import OrderRefusal
from campaigns.store.queue import Queue
from operations.database.database import StorageError
from transports.dialling import (
    REFUSED,
    CarrierError,
    DialRefusedError,
    DialRequest,
    DialWithdrawnError,
    FoundCall,
)

LOST_CHECKS: Final = 3  # checks in a row without the call at the carrier: the outcome is unknown
SILENT_CHECKS: Final = 3  # checks in a row without a usable response: leave the dial to the leader
# Chosen: the rest of a contact that is refused for one of `REST_REASONS`.
NUMBER_REST_S: Final = 3600.0
REST_REASONS: Final = ("number_daily", "nothing_allowed")
LEASE_LOST: Final = "lease_lost"  # as `Queue.confirm` returns it
CALLBACK: Final = "callback"  # the kind of consent of a contact from a callback request

FateAction: TypeAlias = Literal["settle", "ask_again", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What to do about a dial, with its result if it is to be settled."""

    action: FateAction
    result: DialResult | None = None


ASK_AGAIN: Final = Fate(action="ask_again")
RELEASE: Final = Fate(action="release")
LOST: Final = Fate(
    action="settle", result=DialResult(outcome=DialOutcome.UNKNOWN, reason="lost_at_carrier")
)


def was_never_asked(dial: Dial) -> bool:
    """Return whether the carrier was never asked to place this dial."""
    return dial.confirmed_s is None


def judge_fate(
    dial: Dial, found: FoundCall | None, *, now: float, grace_s: float = GRACE_S
) -> Fate:
    """Return what to do about a dial, by what the carrier knows of it.

    Args:
        dial: The dial, as it was taken over or placed.
        found: The call at the carrier; `None` if the carrier has no such call. One that still
            goes on `MAX_CALL_S` after the intent counts as lost.
        now: The time of the carrier's answer, in seconds since 1970.
        grace_s: For this long after the carrier may last have been asked to dial, "no such call"
            proves nothing.
    """
    if was_never_asked(dial):
        return RELEASE
    if found is None:
        if now < (dial.confirmed_s or 0.0) + grace_s:
            return ASK_AGAIN
        return RELEASE if dial.state == "intended" else LOST
    if found.outcome is None:
        return LOST if now > dial.intended_s + MAX_CALL_S else ASK_AGAIN
    result = DialResult(
        outcome=found.outcome, reason="found_at_carrier", length_s=found.length_s, cost=found.cost
    )
    return Fate(action="settle", result=result)


@dataclass(slots=True, kw_only=True, eq=False)
class DialRun:
    """Places one dial of a campaign and follows it to its end.

    Attributes:
        gate: Checks the number and the server's limits before the carrier is asked.
        now_s: Returns seconds since 1970.
        rehearse: Tries our own stages before a dial; returns one that is down, or "".
        degraded: The stage that is down although the campaign calls anyway; empty if none is.
        in_call: Whether the callee has answered.
        ending: Whether the outcome is known and is being stored.
        on_placed: Called when the carrier is known to have the call.
    """

    campaign: Campaign
    claim: Claim
    carrier: WatchedCarrier
    gate: OrderGate
    queue: Queue
    calls: OwnCalls
    pool: DialingCapacity
    emit: Emit
    now_s: Callable[[], float]
    rehearse: Callable[[], Awaitable[str]] | None
    settings: DialerSettings
    degraded: str = ""
    in_call: bool = False
    ending: bool = False
    on_placed: Callable[[], None] = lambda: None
    _lease_lost: bool = False  # another process has taken the dial over
    _silences: int = 0  # checks in a row without a usable response

    @property
    def dial(self) -> Dial:
        """The dial as stored in the ledger."""
        return self.claim.dial

    async def make(self) -> DialResult | None:
        """Dial and follow the call; return the stored result for the breakers to count.

        `None` if they have nothing to count: the contact was skipped, the dial was withdrawn or
        released, another process has it, or this one shuts down.

        Raises:
            CarrierError: There was no usable response several times; the dial is left to its lease.
            StorageError: The database failed; the dial is left to its lease.
        """
        down = ""
        if self.rehearse and self.campaign.on_outage != "degraded":
            async with self._keep_lease():
                down = await self.rehearse()
        if down:
            if self.campaign.on_outage == "skip":
                await self.skip(down)
            else:
                await self.queue.release(self.dial)  # from now on, the guard holds the campaign
            return None  # without a call, the breakers have nothing to count
        try:
            await self._confirm_or_withdraw_dial()
        except DialWithdrawnError:  # the dial is settled or released
            return None
        async with self._keep_lease():
            await self.calls.prepare(self.campaign, self.claim)
            return await self._place_and_follow()

    async def take_over(self) -> DialResult | None:
        """Find out the state of a dial whose process is silent, and follow it to its end.

        Returns and raises the same as `make`.
        """
        self.carrier.recall(self.dial)
        # The gate may have admitted it in the other process: renew that order from here.
        if not was_never_asked(self.dial):
            self.gate.follow(order_of(self.claim))
        async with self._keep_lease():
            return await self._find_out("holder_silent")

    @asynccontextmanager
    async def _keep_lease(self) -> AsyncIterator[None]:
        """Renew the lease while the block runs; a database failure is only logged.

        If another process has the dial, `_lease_lost` is set, and the block goes on.
        """
        lease_s, name = self.settings.lease_s, f"lease of {self.dial.id}"

        async def renew() -> None:
            """Renew the lease three times per `lease_s`; end when another process has the dial."""
            while not self._lease_lost:
                await asyncio.sleep(lease_s / 3)
                try:
                    is_ours = await self.queue.renew(self.dial, now_s=self.now_s, lease_s=lease_s)
                except StorageError as error:
                    logger.warning("the {} was not renewed: {}", name, error)
                    continue
                self._lease_lost = not is_ours

        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(renew(), name=name)
                try:
                    yield
                finally:
                    renewing.cancel()
        except BaseExceptionGroup as group:  # it holds one exception, from the block
            raise group.exceptions[0] from None

    async def _confirm_or_withdraw_dial(self) -> None:
        """Check that the carrier may be asked to dial now, and store the time in the claim.

        Called before the call is prepared, and again right before each request to the carrier.

        Raises:
            DialWithdrawnError: It may not. The dial has been released or settled, or another
                process has it. Outside the contact's hours it is released until they open.
            StorageError: The database does not answer.
        """
        if self._lease_lost:
            raise DialWithdrawnError(LEASE_LOST)
        if self.pool.leaving:  # the callee would find no agent
            await _release_and_end_order(self, "leaving")
            raise DialWithdrawnError("leaving")
        if why := await self.queue.confirm(
            self.dial, now_s=self.now_s, lease_s=self.settings.lease_s
        ):
            if why != LEASE_LOST:
                await self.gate.end(self.dial.id, WITHDRAWN, reason=why)
            raise DialWithdrawnError(why)
        now = self.now_s()
        opens_s = contact_opens_s(self.campaign, self.claim.contact, now)
        if isinstance(opens_s, str) or opens_s > now:
            # If the hours never open, the next claim notices that and excludes the contact.
            due_s = now if isinstance(opens_s, str) else opens_s
            await _release_and_end_order(self, "window_closed", due_s=due_s, reason=OUTSIDE_HOURS)
            raise DialWithdrawnError("window_closed")
        if refusal := await self.gate.admit(order_of(self.claim)):
            due_s = due_after_refusal(refusal, now)
            if due_s is None:
                refused = DialResult(outcome=DialOutcome.REFUSED, reason=refusal.reason)
                await self._store_and_publish_result(refused)
            else:
                await self.queue.release(self.dial, due_s=due_s)
            raise DialWithdrawnError(refusal.reason)
        self.claim = replace(self.claim, dial=replace(self.dial, confirmed_s=now))

    async def skip(self, reason: str) -> DialResult | None:
        """Settle the dial without a call, and put the contact back; return the stored result.

        Publishes `ContactSkipped` and `DialEnded`. `None` if another process has the dial.
        """
        self.emit(ContactSkipped(campaign=self.campaign.name, dial_id=self.dial.id, reason=reason))
        result = DialResult(outcome=DialOutcome.AGENT_FAILED, reason=reason)
        return await self._store_and_publish_result(result, put_back(self.campaign, self.now_s()))

    async def _place_and_follow(self) -> DialResult | None:
        """Ask the carrier to place the call, and follow it; return the same as `make`.

        A refusal by the carrier is settled at once. After a lost response, the carrier is asked
        whether it has the call. `None` also if the dial is withdrawn.
        """
        request = DialRequest(
            dial_id=self.dial.id,
            to=self.dial.number,
            campaign=self.campaign.name,
            patience_s=self.settings.ring_s,
            # Confirmed again, because the carrier's client may delay the dial.
            confirm=self._confirm_or_withdraw_dial,
            wait=partial(wait_to_ask, self.dial.id, calls=self.calls, pool=self.pool),
            take_turn=self.pool.take_turn,
        )
        try:
            call_ref = await self.carrier.dial(request)
        except DialRefusedError as refused:
            logger.info("dial {} was refused: {}", self.dial.id, refused)
            refusal = DialResult(outcome=DialOutcome.FAILED, reason=REFUSED)
            if refused.no_such_number:
                unknown = DialOutcome.NO_SUCH_NUMBER
                refusal = DialResult(outcome=unknown, reason=unknown.value, again="never")
            return await self._store_and_publish_result(refusal)
        except DialWithdrawnError as withdrawn:
            logger.info("dial {} is withdrawn: {}", self.dial.id, withdrawn)
            self.calls.forget(self.dial.id)
            return None
        except CarrierError as error:
            logger.warning("dial {}: no usable response from the carrier: {}", self.dial.id, error)
            return await self._find_out("answer_lost")
        await self._note_placed(call_ref)
        return await self._follow_to_end(FoundCall(provider_call_id=call_ref))

    async def _find_out(self, why: str) -> DialResult | None:
        """Ask the carrier until the dial's state is known; then follow, settle or release it.

        A dial for which the carrier was never asked is released at once. `why` is the reason in
        `DialAsked`, which is published when the call is found or the dial is released.

        Returns the stored result; `None` if the dial was released, another process has it, or this
        one shuts down.
        """
        waits = self.settings.ask_again_s
        pauses: Iterable[float] = chain((0.0,), waits, repeat(waits[-1]))
        if was_never_asked(self.dial):
            pauses = ()
        for wait_s in pauses:
            if wait_s and self.pool.leaving:
                return None  # do not delay the shutdown; the next process asks
            await self.calls.wait(self.dial.id, wait_s)
            responds, found = await self._ask_carrier()
            if not responds:
                continue
            if found is not None:
                self.emit(_asked_event(self.dial, why, known=True))
                await self._note_placed(found.provider_call_id)
                return await self._follow_to_end(found)
            now, grace_s = self.now_s(), self.settings.grace_s
            fate = judge_fate(self.dial, None, now=now, grace_s=grace_s)
            if fate.action == "release":
                break
            if fate.result is not None:
                return await self._store_and_publish_result(fate.result)
        self.emit(_asked_event(self.dial, why, known=False))
        await _release_and_end_order(self, why, due_s=self.now_s())
        self.calls.forget(self.dial.id)
        return None

    async def _note_placed(self, call_ref: str) -> None:
        """Store and publish that the carrier has the call, and call `on_placed`."""
        await self.queue.note_placed(self.dial, call_ref)
        self.emit(
            DialPlaced(
                campaign=self.campaign.name,
                dial_id=self.dial.id,
                call_ref=call_ref,
                degraded=self.degraded,
            )
        )
        self.on_placed()

    async def _follow_to_end(self, found: FoundCall) -> DialResult | None:
        """Follow a call until it is over or lost at the carrier; return the stored result.

        Also stores a changed call id and the time of the answer, and sets `in_call`. `None` if
        another process has the dial. While this process leaves, ringing is cancelled.
        """
        missed_checks, answered = 0, False
        placed_ref: str | None = found.provider_call_id  # `None` after a cancellation
        while found.outcome is None and missed_checks < LOST_CHECKS and not self._lease_lost:
            await self.calls.wait(self.dial.id, self.settings.look_s)
            responds, latest = await self._ask_carrier()
            if not responds:
                continue
            missed_checks = missed_checks + 1 if latest is None else 0
            if latest is not None and latest.provider_call_id != found.provider_call_id:
                # Some carriers first return the id of a request, and later the id of its call.
                await self.queue.note_placed(self.dial, latest.provider_call_id)
            found = latest or found
            if latest and judge_fate(self.dial, latest, now=self.now_s()) == LOST:
                break  # it is too old: the carrier has missed its end
            if self.pool.leaving and placed_ref and not (found.answered or found.outcome):
                await self.carrier.cancel(self.dial.id, placed_ref)
                placed_ref = None
            if answered:
                self.in_call = True  # one check later, when the pool has counted its seat
            elif found.answered:
                answered = True
                await self.queue.note_answered(self.dial, now=self.now_s())
        # A carrier's record of an ended call may not say that the call was answered.
        found = replace(found, answered=found.answered or answered)
        result = await determine_result(
            self.dial.id, found, calls=self.calls, settings=self.settings, now_s=self.now_s
        )
        return await self._store_and_publish_result(result)

    async def _ask_carrier(self) -> tuple[bool, FoundCall | None]:
        """Return whether there was a usable response, and the call if the carrier has it.

        Raises:
            CarrierError: There was none several times, and this process does not lead. Its key for
                the carrier may be old; if it kept the lease, no process could ask with a new key.
        """
        try:
            found = await self.carrier.find(self.dial)
        except CarrierError:
            self._silences += 1
            if self._silences >= SILENT_CHECKS and not self.pool.leads:
                raise
            return False, None
        self._silences = 0
        return True, found

    async def _store_and_publish_result(
        self, result: DialResult, then: NextStep | None = None
    ) -> DialResult | None:
        """Store and publish a result; return it, or `None` if another process has the dial.

        In both cases our side of the call is forgotten; the order ends with the result. `then` is
        the contact's next state; without it, the campaign's rules decide.
        """
        now = self.now_s()
        then = then or next_step(self.campaign, self.claim.contact, result, now)
        self.ending = True
        stored = await self.queue.settle(self.dial, result, then=then, now=now)
        self.calls.forget(self.dial.id)
        if not stored:
            return None  # another process has taken the dial over, and reports it
        await self.gate.end(
            self.dial.id, result.outcome, reason=result.reason, length_s=result.length_s
        )
        self.emit(
            DialEnded(
                campaign=self.campaign.name,
                dial_id=self.dial.id,
                outcome=result.outcome,
                reason=result.reason,
                length_s=result.length_s or 0.0,
                counted=then.counted,
            )
        )
        return result


async def _release_and_end_order(
    run: DialRun, why: str, *, due_s: float = 0.0, reason: str = ""
) -> None:
    """Release a dial, and end its order as withdrawn.

    If another process has the dial, that process ends the order: the call may go on.
    """
    if await run.queue.release(run.dial, due_s=due_s, reason=reason):
        await run.gate.end(run.dial.id, WITHDRAWN, reason=why)


def due_after_refusal(refusal: OrderRefusal, now: float) -> float | None:
    """Return when a contact that the gate refused is due again; `None` if it is to be excluded."""
    if refusal.limit or refusal.reason == "nothing_allowed":  # not the contact's fault
        return now + (NUMBER_REST_S if refusal.reason in REST_REASONS else 0.0)
    return None


def order_of(claim: Claim) -> Order:
    """Return a dial's request for the gate; its source is `callback` if a caller asked for it."""
    dial, consent = claim.dial, claim.contact.consent
    if consent is None or consent.kind != CALLBACK:
        return Order(id=dial.id, source="campaign", by=dial.campaign, number=dial.number)
    by = f"{dial.campaign}, asked in {consent.source}"
    return Order(id=dial.id, source="callback", by=by, number=dial.number)


def _asked_event(dial: Dial, why: str, *, known: bool) -> DialAsked:
    return DialAsked(campaign=dial.campaign, dial_id=dial.id, known=known, why=why)
