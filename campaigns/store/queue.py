"""The queue of outbound calls: the next contact, the process that dials it, and the result.

The sequence is fixed. `claim` commits the intent to dial. Right before the carrier is asked,
`confirm` checks the rules again and renews the lease. Then the carrier is asked, and `note_placed`
stores its id of the call. `renew` extends the lease during the call. `settle` stores the dial's
single outcome and the contact's next state.

A process that dies leaves its dial without an outcome. After the lease, `adopt_expired` gives the
dial to another process, which first asks the carrier. If the carrier has the call, the dial is
settled with the call's outcome. If the carrier never had it, the dial is released with `release`,
and dialled again under the same id. A dial counts as one of its campaign's calls until it has an
outcome or is released: the calls of a process that is silent, or whose clock differs, still count.

All times must be by one clock to within a fraction of a lease: with PostgreSQL, by the database's.
"""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Update, case, delete, exists, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import (
    DO_NOT_CALL as BARRED,
)
from calls.outbound import (
    TAKEN_OUT,
    CampaignState,
    Claim,
    ClaimRules,
    Dial,
    DialOutcome,
    DialResult,
    NextStep,
    NothingToDial,
)
from campaigns.store.claim import (
    UNFINISHED,
    claim_next,
    consent_of,
    has_due,
    read_contact,
    read_dial,
    why_none,
)
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.database.tables import (
    CALLBACK_CONTACTS,
    CALLBACKS,
    CAMPAIGN_REASON_LENGTH,
    CAMPAIGNS,
    CODE_LENGTH,
    CONTACTS,
    DIALS,
    DO_NOT_CALL,
)


