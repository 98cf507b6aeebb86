"""Contacts that campaigns may call: imports, consent, the do-not-call list, requested callbacks.

A callback is identified by the id of the call in which it was requested. Its contact and the note
that it is queued are written in one transaction, so that it is queued only once, even after a
crash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import and_, delete, false, func, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import DO_NOT_CALL as BARRED
from calls.outbound import RULED_OUT, CallConsent
from campaigns.store.claim import read_fields, write_fields
from campaigns.store.queue import make_campaign
from operations.after_call.outcome_rules import SETTLED_S
from operations.database.database import Database
from operations.database.many_rows import insert_missing, is_one_of, lock_and_use_indexes
from operations.database.storable import storable
from operations.database.tables import (
    CALL_RESULTS,
    CALLBACK_CONTACTS,
    CALLBACKS,
    CALLS,
    CAMPAIGNS,
    CONSENTS,
    CONTACTS,
    DIALS,
    DO_NOT_CALL,
)

ImportedAs: TypeAlias = Literal["added", "updated", "known", "duplicate", "do_not_call"]
"""New; already in the campaign, and completed from this import or unchanged; twice in this import;
on the do-not-call list.
"""

QueuedAs: TypeAlias = Literal["added", "moved", "do_not_call", "no_number"]
"""A new contact; an existing contact with a new time; on the do-not-call list; no usable number."""

BATCH: Final = 1000  # rows per transaction
WITHIN_S: Final = 60.0  # how long after a call its result is known; `after_call.within_s`
UNSEEN_S: Final = 6 * 3600.0  # how long to wait for the record of a callback's call
MAX_LEFT: Final = 100  # callbacks that are returned at once
MAX_WORDS: Final = 300  # characters of an entry's words, the length of the column
STATES_OFF_LIST: Final = {  # by last outcome: a contact's state after its number left the list
    ("", "refused"): "waiting",
    ("busy", "no_answer", "silent", "failed", "cancelled", "agent_failed"): "resting",
    ("completed", "voicemail", "declined", "no_such_number", "unknown"): "done",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContact:
    """A contact to be stored; the number is E.164.

    Attributes:
        zone_given: Whether the import named its zone.
        never: Why the campaign's rules exclude the contact, as a code; empty if they do not.
    """

    number: str
    name: str = ""
    zones: tuple[str, ...] = ()
    zone_given: bool = False
    never: str = ""
    fields: dict[str, str] = field(default_factory=dict[str, str])
    consent: CallConsent | None = None
    priority: int = 0
    due_s: float = 0.0  # set for a callback


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftCallback:
    """A callback that is not queued yet."""

    call_id: str
    number: str
    reason: str
    asked_s: float
    callback_at_s: float | None  # from the call's result; `None` if no time was agreed
    outcome: str  # the outcome of that call; empty if unknown


@dataclass(frozen=True, slots=True)
class CallbackNote:
    """How a requested callback was handled, as a row of the table `callback_contacts`."""

    call_id: str
    number: str
    campaign: str
    outcome: QueuedAs
    due_s: float = 0.0
    contact_id: int | None = None


@dataclass(frozen=True, slots=True)
class DoNotCallEntry:
    """An entry of the do-not-call list."""

    number: str
    source: str
    added_s: float
    words: str = ""


@dataclass(slots=True)
class Contacts:
    """The store of contacts; every method raises `StorageError` if the database fails.

    Attributes:
        dry: Whether `add` only returns what it would do, for the preview of one import.
    """

    database: Database
    dry: bool = False
    _seen: set[str] = field(default_factory=set[str], init=False)  # numbers of a dry import

    async def add(
        self, campaign: str, contacts: Sequence[NewContact], *, now: float
    ) -> Sequence[ImportedAs]:
        """Store at most `BATCH` contacts; return the result for each, in order.

        Contacts that the campaign already has get the values that they lack: see `_gap_values`.

        All batches of an import must have the same `now`: this distinguishes a number that occurs
        twice in the import from one that was in the campaign before. The campaign is created if it
        does not exist.
        """
        if self.dry:
            return await self._preview_adding(campaign, contacts, now)
        numbers = [contact.number for contact in contacts]
        async with self.database.transaction() as connection:
            # Otherwise two parallel imports of a file could both count a number as new.
            await lock_and_use_indexes(connection, f"contacts of {campaign}")
            await make_campaign(self.database, connection, campaign, now)
            known = await _known_contacts(connection, campaign, numbers)
            barred = await _barred_among(connection, numbers)
            results: list[ImportedAs] = []
            new: dict[str, NewContact] = {}
            for contact in contacts:
                results.append(_import_result(contact.number, new, known, barred, now))
                if results[-1] == "added":
                    new[contact.number] = contact
                elif results[-1] == "known" and await _fill_gaps(
                    connection, known[contact.number], contact, now
                ):
                    results[-1] = "updated"
            await _insert_contacts(connection, campaign, list(new.values()), now)
        return results

    async def _preview_adding(
        self, campaign: str, contacts: Sequence[NewContact], now: float
    ) -> Sequence[ImportedAs]:
        """Return what `add` would return, without storing anything.

        New numbers are kept in `_seen`: they are duplicates in later batches of this import.
        """
        numbers = [contact.number for contact in contacts]
        async with self.database.reading() as connection:
            known = await _known_contacts(connection, campaign, numbers)
            barred = await _barred_among(connection, numbers)
        results: list[ImportedAs] = []
        for contact in contacts:
            results.append(_import_result(contact.number, self._seen, known, barred, now))
            if results[-1] == "added":
                self._seen.add(contact.number)
            elif results[-1] == "known" and _gap_values(known[contact.number], contact):
                results[-1] = "updated"
        return results

    async def do_not_call(self, numbers: Iterable[str]) -> frozenset[str]:
        """Return the numbers that are on the do-not-call list."""
        async with self.database.reading() as connection:
            return await _barred_among(connection, list(numbers))

    async def add_do_not_call(
        self,
        number: str,
        *,
        source: str,
        now: float,
        dial_id: str = "",
        also: str = "",
        words: str = "",
    ) -> bool:
        """Put a number on the list and exclude its contacts; return False if it was listed before.

        A contact that is being called is excluded when that dial is settled.

        Args:
            number: The number, in E.164 or as the carrier wrote it.
            source: Where the request came from.
            now: The entry's time, in seconds since 1970.
            dial_id: The campaign's dial that reached the person. The number it dialled is listed as
                well, because the carrier may have written it differently.
            also: The other reading of an ambiguous number.
            words: The words of the request.
        """
        async with self.database.transaction() as connection:
            numbers = await _meant_numbers(connection, number, also, dial_id)
            entries = [DoNotCallEntry(item, source, now, words) for item in sorted(numbers)]
            return await _put_on_list(connection, entries) > 0

    async def add_do_not_call_entries(self, entries: Sequence[DoNotCallEntry]) -> int:
        """List up to `BATCH` numbers, and exclude their contacts; return how many are new."""
        async with self.database.transaction() as connection:
            return await _put_on_list(connection, entries)

    async def remove_do_not_call(
        self, number: str, *, dial_id: str = "", also: str = "", added_s: float | None = None
    ) -> int:
        """Take numbers off the list; return how many were on it.

        A contact that the list excluded gets the state in `STATES_OFF_LIST`.

        Args:
            number: As for `add_do_not_call`.
            dial_id: Likewise.
            also: Likewise.
            added_s: Remove only entries that were listed at this time; `None` for any.
        """
        async with self.database.transaction() as connection:
            own = DO_NOT_CALL.c.number.in_(await _meant_numbers(connection, number, also, dial_id))
            if added_s is not None:
                own &= DO_NOT_CALL.c.added_s == added_s
            found = delete(DO_NOT_CALL).where(own).returning(DO_NOT_CALL.c.number)
            numbers = (await connection.execute(found)).scalars().all()
            theirs = CONTACTS.c.number.in_(numbers) & (CONTACTS.c.state == "excluded")
            theirs &= CONTACTS.c.reason == BARRED
            for outcomes, state in STATES_OFF_LIST.items():
                back = update(CONTACTS).where(theirs, CONTACTS.c.outcome.in_(outcomes))
                await connection.execute(back.values(state=state, reason=""))
        return len(numbers)

    async def do_not_call_entries(
        self,
        *,
        skip: int = 0,
        most: int | None = None,
        numbers: Sequence[str] = (),
        ending: str = "",
        least: int = 0,
        after: DoNotCallEntry | None = None,
    ) -> Sequence[DoNotCallEntry]:
        """Return entries of the list, the newest first.

        Args:
            skip: How many of the newest to leave out.
            most: How many to return; `None` for all.
            numbers: Only these, and those with the `ending`; all if both are empty.
            ending: See `numbers`.
            least: Only numbers with at least this many characters.
            after: Only entries that follow this one in that order, even if it was taken off since.
        """
        number, added_s = DO_NOT_CALL.c.number, DO_NOT_CALL.c.added_s
        wanted = select(DO_NOT_CALL).order_by(added_s.desc(), number)
        if after:
            same = (added_s == after.added_s) & (number > after.number)
            wanted = wanted.where((added_s < after.added_s) | same)
        if numbers or ending:
            has_ending = number.endswith(ending, autoescape=True) if ending else false()
            wanted = wanted.where(number.in_(numbers) | has_ending, func.length(number) >= least)
        async with self.database.reading() as connection:
            rows = (await connection.execute(wanted.offset(skip).limit(most))).all()
        return [DoNotCallEntry(row.number, row.source, row.added_s, row.words) for row in rows]

    async def queue_callback(
        self, call_id: str, campaign: str, contact: NewContact, *, now: float
    ) -> QueuedAs | None:
        """Queue a callback, and start its campaign again; `None` if it was handled or must wait.

        It waits while its contact is being dialled, whose outcome would overwrite the change.
        `left_callbacks` then returns it for a later attempt. A paused campaign stays paused.
        """
        async with self.database.transaction() as connection:
            await make_campaign(self.database, connection, campaign, now)
            if await _is_queued(connection, call_id):
                return None
            known = await _contact_of(connection, campaign, contact.number)
            if known is not None and known.state == "dialling":
                return None
            return await _add_or_renew_contact(connection, call_id, campaign, contact, known, now)

    async def give_up_callback(self, note: CallbackNote, *, now: float) -> bool:
        """Record that a callback is not made, and why; return False if it was handled before."""
        async with self.database.transaction() as connection:
            if await _is_queued(connection, note.call_id):
                return False
            await _store_note(connection, note, now)
            return True

    async def left_callbacks(
        self, *, now: float, within_s: float = WITHIN_S
    ) -> Sequence[LeftCallback]:
        """Return the first `MAX_LEFT` callbacks that are not queued although their result is due.

        A killed process has left them, or they could not be queued before. The result of a call is
        known `within_s` after its end; without a record of the call, `UNSEEN_S` after the request.
        Callbacks that the staff has marked as done are left out.
        """
        ended_before = datetime.fromtimestamp(now, UTC) - timedelta(seconds=within_s + SETTLED_S)
        asked_before = datetime.fromtimestamp(now, UTC) - timedelta(seconds=UNSEEN_S)
        over = or_(
            and_(CALLS.c.state != "live", CALLS.c.ended_at < ended_before),
            and_(CALLS.c.id.is_(None), CALLBACKS.c.asked_at < asked_before),
        )
        wanted = (
            select(CALLBACKS, CALL_RESULTS.c.callback_at_s, CALL_RESULTS.c.outcome)
            .outerjoin(CALLS, CALLS.c.id == CALLBACKS.c.call_id)
            .outerjoin(CALL_RESULTS, CALL_RESULTS.c.call_id == CALLBACKS.c.call_id)
            .outerjoin(CALLBACK_CONTACTS, CALLBACK_CONTACTS.c.call_id == CALLBACKS.c.call_id)
            .where(CALLBACKS.c.done_at.is_(None), CALLBACK_CONTACTS.c.call_id.is_(None), over)
            .order_by(CALLBACKS.c.id)
            .limit(MAX_LEFT)
        )
        async with self.database.reading() as connection:
            return [_left_callback(row) for row in await connection.execute(wanted)]


async def _meant_numbers(
    connection: AsyncConnection, number: str, also: str, dial_id: str
) -> frozenset[str]:
    """Return a number, its other reading, and the one that a dial called, without empty ones."""
    dialled = select(DIALS.c.number).where(DIALS.c.id == dial_id)
    return frozenset({number, also, *(await connection.execute(dialled)).scalars()} - {""})


async def _put_on_list(connection: AsyncConnection, entries: Sequence[DoNotCallEntry]) -> int:
    """Store new entries, and exclude open contacts of all numbers; return how many are new."""
    numbers = sorted({entry.number for entry in entries})
    known = await _barred_among(connection, numbers)
    rows = [
        {
            "number": entry.number,
            "source": storable(entry.source)[:100],
            "added_s": entry.added_s,
            "words": storable(entry.words)[:MAX_WORDS],
        }
        for entry in entries
    ]
    await insert_missing(connection, DO_NOT_CALL, rows)
    theirs = is_one_of(connection, CONTACTS.c.number, numbers)
    open_ones = CONTACTS.c.state.in_(("waiting", "resting")) & theirs
    excluded = update(CONTACTS).where(open_ones).values(state="excluded", reason=BARRED)
    await connection.execute(excluded)
    return len(numbers) - len(known)


async def _insert_contacts(
    connection: AsyncConnection, campaign: str, new: Sequence[NewContact], now: float
) -> None:
    """Insert contacts and their consents; rows that exist stay as they are."""
    await insert_missing(
        connection, CONTACTS, [contact_row(campaign, new_contact, now) for new_contact in new]
    )
    consents = [
        _consent_row(campaign, new_contact, now) for new_contact in new if new_contact.consent
    ]
    await insert_missing(connection, CONSENTS, consents)


def _import_result(
    number: str,
    new: Iterable[str],
    known: Mapping[str, Row[Any]],
    barred: frozenset[str],
    now: float,
) -> ImportedAs:
    """Return what an import does with a number; `new` holds those of this import so far."""
    if number in barred:
        return "do_not_call"
    if number in new or (number in known and known[number].imported_s == now):
        return "duplicate"
    return "known" if number in known else "added"


async def _known_contacts(
    connection: AsyncConnection, campaign: str, numbers: Sequence[str]
) -> dict[str, Row[Any]]:
    """Return the campaign's stored contacts among the numbers, by number."""
    # Contacts are selected by number first, in a CTE of its own. With both conditions at once,
    # PostgreSQL would read the whole campaign for each batch: before ANALYZE it assumes that a
    # campaign has few contacts.
    found = (
        select(CONTACTS)
        .where(is_one_of(connection, CONTACTS.c.number, numbers))
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    own = select(found).where(found.c.campaign == campaign)
    return {row.number: row for row in await connection.execute(own)}


async def _fill_gaps(
    connection: AsyncConnection, known: Row[Any], contact: NewContact, now: float
) -> bool:
    """Fill the gaps of a contact from a later import; return whether its row has changed.

    A missing consent is added as well; that alone is not counted as a change.
    """
    if contact.consent:
        await insert_missing(connection, CONSENTS, [_consent_row(known.campaign, contact, now)])
    values = _gap_values(known, contact)
    if values:
        own = update(CONTACTS).where(CONTACTS.c.id == known.id)
        await connection.execute(own.values(**values))
    return bool(values)


def _gap_values(known: Row[Any], contact: NewContact) -> dict[str, Any]:
    """Return the changes of a contact's row by a later import.

    Values that are known are not replaced, so that importing a file again changes nothing. A
    contact that the campaign's rules exclude waits again if they would accept this row.
    """
    values, fields = dict[str, Any](), read_fields(known.fields)
    if contact.name and not known.name:
        values["name"] = contact.name[:200]
    if contact.fields.keys() - fields.keys():
        values["fields"] = write_fields(contact.fields | fields)
    if contact.zone_given and len(known.zones.split()) != 1:
        values["zones"] = " ".join(contact.zones)
    if known.state == "excluded" and known.reason in RULED_OUT and not contact.never:
        values |= {"state": "resting" if known.dials else "waiting", "reason": "", "due_s": 0.0}
        values["zones"] = " ".join(contact.zones)
    return values


async def _barred_among(connection: AsyncConnection, numbers: Sequence[str]) -> frozenset[str]:
    among = is_one_of(connection, DO_NOT_CALL.c.number, numbers)
    own = select(DO_NOT_CALL.c.number).where(among)
    return frozenset((await connection.execute(own)).scalars())


def contact_row(campaign: str, contact: NewContact, now: float) -> dict[str, Any]:
    """Return the row of a contact that was never dialled."""
    return {
        "campaign": campaign,
        "number": contact.number,
        "name": contact.name[:200],
        "zones": " ".join(contact.zones),
        "fields": write_fields(contact.fields),
        "priority": contact.priority,
        "state": "excluded" if contact.never else "waiting",
        "reason": contact.never,
        "due_s": contact.due_s,
        "attempts": 0,
        "dials": 0,
        "uncounted": 0,
        "outcome": "",
        "imported_s": now,
    }


def _consent_row(campaign: str, contact: NewContact, now: float) -> dict[str, Any]:
    """Return the row of a contact's consent, with texts cut to their columns' lengths."""
    consent = contact.consent or CallConsent(kind="", given_on="", source="")
    return {
        "campaign": campaign,
        "number": contact.number,
        "kind": consent.kind[:64],
        "given_on": consent.given_on[:32],
        "source": consent.source[:300],
        "recorded_s": now,
    }


async def _add_or_renew_contact(
    connection: AsyncConnection,
    call_id: str,
    campaign: str,
    contact: NewContact,
    known: Row[Any] | None,
    now: float,
) -> QueuedAs:
    """Queue a callback as a new contact, or for `known`, which has all its attempts again.

    Only note it if the number is on the do-not-call list. Otherwise also store its consent, and
    start the campaign again.
    """
    if await _barred_among(connection, [contact.number]):
        refused = CallbackNote(call_id, contact.number, campaign, "do_not_call")
        await _store_note(connection, refused, now)
        return "do_not_call"
    was_empty = await _is_empty(connection, campaign)
    if known is None:
        values = contact_row(campaign, contact, now)
        added = insert(CONTACTS).values(values).returning(CONTACTS.c.id)
        contact_id = int((await connection.execute(added)).scalar_one())
    else:
        contact_id = int(known.id)
        renewed = {"state": "waiting", "due_s": contact.due_s, "attempts": 0, "uncounted": 0}
        own = update(CONTACTS).where(CONTACTS.c.id == contact_id)
        await connection.execute(own.values(**renewed, reason=""))
    if contact.consent is not None:
        await insert_missing(connection, CONSENTS, [_consent_row(campaign, contact, now)])
    await _resume_finished(connection, campaign, empty=was_empty, now=now)
    outcome: QueuedAs = "added" if known is None else "moved"
    note = CallbackNote(call_id, contact.number, campaign, outcome, contact.due_s, contact_id)
    await _store_note(connection, note, now)
    return outcome


async def _store_note(connection: AsyncConnection, note: CallbackNote, now: float) -> None:
    """Store that a callback has become a contact of a campaign, or why it has not."""
    row = {
        "call_id": note.call_id,
        "number": note.number[:64],
        "campaign": note.campaign,
        "contact_id": note.contact_id,
        "outcome": note.outcome,
        "due_s": note.due_s,
        "made_s": now,
    }
    await connection.execute(insert(CALLBACK_CONTACTS).values(**row))


async def _is_queued(connection: AsyncConnection, call_id: str) -> bool:
    own = select(CALLBACK_CONTACTS.c.call_id).where(CALLBACK_CONTACTS.c.call_id == call_id)
    return (await connection.execute(own)).first() is not None


async def _contact_of(connection: AsyncConnection, campaign: str, number: str) -> Row[Any] | None:
    """Return a contact's row, locked until the transaction ends; `None` if there is none."""
    own = select(CONTACTS).where(CONTACTS.c.campaign == campaign, CONTACTS.c.number == number)
    return (await connection.execute(own.with_for_update())).first()


async def _is_empty(connection: AsyncConnection, campaign: str) -> bool:
    own = select(CONTACTS.c.id).where(CONTACTS.c.campaign == campaign).limit(1)
    return (await connection.execute(own)).first() is None


async def _resume_finished(
    connection: AsyncConnection, campaign: str, *, empty: bool, now: float
) -> None:
    """Resume a campaign that was finished.

    A campaign that was never started is started only if it had no contact before (`empty`): it
    exists for callbacks. A paused campaign stays paused, by an operator's decision or because of a
    failure.
    """
    states = ("done", "ready") if empty else ("done",)
    own = (CAMPAIGNS.c.name == campaign) & CAMPAIGNS.c.state.in_(states)
    values = {"state": "running", "reason": "callback", "changed_s": now}
    await connection.execute(update(CAMPAIGNS).where(own).values(**values))


def _left_callback(row: Row[Any]) -> LeftCallback:
    """Return a stored callback; its outcome is that of the call, empty if unknown."""
    return LeftCallback(
        call_id=row.call_id,
        number=row.number,
        reason=row.reason,
        asked_s=row.asked_at.timestamp(),
        callback_at_s=row.callback_at_s,
        outcome=row.outcome or "",
    )
