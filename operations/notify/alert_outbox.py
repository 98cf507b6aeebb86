"""The stored alerts, and each channel's pending and sent messages."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from fallbacks.failure import Severity
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.database.row_outbox import Outbox
from operations.database.tables import (
    ALERT_FACTS,
    ALERT_ROUNDS,
    ALERT_SENDINGS,
    ALERTS,
    CALLS,
    HANDLE_LENGTH,
)
from operations.hurt_calls import hurt_calls
from operations.notify.alert import (
    CHANNELS,
    HURT_S,
    Alert,
    AlertEvent,
    Census,
    IncidentLasted,
    IncidentLeft,
    TellAlert,
)

REPORTS_BY_NAME: Final[Mapping[str, type[Any]]] = {
    item.__name__: item
    for item in (IncidentBegan, IncidentGrew, IncidentEnded, IncidentLasted, IncidentLeft)
}
SEVERITIES: Final = ("severity", "told_severity")
TUPLES: Final = ("beside", "loud_s", "reporters")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedEvent:
    """A process's report about an incident, with its time."""

    fact: AlertEvent
    at_s: float  # since 1970
    holder: str


def fact_as_json(fact: AlertEvent) -> str:
    """Return a report as JSON."""
    return json.dumps({"fact": type(fact).__name__, **asdict(fact)})


def read_fact(text: str) -> AlertEvent | None:
    """Parse a stored report; return `None` if it is unreadable."""
    try:
        stored = json.loads(text)
        kind = REPORTS_BY_NAME[stored.pop("fact")]
        return kind(**_restore_fields(kind, stored))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def write_alert(alert: Alert) -> str:
    """Return an alert as JSON."""
    return json.dumps(asdict(alert))


def read_alert(text: str) -> Alert | None:
    """Parse a stored alert; return `None` if it is unreadable."""
    try:
        return Alert(**_restore_fields(Alert, json.loads(text)))
    except (AttributeError, TypeError, ValueError):
        return None