class Queue:
    """The queue, as one process uses it; every method raises `StorageError` if the database fails.

    Only a process that dials needs a `holder`. A holder cannot change settled dials or those of
    other holders. `now_s` returns seconds since 1970; it is called inside the transaction, so that
    a lease does not begin before the transaction.
    """

    def __init__(
        self, database: Database, *, holder: str = "", clock: DatabaseClock | None = None
    ) -> None:
        """Claim in this database.

        Args:
            database: The database.
            holder: A name that no other process ever uses.
            clock: The clock of `now_s`, which is set before claims and takeovers; `None` if it
                needs no setting.
        """
        self.database = database
        self.holder = holder
        self.clock = clock

    async def claim(
        self, campaign: str, rules: ClaimRules, *, now_s: Callable[[], float], lease_s: float
    ) -> Claim | NothingToDial:
        """Claim the next contact, or return why none; the intent to dial is committed on return.

        It counts as one of the campaign's calls until it is settled or released, even after its
        lease.
        """
        if self.clock is not None:
            await self.clock.measure()
        now = now_s()
        async with self.database.reading() as connection:
            # Reading first avoids a write while no contact is due.
            if not await has_due(connection, campaign, rules, now):
                return await why_none(connection, campaign, now)
        async with self.database.transaction() as connection:
            return await claim_next(
                connection, campaign, rules, holder=self.holder, now_s=now_s, lease_s=lease_s
            )

    async def confirm(self, dial: Dial, *, now_s: Callable[[], float], lease_s: float) -> str:
        """Return "" if the carrier may be asked to dial now, otherwise the reason why not.

        The carrier may be asked if the number is not on the do-not-call list, the campaign is
        running, and we hold the lease, which is renewed. Otherwise the dial is no longer ours: a
        dial to a listed number is settled as refused; a dial of a paused campaign, or of a contact
        that was taken out of it, is released.

        Returns:
            "", `lease_lost`, `do_not_call`, `taken_out` or `not_running`.
        """
        renewed = _held_update(dial, self.holder).where(DIALS.c.state == "intended")
        async with self.database.transaction() as connection:
            now = now_s()
            lease = {"lease_until_s": now + lease_s, "confirmed_s": now}
            kept = await connection.execute(renewed.values(**lease))
            if not kept.rowcount:
                return "lease_lost"
            if await _is_barred(connection, dial.number):
                refused = DialResult(outcome=DialOutcome.REFUSED, reason="do_not_call")
                then = NextStep(state="excluded")
                await _settle_held_dial(
                    connection, dial, self.holder, result=refused, then=then, now=now
                )
                return "do_not_call"
            if why := await _why_released(connection, dial):
                await _delete_unplaced_dial(
                    connection, dial, self.holder, {"due_s": 0.0, "reason": ""}
                )
            return why

    async def note_placed(self, dial: Dial, provider_call_id: str) -> bool:
        """Store the carrier's id of the call, or a changed one; return False if it is not ours."""
        # The carrier's callback may arrive before its response: the call may already be answered.
        state = case((DIALS.c.state == "intended", "placed"), else_=DIALS.c.state)
        return await _change_held_dial(
            self, dial, provider_call_id=provider_call_id[:100], state=state
        )

    async def note_answered(self, dial: Dial, *, now: float) -> bool:
        """Record that the call is answered; return False if the dial is no longer ours."""
        return await _change_held_dial(self, dial, state="answered", answered_s=now)

    async def renew(self, dial: Dial, *, now_s: Callable[[], float], lease_s: float) -> bool:
        """Extend the lease; return False if the dial is no longer ours."""
        async with self.database.transaction() as connection:
            kept = _held_update(dial, self.holder).values(lease_until_s=now_s() + lease_s)
            return (await connection.execute(kept)).rowcount > 0

    async def settle(self, dial: Dial, result: DialResult, *, then: NextStep, now: float) -> bool:
        """Store a dial's outcome and its contact's next state; return False if it is not ours.

        A number that is on the do-not-call list by now, or was taken out, is excluded instead.
        Also adds the cost to the day's spending, no longer counts a skipped dial as one of the
        day's calls, and closes the contact's callback requests after a completed call.
        """
        async with self.database.transaction() as connection:
            return await _settle_held_dial(
                connection, dial, self.holder, result=result, then=then, now=now
            )

    async def release(self, dial: Dial, *, due_s: float = 0.0, reason: str = "") -> bool:
        """Delete a dial that the carrier never had; its contact is dialled again from `due_s` on.

        The next claim makes it again under the same id, unless the number is on the do-not-call
        list by now, or was taken out. It no longer counts as one of the day's calls. Returns False
        if the dial is no longer ours, or if the carrier has it.
        """
        contact_values = {"due_s": due_s, "reason": reason}
        async with self.database.transaction() as connection:
            return await _delete_unplaced_dial(connection, dial, self.holder, contact_values)

    async def adopt_expired(
        self, campaigns: Collection[str], *, now_s: Callable[[], float], lease_s: float
    ) -> Sequence[Claim]:
        """Take over the dials of these campaigns whose lease has expired; we hold them from now on.

        They include our own if this process did not renew them in time. Dials of other campaigns
        are left to processes that have those campaigns configured, since only they can follow them.
        Dials of erased contacts are deleted, whatever their campaign.
        """
        if self.clock is not None:
            await self.clock.measure()
        ownerless = ~exists().where(CONTACTS.c.id == DIALS.c.contact_id)
        ours = DIALS.c.campaign.in_(campaigns) | ownerless
        silent = ours & (DIALS.c.state != "settled") & (DIALS.c.lease_until_s <= now_s())
        async with self.database.reading() as connection:
            if (
                await connection.execute(select(DIALS.c.id).where(silent).limit(1))
            ).first() is None:
                return ()
        async with self.database.transaction() as connection:
            held = {"holder": self.holder, "lease_until_s": now_s() + lease_s}
            taken = update(DIALS).where(silent).values(**held).returning(DIALS)
            dials = (await connection.execute(taken)).all()
            claims = [await _claim_of(connection, row) for row in dials]
            return [claim for claim in claims if claim is not None]

    async def open(self, campaign: str, *, now: float) -> None:
        """Create a campaign that is ready, but not started, unless it exists."""
        async with self.database.transaction() as connection:
            await make_campaign(self.database, connection, campaign, now)

    async def move(
        self,
        campaign: str,
        state: CampaignState,
        *,
        reason: str = "",
        now: float,
        begins: Collection[CampaignState] = (),
    ) -> bool:
        """Change a campaign's state; return False if it does not exist or is not in `begins`.

        Args:
            campaign: The campaign's name.
            state: The new state.
            reason: Why the state changes, as a code.
            now: When it changes, in seconds since 1970.
            begins: The states from which it may change; empty for all.
        """
        values = {"state": state, "reason": reason[:CAMPAIGN_REASON_LENGTH], "changed_s": now}
        change = update(CAMPAIGNS).where(CAMPAIGNS.c.name == campaign).values(**values)
        if begins:
            change = change.where(CAMPAIGNS.c.state.in_(begins))
        async with self.database.transaction() as connection:
            return (await connection.execute(change)).rowcount > 0

    async def finish(self, campaign: str, *, now: float) -> bool:
        """Mark a running campaign as done; return False if it does not run or has contacts left.

        One statement does both, so that a contact that is being added, such as a callback, is not
        missed: it would never be dialled.
        """
        own = CONTACTS.c.campaign == CAMPAIGNS.c.name
        left = exists().where(own, CONTACTS.c.state.in_(UNFINISHED)).correlate(CAMPAIGNS)
        change = update(CAMPAIGNS).where(
            CAMPAIGNS.c.name == campaign, CAMPAIGNS.c.state == "running", ~left
        )
        async with self.database.transaction() as connection:
            done = change.values(state="done", reason="", changed_s=now)
            return (await connection.execute(done)).rowcount > 0


