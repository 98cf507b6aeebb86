"""The call list: finds recorded calls by date, party, campaign, result and verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select

from operations.database.database import Database
from operations.database.tables import CALL_RESULTS, CALLS, CONTACTS, DIALS
from operations.record.reader import newest_of, select_rows
from operations.record.voicemails import OTHER_PARTY

MAX_CHOICES: Final = 200  # of one filter
MAX_SUMS: Final = 4_000  # rows of sums: by day, verdict and currency, the newest days first


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCall:
    """A call in the list."""

    id: str
    started_at: datetime  # UTC
    state: str
    transport: str
    direction: str
    number: str  # the other party's, complete
    name: str  # the contact's; empty if the call does not belong to a campaign
    agent: str
    campaign: str
    length_s: float | None
    reason: str  # of its end
    result: str  # a code; empty if there is none
    verdict: str
    why: str  # of the verdict, a code
    cost: float | None
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSum:
    """The calls of one day with one verdict."""

    day: str  # UTC, such as `2026-11-28`
    verdict: str
    currency: str
    calls: int
    cost: float | None  # of those whose price is known


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which calls are wanted; an empty field excludes none."""

    since: datetime | None = None
    before: datetime | None = None
    number: str = ""  # its last digits
    least_length: int = 0  # of the number, if `number` is given
    name: str = ""  # a part of it, case-insensitive
    agent: str = ""
    campaign: str = ""
    result: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallChoices:
    """The values that filters can take."""

    agents: Sequence[str]
    campaigns: Sequence[str]
    results: Sequence[str]


@dataclass(frozen=True, slots=True)
class CallList:
    """The recorded calls; methods raise `StorageError` when the database does not answer."""

    database: Database

    async def find(self, wanted: CallFilter, *, limit: int) -> Sequence[ListedCall]:
        """Return the wanted calls, including those in progress, the newest first.

        At most `limit`, and those that began at the same time as the last one.
        """
        query = _select_listed_calls().where(*_conditions_of_filter(wanted))
        query = newest_of(query, CALLS.c.started_at, limit).order_by(CALLS.c.id)
        async with self.database.reading() as connection:
            return await select_rows(connection, query, ListedCall)

    async def sums(self, wanted: CallFilter) -> Sequence[CallSum]:
        """Return the sums of the wanted calls, by day, verdict and currency, the latest day first.

        At most `MAX_SUMS`.
        """
        day = func.date(CALLS.c.started_at)
        query: Select[Any] = (  # pyright: ignore[reportAssignmentType] - the columns' types vary
            _select_listed_calls()
            .where(*_conditions_of_filter(wanted))
            .with_only_columns(
                day.label("day"), CALLS.c.verdict, CALLS.c.currency,
                func.count().label("calls"), func.sum(CALLS.c.cost).label("cost"),
                maintain_column_froms=True,
            )
            .group_by(day, CALLS.c.verdict, CALLS.c.currency)
            .order_by(day.desc())
            .limit(MAX_SUMS)
        )  # fmt: skip
        async with self.database.reading() as connection:
            found = await select_rows(connection, query, CallSum)
        return [replace(row, day=str(row.day)) for row in found]  # a date in PostgreSQL

    async def choices(self) -> CallChoices:
        """Return the agents, campaigns and results on record, at most `MAX_CHOICES` of each."""
        async with self.database.reading() as connection:
            found = [
                list((await connection.execute(_select_distinct(column))).scalars())
                for column in (CALLS.c.agent, DIALS.c.campaign, CALL_RESULTS.c.outcome)
            ]
        agents, campaigns, results = found
        return CallChoices(agents=agents, campaigns=campaigns, results=results)


def _select_listed_calls() -> Select[Any]:
    """Select the fields of `ListedCall`; those of a campaign or a result are empty if missing."""
    joined = (
        CALLS.outerjoin(DIALS, DIALS.c.id == CALLS.c.dial_id)
        .outerjoin(CONTACTS, CONTACTS.c.id == DIALS.c.contact_id)
        .outerjoin(CALL_RESULTS, CALL_RESULTS.c.call_id == CALLS.c.id)
    )
    from_calls = (
        "id", "started_at", "state", "transport", "direction", "agent", "length_s", "reason",
        "verdict", "why", "cost", "currency",
    )  # fmt: skip
    return select(
        *(CALLS.c[name] for name in from_calls),
        OTHER_PARTY.label("number"),
        func.coalesce(CONTACTS.c.name, "").label("name"),
        func.coalesce(DIALS.c.campaign, "").label("campaign"),
        func.coalesce(CALL_RESULTS.c.outcome, "").label("result"),
    ).select_from(joined)


def _conditions_of_filter(wanted: CallFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a search; all of them must hold, and an empty filter has none."""
    found: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        found.append(CALLS.c.started_at >= wanted.since)
    if wanted.before is not None:
        found.append(CALLS.c.started_at < wanted.before)
    if wanted.number:
        found.append(OTHER_PARTY.endswith(wanted.number, autoescape=True))
        found.append(func.length(OTHER_PARTY) >= wanted.least_length)
    if wanted.name:
        found.append(func.lower(CONTACTS.c.name).contains(wanted.name.lower(), autoescape=True))
    exact = {
        CALLS.c.agent: wanted.agent,
        DIALS.c.campaign: wanted.campaign,
        CALL_RESULTS.c.outcome: wanted.result,
        CALLS.c.verdict: wanted.verdict,
    }
    return found + [column == value for column, value in exact.items() if value]


def _select_distinct(column: Any) -> Select[Any]:
    return select(column).where(column != "").distinct().order_by(column).limit(MAX_CHOICES)
