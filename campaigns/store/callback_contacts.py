"""Requested callbacks as contacts of a campaign: each once, and none on the do-not-call list.

A callback is identified by its call. The contact and the note that it was queued are written in one
transaction, so a second look, also after a crash, finds it done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from campaigns.store.contacts import NewContact, contact_row
from campaigns.store.office import make_campaign
from operations.database.database import Database
from operations.database.tables import (
    CALL_RESULTS,
    CALLBACK_CONTACTS,
    CALLBACKS,
    CALLS,
    CAMPAIGNS,
    CONSENTS,
    CONTACTS,
    DO_NOT_CALL,
)

QueuedAs: TypeAlias = Literal["added", "moved", "do_not_call", "no_number"]
"""A new contact; an existing contact with a new time; on the do-not-call list; no usable number."""

SETTLED_S: Final = 60.0  # after that no process works on its callback any more
UNSEEN_S: Final = 6 * 3600.0  # after the request, for a call that has no record
LEFT_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftCallback:
    """A callback that is not queued yet."""

    call_id: str
    number: str
    reason: str
    asked_s: float
    callback_at_s: float | None  # from the call's result; `None` if no time was agreed
    outcome: str  # of that call; empty if unknown


@dataclass(frozen=True, slots=True)
class CallbackNote:
    """A row of the table of queued callbacks."""

    call_id: str
    number: str
    campaign: str
    outcome: QueuedAs
    due_s: float = 0.0
    contact_id: int | None = None


@dataclass(slots=True)
class CallbackContacts:
    """Queues callbacks; every method raises `StorageError` when the database fails.

    Attributes:
        within_s: After the end of a call its result is known; `after_call.within_s`.
    """

    database: Database
    within_s: float = 60.0

    async def queue(
        self, call_id: str, campaign: str, contact: NewContact, *, now: float
    ) -> QueuedAs | None:
        """Queue a callback in a campaign; `None` if it is queued already or cannot be queued yet.

        A contact that is being dialled is not changed, because the dial's outcome would overwrite
        the change. The callback stays in `left` for a later attempt.
        """
        async with self.database.transaction() as connection:
            await make_campaign(self.database, connection, campaign, now)
            if await _is_queued(connection, call_id):
                return None
            known = await _contact_of(connection, campaign, contact.number)
            if known is not None and known.state == "dialling":
                return None
            return await self._become(connection, call_id, campaign, contact, known, now)

    async def give_up(self, note: CallbackNote, *, now: float) -> bool:
        """Record that there is no callback, and why; return False if it was handled before."""
        async with self.database.transaction() as connection:
            if await _is_queued(connection, note.call_id):
                return False
            await _note(connection, note, now)
            return True

    async def left(self, *, now: float) -> Sequence[LeftCallback]:
        """Return some unqueued callbacks of calls that ended long ago.

        A killed process has left them, or a campaign could not take them yet.
        """
        settled = datetime.fromtimestamp(now, UTC) - timedelta(seconds=self.within_s + SETTLED_S)
        unseen = datetime.fromtimestamp(now, UTC) - timedelta(seconds=UNSEEN_S)
        over = or_(
            and_(CALLS.c.state != "live", CALLS.c.ended_at < settled),
            and_(CALLS.c.id.is_(None), CALLBACKS.c.asked_at < unseen),
        )
        wanted = (
            select(CALLBACKS, CALL_RESULTS.c.callback_at_s, CALL_RESULTS.c.outcome)
            .outerjoin(CALLS, CALLS.c.id == CALLBACKS.c.call_id)
            .outerjoin(CALL_RESULTS, CALL_RESULTS.c.call_id == CALLBACKS.c.call_id)
            .outerjoin(CALLBACK_CONTACTS, CALLBACK_CONTACTS.c.call_id == CALLBACKS.c.call_id)
            .where(CALLBACKS.c.done_at.is_(None), CALLBACK_CONTACTS.c.call_id.is_(None), over)
            .order_by(CALLBACKS.c.id)
            .limit(LEFT_AT_ONCE)
        )
        async with self.database.reading() as connection:
            return [_left(row) for row in await connection.execute(wanted)]

    async def _become(
        self,
        connection: AsyncConnection,
        call_id: str,
        campaign: str,
        contact: NewContact,
        known: Row[Any] | None,
        now: float,
    ) -> QueuedAs:
        if await _is_barred(connection, contact.number):
            refused = CallbackNote(call_id, contact.number, campaign, "do_not_call")
            await _note(connection, refused, now)
            return "do_not_call"
        alone = await _is_empty(connection, campaign)
        if known is None:
            values = contact_row(campaign, contact, now)
            added = insert(CONTACTS).values(values).returning(CONTACTS.c.id)
            contact_id = int((await connection.execute(added)).scalar_one())
        else:
            contact_id = int(known.id)
            again = {"state": "waiting", "due_s": contact.due_s, "attempts": 0, "uncounted": 0}
            own = update(CONTACTS).where(CONTACTS.c.id == contact_id)
            await connection.execute(own.values(**again))
        await self._consent(connection, campaign, contact, now)
        await _wake(connection, campaign, alone=alone, now=now)
        outcome: QueuedAs = "added" if known is None else "moved"
        made = CallbackNote(call_id, contact.number, campaign, outcome, contact.due_s, contact_id)
        await _note(connection, made, now)
        return outcome

    async def _consent(
        self, connection: AsyncConnection, campaign: str, contact: NewContact, now: float
    ) -> None:
        if contact.consent is None:
            return
        row = {
            "campaign": campaign,
            "number": contact.number,
            "kind": contact.consent.kind[:64],
            "given_on": contact.consent.given_on[:32],
            "source": contact.consent.source[:300],
            "recorded_s": now,
        }
        added = self.database.insert(CONSENTS).values(**row).on_conflict_do_nothing()
        await connection.execute(added)


async def note_called(connection: AsyncConnection, contact_id: int, now: float) -> None:
    """Mark the requested callbacks of a contact as done, after a completed call.

    A new request, even in this call, belongs to a call of its own and stays open.
    """
    given = select(CALLBACK_CONTACTS.c.call_id).where(CALLBACK_CONTACTS.c.contact_id == contact_id)
    waiting = CALLBACKS.c.call_id.in_(given) & CALLBACKS.c.done_at.is_(None)
    done_at = datetime.fromtimestamp(now, UTC)
    await connection.execute(update(CALLBACKS).where(waiting).values(done_at=done_at))


async def _note(connection: AsyncConnection, made: CallbackNote, now: float) -> None:
    row = {
        "call_id": made.call_id,
        "number": made.number[:64],
        "campaign": made.campaign,
        "contact_id": made.contact_id,
        "outcome": made.outcome,
        "due_s": made.due_s,
        "made_s": now,
    }
    await connection.execute(insert(CALLBACK_CONTACTS).values(**row))


async def _is_queued(connection: AsyncConnection, call_id: str) -> bool:
    own = select(CALLBACK_CONTACTS.c.call_id).where(CALLBACK_CONTACTS.c.call_id == call_id)
    return (await connection.execute(own)).first() is not None


async def _is_barred(connection: AsyncConnection, number: str) -> bool:
    own = select(DO_NOT_CALL.c.number).where(DO_NOT_CALL.c.number == number)
    return (await connection.execute(own)).first() is not None


async def _contact_of(connection: AsyncConnection, campaign: str, number: str) -> Row[Any] | None:
    own = select(CONTACTS).where(CONTACTS.c.campaign == campaign, CONTACTS.c.number == number)
    return (await connection.execute(own.with_for_update())).first()


async def _is_empty(connection: AsyncConnection, campaign: str) -> bool:
    own = select(CONTACTS.c.id).where(CONTACTS.c.campaign == campaign).limit(1)
    return (await connection.execute(own)).first() is None


async def _wake(connection: AsyncConnection, campaign: str, *, alone: bool, now: float) -> None:
    """Resume a campaign that had no contact left.

    A campaign that was never started is started only if this callback is its only contact: it
    exists for callbacks. A paused campaign stays paused, because an operator or a failure paused
    it.
    """
    states = ("done", "ready") if alone else ("done",)
    own = (CAMPAIGNS.c.name == campaign) & CAMPAIGNS.c.state.in_(states)
    values = {"state": "running", "reason": "callback", "changed_s": now}
    await connection.execute(update(CAMPAIGNS).where(own).values(**values))


def _left(row: Row[Any]) -> LeftCallback:
    return LeftCallback(
        call_id=row.call_id,
        number=row.number,
        reason=row.reason,
        asked_s=row.asked_at.timestamp(),
        callback_at_s=row.callback_at_s,
        outcome=row.outcome or "",
    )