async def take_out(database: Database, campaign: str, numbers: Sequence[str]) -> Sequence[str]:
    """Exclude a contact for good; return which of the `numbers` are contacts of the campaign.

    Nothing changes unless exactly one of them is. A dial under way goes on, and its contact is
    excluded once it is over. A finished contact stays finished.

    Raises:
        StorageError: The database does not answer.
    """
    own = (CONTACTS.c.campaign == campaign) & CONTACTS.c.number.in_(numbers)
    state = case((CONTACTS.c.state == "dialling", "dialling"), else_="excluded")
    async with database.transaction() as connection:
        found = (await connection.execute(select(CONTACTS.c.number).where(own))).scalars().all()
        if len(found) == 1:
            change = update(CONTACTS).where(own, CONTACTS.c.state != "done")
            await connection.execute(change.values(state=state, reason=TAKEN_OUT))
    return found


async def _change_held_dial(queue: Queue, dial: Dial, **values: Any) -> bool:
    """Change a dial's row; return False, and change nothing, if it is settled or not ours."""
    async with queue.database.transaction() as connection:
        return (
            await connection.execute(_held_update(dial, queue.holder).values(**values))
        ).rowcount > 0


async def _settle_held_dial(
    connection: AsyncConnection,
    dial: Dial,
    holder: str,
    *,
    result: DialResult,
    then: NextStep,
    now: float,
) -> bool:
    """Do what `Queue.settle` does, in an open transaction; False if the dial is not `holder`'s."""
    values = {
        "state": "settled",
        "outcome": result.outcome.value,
        "reason": result.reason[:CAMPAIGN_REASON_LENGTH],
        "counted": then.counted,
        "ended_s": now,
        "length_s": result.length_s,
        "cost": result.cost,
    }
    if not (await connection.execute(_held_update(dial, holder).values(**values))).rowcount:
        return False
    # The callee may have asked during this call not to be called again.
    barred = await _is_barred(connection, dial.number)
    state = "excluded" if barred else then.state
    reason = result.reason if state == "excluded" else ""
    if barred:
        reason = BARRED
    own = update(CONTACTS).where(CONTACTS.c.id == dial.contact_id)
    next_state = _unless_taken_out(state, reason[:CODE_LENGTH])
    contact = own.values(**next_state, **_next_values(result, then))
    await connection.execute(contact)
    if then.skipped:  # it is not one of the day's calls
        await connection.execute(_subtract_from_day(dial))
    if result.outcome is DialOutcome.COMPLETED:
        await _close_callbacks(connection, dial.contact_id, now)
    if result.cost:
        spent = {"day_spent": CAMPAIGNS.c.day_spent + result.cost}
        await connection.execute(_update_of_its_day(dial).values(**spent))
    return True


async def _delete_unplaced_dial(
    connection: AsyncConnection, dial: Dial, holder: str, contact_values: Mapping[str, Any]
) -> bool:
    """Delete a dial that was not placed, as if its contact had not been claimed.

    `contact_values` are the contact's new due time and reason. Returns False if the dial is not
    `holder`'s, or if it was placed.
    """
    intended = delete(DIALS).where(_is_held(dial, holder), DIALS.c.state == "intended")
    deleted = await connection.execute(intended)
    if not deleted.rowcount:
        return False
    earlier = dial.attempt - 1
    values = {"state": _state_before(earlier), "dials": earlier, **contact_values}
    if await _is_barred(connection, dial.number):
        values |= {"state": "excluded", "reason": BARRED}
    values |= _unless_taken_out(values["state"], values["reason"])
    own = CONTACTS.c.id == dial.contact_id
    await connection.execute(update(CONTACTS).where(own).values(**values))
    await connection.execute(_subtract_from_day(dial))
    return True


async def _why_released(connection: AsyncConnection, dial: Dial) -> str:
    """Return why a dial may not be made now, as a code; empty if it may. Changes nothing."""
    reason = select(CONTACTS.c.reason).where(CONTACTS.c.id == dial.contact_id)
    if (await connection.execute(reason)).scalar_one_or_none() == TAKEN_OUT:
        return TAKEN_OUT
    state = select(CAMPAIGNS.c.state).where(CAMPAIGNS.c.name == dial.campaign)
    is_running = (await connection.execute(state)).scalar_one_or_none() == "running"
    return "" if is_running else "not_running"


