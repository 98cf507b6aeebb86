"""One claim of a contact in a campaign's queue, inside the caller's transaction.

A claim begins with an update of the campaign's row. So claims on one campaign run one after the
other, and its limits are exact. Contacts that another transaction is changing are skipped (SKIP
LOCKED in PostgreSQL); SQLite has a single writer.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from sqlalchemy import Select, case, exists, func, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import (
    DO_NOT_CALL as BARRED,
)
from calls.outbound import (
    MAX_UNFINISHED_DIAL_S,
    OUTSIDE_HOURS,
    RULED_OUT,
    CallConsent,
    CampaignUse,
    Claim,
    ClaimRules,
    Contact,
    ContactState,
    Dial,
    DialOutcome,
    DialState,
    NothingToDial,
    TokenBucket,
)
from operations.database.tables import CAMPAIGNS, CONSENTS, CONTACTS, DIALS, DO_NOT_CALL

Kind = TypeVar("Kind", Contact, Dial)
INTENT_COLUMNS: Final = (
    *("id", "campaign", "contact_id", "number", "attempt"),
    *("state", "holder", "lease_until_s", "intended_s"),
)


def read_contact(row: Row[Any], consent: CallConsent | None = None) -> Contact:
    """Convert a row of `contacts`."""
    zones, about = tuple(row.zones.split()), read_fields(row.fields)
    return _value_from_row(Contact, row, zones=zones, fields=about, consent=consent)


def read_dial(row: Row[Any]) -> Dial:
    """Convert a row of `dials`."""
    return _value_from_row(Dial, row)


def _value_from_row(kind: type[Kind], row: Row[Any], **converted: Any) -> Kind:
    """Convert a row to a value with the same field names; `converted` overrides some of them."""
    converted["outcome"] = DialOutcome(row.outcome) if row.outcome else None
    names = (field.name for field in fields(kind) if field.name not in converted)
    return kind(**{name: getattr(row, name) for name in names}, **converted)


def write_intent(dial: Dial) -> dict[str, Any]:
    """Return the row of a dial that is intended, for an insert; it has no outcome yet."""
    unknown = {"provider_call_id": "", "outcome": "", "counted": False, "reason": ""}
    return {name: getattr(dial, name) for name in INTENT_COLUMNS} | unknown


def write_fields(values: Mapping[str, str]) -> str:
    """Return the additional columns of an imported contact as JSON."""
    return json.dumps(dict(values), ensure_ascii=False)


def read_fields(text: str) -> dict[str, str]:
    """Return the columns that `write_fields` wrote."""
    values: dict[str, str] = json.loads(text)
    return values


READ_SIZES: Final = (4, 96, 200, 200)
"""How many contacts one claim reads in each of its queries: few at first, because usually the first
contact is taken; then more, because many may be outside their hours."""
OPEN_STATES: Final[Sequence[ContactState]] = ("waiting", "resting")
UNFINISHED: Final[Sequence[ContactState]] = (*OPEN_STATES, "dialling")
LIVE_STATES: Final[Sequence[DialState]] = ("intended", "placed", "answered")
ENGAGED_S: Final = 10.0  # chosen: how long a contact waits whose number is being called


async def claim_next(
    connection: AsyncConnection,
    campaign: str,
    rules: ClaimRules,
    *,
    holder: str,
    now_s: Callable[[], float],
    lease_s: float,
) -> Claim | NothingToDial:
    """Claim the next contact of a campaign for `holder`, or return why there is none.

    The intended dial is stored, and counts against pace and daily limits. New rules apply first.
    """
    row = await _take_turn(connection, campaign, now_s())
    if row is None:
        return NothingToDial(reason="not_running")
    now = now_s()  # after the wait for other claims on this campaign
    if row.rules != rules.version:
        await _apply_new_rules_version(connection, campaign, rules.version)
    use = await _campaign_use(connection, row, rules)
    bucket = rules.pace(use, now)
    if isinstance(bucket, NothingToDial):
        if row.filled_s > now + lease_s:  # the clock was set back: restart the bucket
            await _update_campaign(connection, campaign, filled_s=now)
        return bucket
    contact, closed = await _next_contact(connection, campaign, rules, now)
    if contact is None:
        return await _nothing_due(connection, campaign, closed=closed, now=now)
    dial = _new_dial(contact, row.mark, holder, now=now, lease_s=lease_s)
    await connection.execute(insert(DIALS).values(write_intent(dial)))
    await _update_contact(connection, contact.id, state="dialling", dials=dial.attempt, reason="")
    used = {
        "tokens": bucket.tokens,
        "filled_s": bucket.filled_s,
        "day_s": rules.day_began_s,
        "day_calls": use.calls_today + 1,
        "day_spent": use.spent_today,
    }
    await _update_campaign(connection, campaign, **used)
    return Claim(contact=replace(contact, state="dialling", dials=dial.attempt), dial=dial)


async def has_due(
    connection: AsyncConnection, campaign: str, rules: ClaimRules, now: float
) -> bool:
    """Return whether a contact of a running campaign is due, or may be by changed rules.

    Only reads. True does not mean that it may be dialled: limits and hours are checked later.
    """
    running = select(CAMPAIGNS.c.name).where(
        CAMPAIGNS.c.name == campaign, CAMPAIGNS.c.state == "running"
    )
    due = exists().where(_open_contacts(campaign), CONTACTS.c.due_s <= now)
    changed = CAMPAIGNS.c.rules != rules.version
    return (await connection.execute(running.where(or_(due, changed)))).first() is not None


async def _apply_new_rules_version(
    connection: AsyncConnection, campaign: str, version: str
) -> None:
    """Make contacts due that the former rules postponed or excluded, and store the new version.

    They are due at once; their reason is removed. Those that were dialled before are resting again,
    the others waiting.
    """
    own = CONTACTS.c.campaign == campaign
    postponed = CONTACTS.c.state.in_(OPEN_STATES) & (CONTACTS.c.reason == OUTSIDE_HOURS)
    excluded = (CONTACTS.c.state == "excluded") & CONTACTS.c.reason.in_(RULED_OUT)
    back = update(CONTACTS).where(own, or_(postponed, excluded))
    state = case((CONTACTS.c.dials > 0, "resting"), else_="waiting")
    await connection.execute(back.values(state=state, due_s=0.0, reason=""))
    await _update_campaign(connection, campaign, rules=version)


async def why_none(connection: AsyncConnection, campaign: str, now: float) -> NothingToDial:
    """Return why there is no contact to dial, if none is due."""
    state = select(CAMPAIGNS.c.state).where(CAMPAIGNS.c.name == campaign)
    if (await connection.execute(state)).scalar_one_or_none() != "running":
        return NothingToDial(reason="not_running")
    return await _nothing_due(connection, campaign, closed=False, now=now)


async def consent_of(connection: AsyncConnection, campaign: str, number: str) -> CallConsent | None:
    """Return the stored consent of a contact; `None` if there is none."""
    own = select(CONSENTS).where(CONSENTS.c.campaign == campaign, CONSENTS.c.number == number)
    row = (await connection.execute(own)).first()
    return _consent_in(row) if row else None


def _consent_in(row: Row[Any]) -> CallConsent | None:
    """Return the consent in a row of `consents`, or of a join with it; `None` without one."""
    if row.kind is None:
        return None  # no row in the outer join
    return CallConsent(kind=row.kind, given_on=row.given_on, source=row.source)


async def _take_turn(connection: AsyncConnection, campaign: str, now: float) -> Row[Any] | None:
    """Lock a campaign's row until the transaction ends, and return it; `None` if it is not running.

    `claimed_s` is updated even if nothing is claimed then, so campaigns take turns.
    """
    turn = (
        update(CAMPAIGNS)
        .where(CAMPAIGNS.c.name == campaign, CAMPAIGNS.c.state == "running")
        .values(claims=CAMPAIGNS.c.claims + 1, claimed_s=now)
        .returning(CAMPAIGNS)
    )
    return (await connection.execute(turn)).first()


async def _campaign_use(
    connection: AsyncConnection, row: Row[Any], rules: ClaimRules
) -> CampaignUse:
    """Return what a campaign uses of its limits; the figures of an earlier day do not count.

    A dial counts until it has an outcome, also after its lease: the call of a machine that is
    frozen, or was killed, may go on.
    """
    own = (DIALS.c.campaign == row.name) & DIALS.c.state.in_(LIVE_STATES)
    live = select(func.count()).select_from(DIALS).where(own)
    is_today = row.day_s == rules.day_began_s
    return CampaignUse(
        calls_now=(await connection.execute(live)).scalar_one(),
        calls_today=row.day_calls if is_today else 0,
        spent_today=row.day_spent if is_today else 0.0,
        bucket=TokenBucket(tokens=row.tokens, filled_s=row.filled_s),
    )


async def _next_contact(
    connection: AsyncConnection, campaign: str, rules: ClaimRules, now: float
) -> tuple[Contact | None, bool]:
    """Return the first contact that may be dialled, and whether any was outside its hours.

    Contacts before it are postponed or excluded, so that the next claim does not read them again.
    At most the sum of `READ_SIZES` are read: `None` does not mean that no other one is due.
    """
    closed, engaged = False, await _numbers_in_calls(connection, now)
    for limit in READ_SIZES:
        rows = await _next_contacts(connection, campaign, now, limit)
        contact, passed = _first_dialable(rows, rules, now, engaged=engaged)
        await _pass_over(connection, passed)
        closed = closed or any(reason == OUTSIDE_HOURS for _, reason in passed)
        if contact is not None or not rows:
            return contact, closed
    return None, closed


async def _numbers_in_calls(connection: AsyncConnection, now: float) -> frozenset[str]:
    """Return the numbers that any campaign is calling now."""
    # All campaigns are named because the index begins with the campaign.
    by_index = DIALS.c.campaign.in_(select(CAMPAIGNS.c.name)) & DIALS.c.state.in_(LIVE_STATES)
    live = await connection.execute(select(DIALS.c.number, DIALS.c.intended_s).where(by_index))
    # With the time in the query, a database would read all dials of two hours by the time index.
    return frozenset(row.number for row in live if row.intended_s > now - MAX_UNFINISHED_DIAL_S)


def _first_dialable(
    rows: Sequence[Row[Any]], rules: ClaimRules, now: float, *, engaged: Collection[str]
) -> tuple[Contact | None, Mapping[tuple[float | None, str], Sequence[int]]]:
    """Return the first contact that may be dialled, and the ids of those before it.

    The ids are grouped by when the contact may be dialled, `None` for never, and by the reason.
    """
    passed: dict[tuple[float | None, str], list[int]] = {}
    for row in rows:
        contact = read_contact(row, _consent_in(row))
        opens_s = BARRED if row.barred else rules.opens_s(contact, now)
        if isinstance(opens_s, str):
            next_due = None, opens_s
        elif opens_s > now:
            next_due = opens_s, OUTSIDE_HOURS
        elif row.number not in engaged:
            return contact, passed
        else:
            next_due = now + ENGAGED_S, ""
        passed.setdefault(next_due, []).append(row.id)
    return None, passed


async def _pass_over(
    connection: AsyncConnection, passed: Mapping[tuple[float | None, str], Sequence[int]]
) -> None:
    """Postpone or exclude the contacts in `passed`, which `_first_dialable` returned."""
    for (opens_s, reason), ids in passed.items():
        values = {"state": "excluded"} if opens_s is None else {"due_s": opens_s}
        own = update(CONTACTS).where(CONTACTS.c.id.in_(ids))
        await connection.execute(own.values(**values, reason=reason))


async def _next_contacts(
    connection: AsyncConnection, campaign: str, now: float, limit: int
) -> Sequence[Row[Any]]:
    """Return the next contacts: highest priority first, then those that have been due longest."""
    found: list[Row[Any]] = []
    for state in OPEN_STATES:  # separately: each query reads in index order
        found += (await connection.execute(_candidate_query(campaign, state, now, limit))).all()
    found.sort(key=lambda row: (-row.priority, row.due_s, row.id))
    return found[:limit]


def _candidate_query(campaign: str, state: str, now: float, limit: int) -> Select[Any]:
    """Return the query for due contacts in one state, the next first; it locks what it returns."""
    barred = exists().where(DO_NOT_CALL.c.number == CONTACTS.c.number)
    own = (CONSENTS.c.campaign == CONTACTS.c.campaign) & (CONSENTS.c.number == CONTACTS.c.number)
    consent = (CONSENTS.c.kind, CONSENTS.c.given_on, CONSENTS.c.source)
    return (
        select(CONTACTS, *consent, barred.label("barred"))
        .select_from(CONTACTS.outerjoin(CONSENTS, own))
        .where(CONTACTS.c.campaign == campaign, CONTACTS.c.state == state, CONTACTS.c.due_s <= now)
        .order_by(CONTACTS.c.priority.desc(), CONTACTS.c.due_s, CONTACTS.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=CONTACTS)
    )


def _open_contacts(campaign: str) -> Any:
    return (CONTACTS.c.campaign == campaign) & CONTACTS.c.state.in_(OPEN_STATES)


async def _nothing_due(
    connection: AsyncConnection, campaign: str, *, closed: bool, now: float
) -> NothingToDial:
    """Return why no contact is due, and when the next one is.

    `closed` says whether this claim has just found contacts outside their hours.
    """
    soonest = select(func.min(CONTACTS.c.due_s)).where(_open_contacts(campaign))
    due_s: float | None = (await connection.execute(soonest)).scalar_one_or_none()
    if due_s is not None:
        reason = "window_closed" if closed else "nobody_due"
        return NothingToDial(reason=reason, again_s=max(due_s, now))
    dialling = exists().where(CONTACTS.c.campaign == campaign, CONTACTS.c.state == "dialling")
    is_dialling = (await connection.execute(select(dialling))).scalar_one()
    return NothingToDial(reason="nobody_due" if is_dialling else "finished")


async def _update_campaign(connection: AsyncConnection, campaign: str, **values: Any) -> None:
    own = update(CAMPAIGNS).where(CAMPAIGNS.c.name == campaign)
    await connection.execute(own.values(**values))


async def _update_contact(connection: AsyncConnection, contact_id: int, **values: Any) -> None:
    own = update(CONTACTS).where(CONTACTS.c.id == contact_id)
    await connection.execute(own.values(**values))


def _dial_id(mark: str, contact: Contact) -> str:
    """Return the id of a contact's next dial; a released dial is repeated under the same id.

    SQLite reuses the id of an erased contact, whose dials other processes may still know. So the id
    includes the time of the import.
    """
    return f"{mark}-{contact.id}-{round(contact.imported_s * 1000.0):x}-{contact.dials + 1}"


def _new_dial(contact: Contact, mark: str, holder: str, *, now: float, lease_s: float) -> Dial:
    """Return the next dial of a contact, held by `holder` for `lease_s`; stores nothing."""
    return Dial(
        id=_dial_id(mark, contact),
        campaign=contact.campaign,
        contact_id=contact.id,
        number=contact.number,
        attempt=contact.dials + 1,
        holder=holder,
        lease_until_s=now + lease_s,
        intended_s=now,
    )
