"""The queue of outbound calls: who is dialled next, by whom, and what became of it.

The order is always the same. `claim` commits the intent. `confirm` asks once more, right before the
carrier is asked, and renews the lease. Then the carrier is asked, and `placed` keeps its id. While
the call goes on, `renew`. `settle` gives the dial its one outcome and the contact its next state.

A process that dies leaves its dial without an outcome. When the lease has run out, `adopt_expired`
hands it to somebody else, who asks the carrier before anything else: a call that the carrier knows
is settled as it says, one that it never had is given back with `release` and dialled under the same
id. The lease is also the call's slot: a dead process holds none for longer than that.

Several machines must agree on `now` to within a fraction of a lease.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Update, case, delete, exists, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import (
    Claim,
    ClaimRules,
    Dial,
    DialOutcome,
    DialResult,
    NextStep,
    NothingToDial,
)
from campaigns.store.callback_contacts import note_called
from campaigns.store.claim import (
    Claimant,
    claim_next,
    consent_of,
    has_due,
    read_contact,
    read_dial,
    why_none,
)
from operations.database.tables import (
    CAMPAIGN_REASON_LENGTH,
    CAMPAIGNS,
    CONTACTS,
    DIALS,
    DO_NOT_CALL,
)
from operations.database.transactions import TransactionStore


class CampaignStore(TransactionStore):
    """One in each process that dials; every method raises `StorageError` when it cannot."""

    def __init__(self, url: str, *, holder: str) -> None:
        """Claim in the database at `url`, as `holder`: a name that no other process ever has."""
        super().__init__(url)
        self._dials = HeldDials(holder)

    async def claim(
        self, campaign: str, rules: ClaimRules, *, now: float, lease_s: float
    ) -> Claim | NothingToDial:
        """Claim the next contact; when it returns, the intent to dial is committed."""
        async with self._work.read() as connection:
            # A look costs no write: nobody's disk works while everybody rests.
            if not await has_due(connection, campaign, now):
                return await why_none(connection, campaign, now)
        by = Claimant(holder=self._dials.holder, now=now, lease_s=lease_s)
        async with self._work.write() as connection:
            return await claim_next(connection, campaign, rules, by)

    async def confirm(self, dial: Dial, *, now: float, lease_s: float) -> str:
        """Return an empty text if the carrier may be asked now, else why not.

        Not on the do-not-call list, the campaign still runs, the lease is still ours: it is
        renewed. Else the dial is no longer ours when this returns: one to a number on the list is
        settled as refused, one of a campaign that was paused is given back.

        Returns:
            Nothing, `lease_lost`, `do_not_call` or `not_running`.
        """
        renewed = self._dials.own(dial).where(DIALS.c.state == "intended")
        async with self._work.write() as connection:
            lease = {"lease_until_s": now + lease_s, "confirmed_s": now}
            kept = await connection.execute(renewed.values(**lease))
            if not kept.rowcount:
                return "lease_lost"
            if await _barred(connection, dial.number):
                refused = DialResult(outcome=DialOutcome.REFUSED, reason="do_not_call")
                then = NextStep(state="excluded")
                await self._dials.settle(connection, dial, result=refused, then=then, now=now)
                return "do_not_call"
            running = select(CAMPAIGNS.c.state).where(CAMPAIGNS.c.name == dial.campaign)
            if (await connection.execute(running)).scalar_one_or_none() != "running":
                await self._dials.release(connection, dial, due_s=0.0)
                return "not_running"
        return ""

    async def placed(self, dial: Dial, provider_call_id: str) -> bool:
        """Keep the carrier's id of the call; False: the dial is not ours any more."""
        # Its callbacks may overtake its answer: somebody may have answered already.
        state = case((DIALS.c.state == "intended", "placed"), else_=DIALS.c.state)
        return await self._change(dial, provider_call_id=provider_call_id[:100], state=state)

    async def answered(self, dial: Dial, *, now: float) -> bool:
        """Note that somebody answered; False: the dial is not ours any more."""
        return await self._change(dial, state="answered", answered_s=now)

    async def renew(self, dial: Dial, *, now: float, lease_s: float) -> bool:
        """Keep the lease for as long again; False: the dial is not ours any more."""
        return await self._change(dial, lease_until_s=now + lease_s)

    async def settle(self, dial: Dial, result: DialResult, *, then: NextStep, now: float) -> bool:
        """Give a dial its outcome, and its contact the next state; False: it is not ours to."""
        async with self._work.write() as connection:
            return await self._dials.settle(connection, dial, result=result, then=then, now=now)

    async def release(self, dial: Dial, *, due_s: float = 0.0) -> bool:
        """Give back a dial that the carrier never had: the same attempt is made anew."""
        async with self._work.write() as connection:
            return await self._dials.release(connection, dial, due_s=due_s)

    async def adopt_expired(
        self, campaigns: Collection[str], *, now: float, lease_s: float
    ) -> Sequence[Claim]:
        """Adopt the dials of these campaigns whose holder is silent; nobody else gets them now.

        Those of our own process are among them if it did not renew in time. Those of others are
        left to whoever has their campaigns: taken and not followed, they would be kept from them.
        A dial whose contact was erased is erased, too, whosever it is.
        """
        ownerless = ~exists().where(CONTACTS.c.id == DIALS.c.contact_id)
        ours = DIALS.c.campaign.in_(campaigns) | ownerless
        silent = ours & (DIALS.c.state != "settled") & (DIALS.c.lease_until_s <= now)
        async with self._work.read() as connection:
            if (
                await connection.execute(select(DIALS.c.id).where(silent).limit(1))
            ).first() is None:
                return ()
        held = {"holder": self._dials.holder, "lease_until_s": now + lease_s}
        async with self._work.write() as connection:
            taken = update(DIALS).where(silent).values(**held).returning(DIALS)
            dials = (await connection.execute(taken)).all()
            claims = [await _claim_of(connection, row) for row in dials]
            return [claim for claim in claims if claim is not None]

    async def _change(self, dial: Dial, **values: Any) -> bool:
        async with self._work.write() as connection:
            return (await connection.execute(self._dials.own(dial).values(**values))).rowcount > 0