def _unless_taken_out(state: str, reason: str) -> dict[str, Any]:
    """Return a contact's next state and reason; one that was taken out is excluded if unfinished.

    This outweighs the do-not-call list, because a number may leave that list again.
    """
    if state == "done":
        return {"state": state, "reason": reason}
    taken_out = CONTACTS.c.reason == TAKEN_OUT
    return {
        "state": case((taken_out, "excluded"), else_=state),
        "reason": case((taken_out, TAKEN_OUT), else_=reason),
    }


def _held_update(dial: Dial, holder: str) -> Update:
    """Return an update that applies only if `holder` has the dial and it is not settled."""
    return update(DIALS).where(_is_held(dial, holder), DIALS.c.state != "settled")


def _is_held(dial: Dial, holder: str) -> ColumnElement[bool]:
    # A dial that we released and claimed again has the same id and holder.
    claimed = (DIALS.c.id == dial.id) & (DIALS.c.intended_s == dial.intended_s)
    return claimed & (DIALS.c.holder == holder)


async def make_campaign(
    database: Database, connection: AsyncConnection, name: str, now: float
) -> None:
    """Create a campaign unless it exists; it is `ready`, and places no calls until it is started.

    `now` is in seconds since 1970.
    """
    row = {
        "name": name,
        # Unique to this database, and part of each dial's id. Another database also counts its
        # contacts from 1, and the carrier must not mistake its dials for ours.
        "mark": secrets.token_hex(4),
        "state": "ready",
        "reason": "",
        "changed_s": now,
        "claims": 0,
        "claimed_s": 0.0,
        "tokens": 1.0,
        "filled_s": now,
        "day_s": 0.0,
        "day_calls": 0,
        "day_spent": 0.0,
        "rules": "",
    }
    await connection.execute(database.insert(CAMPAIGNS).values(**row).on_conflict_do_nothing())


def _next_values(result: DialResult, then: NextStep) -> dict[str, Any]:
    """Return the changes of a contact's row after a dial, except state and reason."""
    if then.skipped:  # a skip changes only the due time
        return {"due_s": then.due_s}
    return {
        "due_s": then.due_s,
        "attempts": CONTACTS.c.attempts + int(then.counted),
        "uncounted": CONTACTS.c.uncounted + int(not then.counted),
        "outcome": result.outcome.value,
    }


def _state_before(dials: int) -> str:
    return "resting" if dials else "waiting"


def _subtract_from_day(dial: Dial) -> Update:
    """Return the update that subtracts a dial that was not made from its day's count."""
    return _update_of_its_day(dial).values(day_calls=CAMPAIGNS.c.day_calls - 1)


def _update_of_its_day(dial: Dial) -> Update:
    """Return an update of the campaign that applies only if the dial's day is not over."""
    own = update(CAMPAIGNS).where(CAMPAIGNS.c.name == dial.campaign)
    return own.where(CAMPAIGNS.c.day_s <= dial.intended_s)


async def _is_barred(connection: AsyncConnection, number: str) -> bool:
    barred = exists().where(DO_NOT_CALL.c.number == number)
    return bool((await connection.execute(select(barred))).scalar_one())


async def _claim_of(connection: AsyncConnection, row: Row[Any]) -> Claim | None:
    """Return a dial with its contact; if that was erased, delete the dial and return `None`."""
    dial = read_dial(row)
    found = select(CONTACTS).where(CONTACTS.c.id == dial.contact_id)
    contact = (await connection.execute(found)).first()
    if contact is None:
        # The dial's row still has the number, which must be forgotten. In SQLite, a new contact may
        # also get the same id and attempt, and then every claim of the campaign would fail.
        await connection.execute(delete(DIALS).where(DIALS.c.id == dial.id))
        return None
    consent = await consent_of(connection, contact.campaign, contact.number)
    return Claim(contact=read_contact(contact, consent), dial=dial)


async def _close_callbacks(connection: AsyncConnection, contact_id: int, now: float) -> None:
    """Mark the requested callbacks of a contact as done, after a completed call.

    A new request in this call is a callback of its own and stays open.
    """
    call_ids = select(CALLBACK_CONTACTS.c.call_id).where(
        CALLBACK_CONTACTS.c.contact_id == contact_id
    )
    waiting = CALLBACKS.c.call_id.in_(call_ids) & CALLBACKS.c.done_at.is_(None)
    done_at = datetime.fromtimestamp(now, UTC)
    await connection.execute(update(CALLBACKS).where(waiting).values(done_at=done_at))