def _restore_fields(kind: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that our class knows, with types that JSON lacks restored."""
    names = {field_.name for field_ in fields(kind)}
    found = {name: value for name, value in stored.items() if name in names}
    found |= {name: Severity(found[name]) for name in SEVERITIES if name in found}
    return found | {name: tuple(found[name]) for name in TUPLES if name in found}


KNOWN_S: Final = 86_400.0  # an alert that ended longer ago is final; longer than any night
MAX_FACTS: Final = 500  # reports in one round
MAX_HURT: Final = 10_000  # callers in one census
ROUND_ROW: Final = 1  # the id of the only row of its table


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """The decision of a round."""

    known: Iterable[Alert]
    messages: Sequence[TellAlert]


Decide: TypeAlias = Callable[[Sequence[Alert], Sequence[ReportedEvent]], RoundOutcome]
"""Decides on reports, given the known alerts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPost:
    """A pending alert of a channel."""

    alert: Alert
    channel: str
    handle: str  # of the message to update; empty for a new one
    lent_until_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChannel:
    """The properties of a channel that decide on its pending messages."""

    name: str
    edits: bool  # it can update a sent message


class AlertOutbox:
    """Reports, known alerts and each channel's pending messages, in the database.

    A report is committed when `report` returns. A round reads all reports, decides, and stores each
    channel's pending messages, in one transaction: a killed process leaves either the reports or
    their result. Methods raise `StorageError` on failure.
    """

    def __init__(self, database: Database, *, clock: DatabaseClock | None = None) -> None:
        """Keep the alerts in this database; `clock` is that of the loans, if it needs setting."""
        self.database, self.clock = database, clock
        began_s = select(ALERTS.c.began_s).where(ALERTS.c.key == ALERT_SENDINGS.c.key)
        pending = ALERT_SENDINGS.c.wanted > ALERT_SENDINGS.c.sent
        self._rows = Outbox(database, ALERT_SENDINGS, pending, (began_s.scalar_subquery(),), clock)

    async def report(self, facts: Sequence[ReportedEvent]) -> None:
        """Commit reports, in one try: if it fails, operators are notified in another way."""
        rows = [
            {
                "at_s": fact.at_s,
                "holder": fact.holder,
                "fact": fact_as_json(fact.fact),
            }
            for fact in facts
        ]
        async with self.database.transaction(tries=1) as connection:
            await connection.execute(insert(ALERT_FACTS), rows)

    async def run_round(
        self, decide: Decide, *, channels: Sequence[AlertChannel], now: float
    ) -> Sequence[TellAlert]:
        """Decide on the reports; return the messages to send, already committed.

        Reads first, and takes the lock only if there is something to do, so that polling does not
        keep the disk busy. `decide` may therefore be called twice.
        """
        if not await self._has_work(decide, now):
            return ()
        first_round = self.database.insert(ALERT_ROUNDS).values(id=ROUND_ROW, rounds=1)
        rounds = {"rounds": ALERT_ROUNDS.c.rounds + 1}
        async with self.database.transaction() as connection:
            # This locks the row in PostgreSQL and the whole file in SQLite, so another process that
            # decides waits until this transaction ends, and then sees its result.
            await connection.execute(
                first_round.on_conflict_do_update(index_elements=["id"], set_=rounds)
            )
            known = await _known_alerts(connection, now)
            ids, facts = await _read_reports(connection)
            outcome = decide(known, facts)
            before = {item.key: item for item in known}
            for alert in outcome.known:
                if before.get(alert.key) != alert:
                    await _put_alert(connection, alert, new=alert.key not in before)
            for message in outcome.messages:
                await _put_pending(connection, message, channels)
            if ids:
                await connection.execute(delete(ALERT_FACTS).where(ALERT_FACTS.c.id.in_(ids)))
        return outcome.messages

    async def _has_work(self, decide: Decide, now: float) -> bool:
        """Return whether a round now would read a report, send a message or change an alert."""
        if await self._has_no_database():
            return False
        async with self.database.reading() as connection:
            known = await _known_alerts(connection, now)
            _, facts = await _read_reports(connection)
        outcome = decide(known, facts)
        return bool(facts or outcome.messages) or list(outcome.known) != known

    async def lend(self, channel: str, *, now_s: Callable[[], float]) -> ChannelPost | None:
        """Lend a channel's oldest pending alert, or `None`; no other sender gets it meanwhile.

        An alert that another version stored in an unreadable form is skipped and stays pending.
        """
        if await self._has_no_database():
            return None
        of_channel = ALERT_SENDINGS.c.channel == channel
        while rows := await self._rows.lend(now_s=now_s, which=of_channel):
            row = rows[0]
            stored = select(ALERTS.c.alert).where(ALERTS.c.key == row["key"])
            async with self.database.reading() as connection:
                found = (await connection.execute(stored)).scalar_one_or_none()
            if alert := read_alert(found or ""):
                handle, until_s = row["handle"], row["due_s"]
                return ChannelPost(
                    alert=alert, channel=channel, handle=handle, lent_until_s=until_s
                )
        return None

    async def record_sent(self, post: ChannelPost, *, handle: str) -> None:
        """Record that a channel accepted an alert as it was lent."""
        # A longer id is cut, so its message cannot be updated later.
        key, kept = (post.alert.key, post.channel), handle[:HANDLE_LENGTH]
        await self._rows.settle([key], sent=post.alert.revision, handle=kept, due_s=0.0)

    async def put_off(self, post: ChannelPost, *, until_s: float) -> None:
        """Record that a channel did not accept an alert; try again at `until_s`, since 1970."""
        key = (post.alert.key, post.channel)
        await self._rows.put_off([key], lent_until_s=post.lent_until_s, due_s=until_s)

    async def recent(self, most: int) -> Sequence[Alert]:
        """Return the open alerts, then the newest others; `most` of them, less unreadable ones."""
        newest = (
            select(ALERTS.c.alert)
            .order_by(ALERTS.c.ended_s.is_not(None), ALERTS.c.began_s.desc())
            .limit(most)
        )
        async with self.database.reading() as connection:
            found = (await connection.execute(newest)).scalars()
            return [alert for scalar in found if (alert := read_alert(scalar))]

    async def census(self, now: float) -> Census:
        """Return the callers who were hurt within the last day, at most the latest `MAX_HURT`.

        Without a database file there are none; this does not create it.
        """
        if await self._has_no_database():
            return Census()
        since = datetime.fromtimestamp(now - KNOWN_S, UTC)
        lately = datetime.fromtimestamp(now - HURT_S, UTC)
        recent = CALLS.c.started_at >= since
        counted = recent & ((CALLS.c.state == "live") | (CALLS.c.ended_at >= lately))
        async with self.database.reading() as connection:
            hurt = await hurt_calls(connection, since, most=MAX_HURT)
            hurt_s = [call.hurt_at.timestamp() for call in hurt]
            if not hurt_s or hurt_s[-1] < now - HURT_S:
                return Census(hurt_s=hurt_s)
            count = select(func.count()).select_from(CALLS).where(counted)
            return Census(hurt_s=hurt_s, calls=(await connection.execute(count)).scalar_one())

    async def _has_no_database(self) -> bool:
        """Return whether the database's file does not exist yet; reading would create it."""
        file = self.database.file
        return file is not None and not await asyncio.to_thread(file.exists)


async def _known_alerts(connection: AsyncConnection, now: float) -> list[Alert]:
    """Return the readable alerts that are open, or ended within `KNOWN_S` before `now`."""
    lately = or_(ALERTS.c.ended_s.is_(None), ALERTS.c.ended_s > now - KNOWN_S)
    found = (await connection.execute(select(ALERTS.c.alert).where(lately))).scalars()
    return [alert for scalar in found if (alert := read_alert(scalar))]


async def _read_reports(connection: AsyncConnection) -> tuple[list[int], list[ReportedEvent]]:
    """Return the ids of the oldest `MAX_FACTS` reports, and those of them that are readable.

    The caller deletes all of them: an unreadable report would be read again every time.
    """
    oldest = ALERT_FACTS.select().order_by(ALERT_FACTS.c.id).limit(MAX_FACTS)
    rows = (await connection.execute(oldest)).all()
    facts = [
        ReportedEvent(fact=fact, at_s=row.at_s, holder=row.holder)
        for row in rows
        if (fact := read_fact(row.fact))
    ]
    return [row.id for row in rows], facts


async def _put_alert(connection: AsyncConnection, alert: Alert, *, new: bool) -> None:
    """Insert a new alert, or update the one with the same key."""
    values = {
        "severity": alert.severity.value,
        "began_s": alert.began_s,
        "ended_s": alert.ended_s,
        "alert": write_alert(alert),
    }
    if new:
        await connection.execute(insert(ALERTS).values(key=alert.key, **values))
    else:
        await connection.execute(update(ALERTS).where(ALERTS.c.key == alert.key).values(**values))


async def _put_pending(
    connection: AsyncConnection, message: TellAlert, channels: Sequence[AlertChannel]
) -> None:
    """Store, for each channel, that an alert is to be sent in its present revision.

    A channel that cannot update messages gets only loud ones, and those that `continues` marks.
    """
    alert = message.alert
    for channel in channels:
        if not (message.loud or message.continues or channel.edits):
            continue
        if (alert.stage, alert.rung) == (CHANNELS, channel.name):
            continue  # it cannot report its own failure
        sending = (ALERT_SENDINGS.c.key == alert.key) & (ALERT_SENDINGS.c.channel == channel.name)
        updated = update(ALERT_SENDINGS).where(sending).values(wanted=alert.revision)
        if not (await connection.execute(updated)).rowcount:
            row = {"key": alert.key, "channel": channel.name, "wanted": alert.revision}
            await connection.execute(
                insert(ALERT_SENDINGS).values(**row, sent=0, handle="", due_s=0.0)
            )


MAX_ALERTS: Final = 2_000  # one for each incident; a report with more would be useless


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAlert:
    """An alert, and which revisions were sent."""

    alert: Alert
    sent: Mapping[str, int]  # by channel: the revision that it shows; 0 if nothing was sent yet
    wanted: Mapping[str, int]  # by channel: the revision to show


@dataclass(slots=True)
class AlertHistory:
    """Reads the stored alerts; methods raise `StorageError` when the database does not answer."""

    database: Database

    async def between(self, since_s: float, until_s: float) -> Sequence[SentAlert]:
        """Return the alerts that were open at some time between two moments, the oldest first.

        At most `MAX_ALERTS`, without unreadable ones. Moments are in seconds since 1970.
        """
        open_then = or_(ALERTS.c.ended_s.is_(None), ALERTS.c.ended_s >= since_s)
        query = (
            select(ALERTS.c.key, ALERTS.c.alert)
            .where(ALERTS.c.began_s < until_s, open_then)
            .order_by(ALERTS.c.began_s, ALERTS.c.key)
            .limit(MAX_ALERTS)
        )
        of_alerts = select(ALERT_SENDINGS).where(
            ALERT_SENDINGS.c.key.in_(query.with_only_columns(ALERTS.c.key))
        )
        async with self.database.reading() as connection:
            alerts = (await connection.execute(query)).all()
            sendings = (await connection.execute(of_alerts)).all()
        sent: dict[str, dict[str, int]] = defaultdict(dict)
        wanted: dict[str, dict[str, int]] = defaultdict(dict)
        for sending in sendings:
            sent[sending.key][sending.channel] = sending.sent
            wanted[sending.key][sending.channel] = sending.wanted
        return [
            SentAlert(alert=alert, sent=sent.get(row.key, {}), wanted=wanted.get(row.key, {}))
            for row in alerts
            if (alert := read_alert(row.alert))
        ]