@dataclass(frozen=True, slots=True)
class HeldDials:
    """What one holder may change, in a transaction: dials of its own that have no outcome.

    `settle` and `release` return False, and change nothing, of a dial that is not.
    """

    holder: str

    def own(self, dial: Dial) -> Update:
        """Return the change of a dial, if it is ours and has no outcome."""
        return update(DIALS).where(self._ours(dial), DIALS.c.state != "settled")

    async def settle(
        self,
        connection: AsyncConnection,
        dial: Dial,
        *,
        result: DialResult,
        then: NextStep,
        now: float,
    ) -> bool:
        """Give a dial its outcome, and its contact the next state."""
        values = {
            "state": "settled",
            "outcome": result.outcome.value,
            "reason": result.reason[:CAMPAIGN_REASON_LENGTH],
            "counted": then.counted,
            "ended_s": now,
            "length_s": result.length_s,
            "cost": result.cost,
        }
        if not (await connection.execute(self.own(dial).values(**values))).rowcount:
            return False
        # Whoever asked during this very call not to be called again is not.
        state = "excluded" if await _barred(connection, dial.number) else then.state
        own = CONTACTS.c.id == dial.contact_id
        contact = update(CONTACTS).where(own).values(state=state, **_next_values(result, then))
        await connection.execute(contact)
        if then.skipped:
            await connection.execute(_uncalled(dial))
        if result.outcome is DialOutcome.COMPLETED:
            await note_called(connection, dial.contact_id, now)
        if result.cost:
            spent = {"day_spent": CAMPAIGNS.c.day_spent + result.cost}
            await connection.execute(_of_its_day(dial).values(**spent))
        return True

    async def release(self, connection: AsyncConnection, dial: Dial, *, due_s: float) -> bool:
        """Forget a dial that was not asked for, as if its contact had not been claimed."""
        intended = delete(DIALS).where(self._ours(dial), DIALS.c.state == "intended")
        gone = await connection.execute(intended)
        if not gone.rowcount:
            return False
        before = dial.attempt - 1
        state = "excluded" if await _barred(connection, dial.number) else _state_before(before)
        own = CONTACTS.c.id == dial.contact_id
        values = {"state": state, "dials": before, "due_s": due_s}
        await connection.execute(update(CONTACTS).where(own).values(**values))
        await connection.execute(_uncalled(dial))
        return True

    def _ours(self, dial: Dial) -> ColumnElement[bool]:
        # One that was given back, and claimed anew by ourselves, has the same id and holder.
        claimed = (DIALS.c.id == dial.id) & (DIALS.c.intended_s == dial.intended_s)
        return claimed & (DIALS.c.holder == self.holder)


def _next_values(result: DialResult, then: NextStep) -> dict[str, Any]:
    """Return what a settled dial changes in its contact's row beside the state."""
    if then.skipped:  # it has come to nothing, and changes nothing but when
        return {"due_s": then.due_s}
    return {
        "due_s": then.due_s,
        "attempts": CONTACTS.c.attempts + int(then.counted),
        "uncounted": CONTACTS.c.uncounted + int(not then.counted),
        "outcome": result.outcome.value,
    }


def _state_before(dials: int) -> str:
    return "resting" if dials else "waiting"


def _uncalled(dial: Dial) -> Update:
    """Return the change that takes a dial that was not made out of the calls of its day."""
    return _of_its_day(dial).values(day_calls=CAMPAIGNS.c.day_calls - 1)


def _of_its_day(dial: Dial) -> Update:
    """Return the change of a campaign, if no day has begun in it since the dial's."""
    own = update(CAMPAIGNS).where(CAMPAIGNS.c.name == dial.campaign)
    return own.where(CAMPAIGNS.c.day_s <= dial.intended_s)


async def _barred(connection: AsyncConnection, number: str) -> bool:
    barred = exists().where(DO_NOT_CALL.c.number == number)
    return bool((await connection.execute(select(barred))).scalar_one())


async def _claim_of(connection: AsyncConnection, row: Row[Any]) -> Claim | None:
    dial = read_dial(row)
    found = select(CONTACTS).where(CONTACTS.c.id == dial.contact_id)
    contact = (await connection.execute(found)).first()
    if contact is None:
        # Kept, it would hold a number that is to be forgotten, and in SQLite an id and an attempt
        # that another contact may come to have: every claim of the campaign would then fail.
        await connection.execute(delete(DIALS).where(DIALS.c.id == dial.id))
        return None
    consent = await consent_of(connection, contact.campaign, contact.number)
    return Claim(contact=read_contact(contact, consent), dial=dial)
