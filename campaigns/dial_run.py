"""One dial, from the committed intent to its single outcome.

If the carrier's answer was lost, the carrier is asked what it has: an existing call is followed, a
call that never existed is released. The process renews the dial's lease meanwhile. If the carrier
does not answer, the leading process asks until it does. A process that no longer leads asks a few
times and then lets the lease expire, so that the new leader takes the dial over.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, repeat
from typing import Final

from loguru import logger

from calls.campaign_events import ContactSkipped, DialAsked, DialEnded, DialPlaced
from calls.outbound import Claim, Dial, DialOutcome, DialResult, NextStep
from campaigns.breakers import WatchedCarrier
from campaigns.call_result import judge_call
from campaigns.dialer_parts import DialerParts, wait_to_ask
from campaigns.fate import LOST, judge_fate, was_never_asked
from campaigns.guard import contact_opens_s
from campaigns.model import Campaign, next_step, put_back
from operations.database.database import StorageError
from transports.dialling import (
    REFUSED,
    CarrierError,
    DialRefusedError,
    DialRequest,
    DialWithdrawnError,
    FoundCall,
)


async def confirm_claim(campaign: Campaign, claim: Claim, parts: DialerParts) -> Claim:
    """Return the claim with the time of its confirmation: the carrier may be asked now.

    Raises:
        DialWithdrawnError: It may not, for the store's reason or because of `window_closed`, and we
            no longer hold the dial. Outside the contact's hours it is released until they open.
        StorageError: The database does not answer.
    """
    lease_s = parts.settings.lease_s
    if why := await parts.queue.confirm(claim.dial, now_s=parts.now_s, lease_s=lease_s):
        raise DialWithdrawnError(why)
    now = parts.now_s()
    opens_s = contact_opens_s(campaign, claim.contact, now)
    if opens_s is None or opens_s > now:
        # If the hours never open, the next claim finds that too and excludes the contact.
        await parts.queue.release(claim.dial, due_s=opens_s or now)
        raise DialWithdrawnError("window_closed")
    return replace(claim, dial=replace(claim.dial, confirmed_s=now))


LOST_LOOKS: Final = 3  # checks in which the carrier no longer knows the call: outcome unknown
SILENT_LOOKS: Final = 3  # in a row; then the leader asks, perhaps with another key


@dataclass(slots=True)
class Unanswered:
    """Counts consecutive checks that the carrier did not answer."""

    parts: DialerParts
    looks: int = 0

    def bear(self, silence: CarrierError) -> None:
        """Count one more.

        Raises:
            CarrierError: `silence`, if it was the last one allowed. A process that no longer leads
                may have an old key. If it kept the lease, no process could ask with the new one.
        """
        self.looks += 1
        if self.looks >= SILENT_LOOKS and not self.parts.pool.leads:
            raise silence


@dataclass(slots=True)
class DialLease:
    """Renews the lease of a dial; `lost` if another process has taken the dial over."""

    lost: bool = False

    @asynccontextmanager
    async def keep(self, dial: Dial, parts: DialerParts) -> AsyncIterator[None]:
        """Renew the lease while the block runs."""
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew(dial, parts), name=f"lease of {dial.id}")
                try:
                    yield
                finally:
                    renewing.cancel()
        except BaseExceptionGroup as several:  # a group of one: the block's exception
            raise several.exceptions[0] from None

    async def _renew(self, dial: Dial, parts: DialerParts) -> None:
        lease_s = parts.settings.lease_s
        while not self.lost:
            await asyncio.sleep(lease_s / 3)
            try:
                ours = await parts.queue.renew(dial, now_s=parts.now_s, lease_s=lease_s)
            except StorageError as broken:
                logger.warning("the lease of dial {} was not renewed: {}", dial.id, broken)
                continue
            self.lost = not ours


@dataclass(slots=True, kw_only=True, eq=False)
class DialRun:
    """Places one dial of a campaign and follows it to its end.

    Attributes:
        in_call: The callee has answered.
        ending: The outcome is known and is being stored.
        on_placed: Called when the carrier is known to have the call.
        on_placed: Called when the carrier is known to have it.
    """

    campaign: Campaign
    claim: Claim
    parts: DialerParts
    carrier: WatchedCarrier
    degraded: str = ""
    in_call: bool = False
    ending: bool = False
    on_placed: Callable[[], None] = lambda: None
    _lease: DialLease = field(default_factory=DialLease)

    @property
    def dial(self) -> Dial:
        """The row of the ledger."""
        return self.claim.dial

    async def make(self) -> DialResult | None:
        """Dial and follow the call; return the stored outcome, or `None` if there is none here.

        Raises:
            CarrierError: The dial is left to its lease.
        """
        queue, parts = self.parts.queue, self.parts
        if down := await self._rehearse():
            if self.campaign.on_outage == "skip":
                await self.skip(down)
            else:
                await queue.release(self.dial)  # the guard holds the campaign from now on
            return None  # no call was placed, so nothing is learnt
        with suppress(DialWithdrawnError):  # the dial is settled or released
            await self._confirm()
            async with self._lease.keep(self.dial, parts):
                await parts.calls.prepare(self.campaign, self.claim)
                return await self._place()
        return None

    async def take_over(self) -> DialResult | None:
        """Find the state of a dial whose process is silent, and follow it to its end.

        Raises:
            CarrierError: The dial is left to its lease.
        """
        self.carrier.recall(self.dial)
        async with self._lease.keep(self.dial, self.parts):
            return await self._find_out("holder_silent")

    async def _rehearse(self) -> str:
        """Return the stage that a rehearsal finds down; empty if all stages work."""
        if self.parts.rehearse is None or self.campaign.on_outage == "degraded":
            return ""
        async with self._lease.keep(self.dial, self.parts):
            return await self.parts.rehearse()

    async def _confirm(self) -> None:
        """Check that the carrier may be asked now.

        Raises:
            DialWithdrawnError: It may not, and we no longer hold the dial.
        """
        if self._lease.lost:
            raise DialWithdrawnError("lease_lost")
        if self.parts.pool.leaving:  # the callee would find no agent
            await self.parts.queue.release(self.dial)
            raise DialWithdrawnError("leaving")
        self.claim = await confirm_claim(self.campaign, self.claim, self.parts)

    async def skip(self, reason: str) -> DialResult | None:
        """Return the contact to the queue without a dial."""
        self.parts.tell(
            ContactSkipped(campaign=self.campaign.name, dial_id=self.dial.id, reason=reason)
        )
        result = DialResult(outcome=DialOutcome.AGENT_FAILED, reason=reason)
        return await self._settle(result, put_back(self.campaign, self.parts.now_s()))

    async def _place(self) -> DialResult | None:
        request = DialRequest(
            dial_id=self.dial.id,
            to=self.dial.number,
            campaign=self.campaign.name,
            patience_s=self.parts.settings.ring_s,
            confirm=self._confirm,  # again, because the carrier may delay the dial
            wait=partial(wait_to_ask, self.dial.id, calls=self.parts.calls, pool=self.parts.pool),
        )
        try:
            call_ref = await self.carrier.dial(request)
        except DialRefusedError as refused:
            logger.info("dial {} was refused: {}", self.dial.id, refused)
            refusal = DialResult(outcome=DialOutcome.FAILED, reason=REFUSED)
            return await self._settle(refusal)
        except DialWithdrawnError as withdrawn:
            logger.info("dial {} is withdrawn: {}", self.dial.id, withdrawn)
            self.parts.calls.forget(self.dial.id)
            return None
        except CarrierError as error:
            logger.warning("dial {}: the carrier did not answer: {}", self.dial.id, error)
            return await self._find_out("answer_lost")
        await self._note_placed(call_ref)
        return await self._to_the_end(FoundCall(provider_call_id=call_ref))

    async def _find_out(self, why: str) -> DialResult | None:
        """Ask the carrier until the state of this dial is known; then continue from there."""
        if was_never_asked(self.dial):
            return await self._give_back(why)
        waits, unanswered = self.parts.settings.ask_again_s, Unanswered(self.parts)
        for wait_s in chain((0.0,), waits, repeat(waits[-1])):
            if wait_s and self.parts.pool.leaving:
                break  # do not delay the shutdown; the next process asks
            await self.parts.calls.wait(self.dial.id, wait_s)
            try:
                found = await self.carrier.find(self.dial)
            except CarrierError as silence:
                unanswered.bear(silence)
                continue
            unanswered.looks = 0
            if found is not None:
                self.parts.tell(_asked(self.dial, why, known=True))
                await self._note_placed(found.provider_call_id)
                return await self._to_the_end(found)
            now, grace_s = self.parts.now_s(), self.parts.settings.grace_s
            fate = judge_fate(self.dial, None, now=now, grace_s=grace_s)
            if fate.action == "release":
                return await self._give_back(why)
            if fate.result is not None:
                return await self._settle(fate.result)
        return None

    async def _give_back(self, why: str) -> None:
        self.parts.tell(_asked(self.dial, why, known=False))
        await self.parts.queue.release(self.dial, due_s=self.parts.now_s())
        self.parts.calls.forget(self.dial.id)

    async def _note_placed(self, call_ref: str) -> None:
        await self.parts.queue.placed(self.dial, call_ref)
        self.parts.tell(
            DialPlaced(
                campaign=self.campaign.name,
                dial_id=self.dial.id,
                call_ref=call_ref,
                degraded=self.degraded,
            )
        )
        self.on_placed()

    async def _to_the_end(self, found: FoundCall) -> DialResult | None:
        missed, answered, unanswered = 0, False, Unanswered(self.parts)
        ordered: str | None = found.provider_call_id  # `None` after a cancellation
        while found.outcome is None and missed < LOST_LOOKS and not self._lease.lost:
            await self.parts.calls.wait(self.dial.id, self.parts.settings.look_s)
            try:
                again = await self.carrier.find(self.dial)
            except CarrierError as silence:
                unanswered.bear(silence)
                continue
            unanswered.looks = 0
            missed = missed + 1 if again is None else 0
            if again is not None and again.provider_call_id != found.provider_call_id:
                # Some carriers answer an order with its own id and report the call's id later.
                await self.parts.queue.placed(self.dial, again.provider_call_id)
            found = again or found
            if again and judge_fate(self.dial, again, now=self.parts.now_s()) == LOST:
                break  # too old: the carrier has missed the end of the call
            if self.parts.pool.leaving and ordered and not (found.answered or found.outcome):
                await self.carrier.cancel(self.dial.id, ordered)
                ordered = None
            if answered:
                self.in_call = True  # one check later the pool has counted its seat
            elif found.answered:
                answered = True
                await self.parts.queue.answered(self.dial, now=self.parts.now_s())
        # The carrier's record of an ended call need not say that it was answered.
        found = replace(found, answered=found.answered or answered)
        return await self._settle(await judge_call(self.dial.id, found, self.parts))

    async def _settle(self, result: DialResult, then: NextStep | None = None) -> DialResult | None:
        parts, now = self.parts, self.parts.now_s()
        then = then or next_step(self.campaign, self.claim.contact, result, now)
        self.ending = True
        kept = await parts.queue.settle(self.dial, result, then=then, now=now)
        parts.calls.forget(self.dial.id)
        if not kept:
            return None  # another process has taken it over and reports it
        parts.tell(
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


def _asked(dial: Dial, why: str, *, known: bool) -> DialAsked:
    return DialAsked(campaign=dial.campaign, dial_id=dial.id, known=known, why=why)
