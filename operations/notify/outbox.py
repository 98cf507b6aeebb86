"""The alerts of a span of time, and what each channel was sent of them."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeAlias

from sqlalchemy import Update, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from fallbacks.failure import Severity
from operations.database.database import file_of
from operations.database.edge import Store, reading, writing
from operations.database.sql_board import INSERTS
from operations.database.tables import (
    ALERT_FACTS,
    ALERT_ROUNDS,
    ALERT_SENDINGS,
    ALERTS,
    HANDLE_LENGTH,
)
from operations.notify.alert import CHANNELS, Alert, AlertFact, IncidentLasted, TellAlert

FACTS: Final[Mapping[str, type[Any]]] = {
    item.__name__: item for item in (IncidentBegan, IncidentGrew, IncidentEnded, IncidentLasted)
}
SEVERITIES: Final = ("severity", "told_severity")
TUPLES: Final = ("beside", "loud_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFact:
    """What a process has said of an incident, and when."""

    fact: AlertFact
    at_s: float  # since 1970
    holder: str
    turns: int


def write_fact(fact: AlertFact) -> str:
    """Return a fact as JSON."""
    return json.dumps({"fact": type(fact).__name__, **asdict(fact)})


def read_fact(text: str) -> AlertFact | None:
    """Return what was written; None: we do not understand it."""
    try:
        said = json.loads(text)
        kind = FACTS[said.pop("fact")]
        return kind(**_known(kind, said))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def write_alert(alert: Alert) -> str:
    """Return an alert as JSON."""
    return json.dumps(asdict(alert))


def read_alert(text: str) -> Alert | None:
    """Return what was written; None: we do not understand it."""
    try:
        return Alert(**_known(Alert, json.loads(text)))
    except (AttributeError, TypeError, ValueError):
        return None


def _known(kind: type[Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a class of ours has of it, with the types that JSON does not know."""
    names = {field_.name for field_ in fields(kind)}
    found = {name: value for name, value in said.items() if name in names}
    found |= {name: Severity(found[name]) for name in SEVERITIES if name in found}
    return found | {name: tuple(found[name]) for name in TUPLES if name in found}


# The outbox of alerts: what was reported, what is known, what each channel is still owed.
#
# A fact is accepted when `report` returns: then it is committed. A round takes all accepted facts,
# decides, and leaves what each channel is owed, in one transaction: a process that is killed leaves
# either the facts or what follows from them. What is owed is lent to one sender at a time, and
# stays owed until that one says that it was sent. So it is sent at least once.

LENT_S: Final = 120.0  # to a sender; one that was killed says nothing
LAST_TRY_S: Final = 80.0  # after that a sender begins no other try: it must be over in time
KNOWN_S: Final = 86_400.0  # later than that nobody decides on an ended alert; no night is longer
MOST_FACTS: Final = 500  # of one round
ROUND: Final = 1  # the only row of its table


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """What was decided."""

    known: Iterable[Alert]
    told: Sequence[TellAlert]


Decide: TypeAlias = Callable[[Sequence[Alert], Sequence[ReportedFact]], RoundOutcome]
"""Decides on what was reported, given what is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPost:
    """An alert that a channel is owed."""

    alert: Alert
    channel: str
    handle: str  # of the message that is to be changed; empty: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChannel:
    """Of a channel what decides on what it is owed."""

    name: str
    edits: bool  # it can change a message that it has sent


class AlertOutbox(Store):
    """One in each process that reports; every method raises `StorageError` when it cannot."""

    def __init__(self, url: str) -> None:
        """Keep the outbox in the database at `url`."""
        super().__init__(url)
        self._file = file_of(self._database.url)
        turn = INSERTS[self._database.url.get_backend_name()](ALERT_ROUNDS).values(
            id=ROUND, rounds=1
        )
        rounds = {"rounds": ALERT_ROUNDS.c.rounds + 1}
        self._take_turn = turn.on_conflict_do_update(index_elements=["id"], set_=rounds)

    async def report(self, facts: Sequence[ReportedFact]) -> None:
        """Keep facts; when it returns, they are committed."""
        rows = [
            {
                "at_s": fact.at_s,
                "holder": fact.holder,
                "turns": fact.turns,
                "fact": write_fact(fact.fact),
            }
            for fact in facts
        ]
        async with writing(self._database) as connection:
            await connection.execute(insert(ALERT_FACTS), rows)

    async def run_round(
        self, decide: Decide, *, channels: Sequence[AlertChannel], now: float
    ) -> Sequence[TellAlert]:
        """Decide on what was reported; return what is told, which is committed by then.

        Looks first, and takes its turn only if there is something to do: nobody's disk has to
        work each second because nothing has happened.
        """
        if not await self._has_work(decide, now):
            return ()
        async with writing(self._database) as connection:
            # A change locks: the row in PostgreSQL, the whole file in SQLite. So whoever else
            # decides waits until this transaction ends, and then sees what came of it.
            await connection.execute(self._take_turn)
            known = await _known_alert(connection, now)
            ids, facts = await _reported(connection)
            outcome = decide(known, facts)
            before = {item.key: item for item in known}
            for alert in outcome.known:
                if before.get(alert.key) != alert:
                    await _put_alert(connection, alert, new=alert.key not in before)
            for told in outcome.told:
                await _put_owed(connection, told, channels, now)
            if ids:
                await connection.execute(delete(ALERT_FACTS).where(ALERT_FACTS.c.id.in_(ids)))
        return outcome.told

    async def _has_work(self, decide: Decide, now: float) -> bool:
        if self._file and not await asyncio.to_thread(self._file.exists):
            return False
        async with writing(self._database) as connection:
            known = await _known_alert(connection, now)
            _, facts = await _reported(connection)
        outcome = decide(known, facts)
        return bool(facts or outcome.told) or list(outcome.known) != known

    async def lend(self, channel: str, *, now: float) -> ChannelPost | None:
        """Return the oldest alert that a channel is owed; nobody else sends it meanwhile.

        What another version has written so that we cannot read it stays owed, and holds up nothing.
        """
        own = (ALERT_SENDINGS.c.channel == channel) & (ALERT_SENDINGS.c.due_s <= now)
        owed = (
            select(ALERT_SENDINGS, ALERTS.c.alert)
            .join(ALERTS, ALERTS.c.key == ALERT_SENDINGS.c.key)
            .where(own, ALERT_SENDINGS.c.wanted > ALERT_SENDINGS.c.sent)
            .order_by(ALERTS.c.began_s)
            .limit(1)
        )
        if self._file and not await asyncio.to_thread(self._file.exists):
            return None
        while True:
            async with writing(self._database) as connection:
                row = (await connection.execute(owed)).first()
                if row is None:
                    return None
                same = (ALERT_SENDINGS.c.key == row.key) & (ALERT_SENDINGS.c.due_s == row.due_s)
                lent = update(ALERT_SENDINGS).where(own, same).values(due_s=now + LENT_S)
                if not (await connection.execute(lent)).rowcount:
                    return None
            if alert := read_alert(row.alert):
                return ChannelPost(alert=alert, channel=channel, handle=row.handle)

    async def sent(self, post: ChannelPost, *, handle: str) -> None:
        """Note that a channel shows an alert as it was lent."""
        # What is longer finds no message again; it must not keep it from being noted as sent.
        kept = handle[:HANDLE_LENGTH]
        values = {"sent": post.alert.revision, "handle": kept, "due_s": 0.0}
        async with writing(self._database) as connection:
            await connection.execute(_own(post).values(**values))

    async def put_off(self, post: ChannelPost, *, until_s: float) -> None:
        """Note that a channel did not take it, and is to be asked no sooner than then."""
        async with writing(self._database) as connection:
            await connection.execute(_own(post).values(due_s=until_s))

    async def recent(self, most: int) -> Sequence[Alert]:
        """Return the open alerts, then the newest others."""
        newest = (
            select(ALERTS.c.alert)
            .order_by(ALERTS.c.ended_s.is_not(None), ALERTS.c.began_s.desc())
            .limit(most)
        )
        async with writing(self._database) as connection:
            found = (await connection.execute(newest)).scalars()
            return [alert for scalar in found if (alert := read_alert(scalar))]


def _own(post: ChannelPost) -> Update:
    table = ALERT_SENDINGS
    return update(table).where(table.c.key == post.alert.key, table.c.channel == post.channel)


async def _known_alert(connection: AsyncConnection, now: float) -> list[Alert]:
    lately = or_(ALERTS.c.ended_s.is_(None), ALERTS.c.ended_s > now - KNOWN_S)
    found = (await connection.execute(select(ALERTS.c.alert).where(lately))).scalars()
    return [alert for scalar in found if (alert := read_alert(scalar))]


async def _reported(connection: AsyncConnection) -> tuple[list[int], list[ReportedFact]]:
    oldest = ALERT_FACTS.select().order_by(ALERT_FACTS.c.id).limit(MOST_FACTS)
    rows = (await connection.execute(oldest)).all()
    facts = [
        ReportedFact(fact=fact, at_s=row.at_s, holder=row.holder, turns=row.turns)
        for row in rows
        if (fact := read_fact(row.fact))
    ]
    return [row.id for row in rows], facts


async def _put_alert(connection: AsyncConnection, alert: Alert, *, new: bool) -> None:
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


async def _put_owed(
    connection: AsyncConnection, told: TellAlert, channels: Sequence[AlertChannel], now: float
) -> None:
    alert = told.alert
    for channel in channels:
        if not told.loud and not channel.edits:
            continue
        if (alert.stage, alert.rung) == (CHANNELS, channel.name):
            continue  # it cannot tell of itself that it fails
        own = (ALERT_SENDINGS.c.key == alert.key) & (ALERT_SENDINGS.c.channel == channel.name)
        wanted = update(ALERT_SENDINGS).where(own).values(wanted=alert.revision)
        if not (await connection.execute(wanted)).rowcount:
            row = {"key": alert.key, "channel": channel.name, "wanted": alert.revision}
            await connection.execute(
                insert(ALERT_SENDINGS).values(**row, sent=0, handle="", due_s=now)
            )


MOST_ALERTS: Final = 2_000  # an incident is one; a house that has more of them needs no report


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAlert:
    """An alert, and what went out."""

    alert: Alert
    sent: Mapping[str, int]  # by channel: the revision that it shows; 0: nothing was sent yet
    wanted: Mapping[str, int]  # by channel: the revision that it is to show


class AlertHistory(Store):
    """Every method raises `StorageError` when the database does not answer."""

    async def between(self, since_s: float, until_s: float) -> Sequence[SentAlert]:
        """Return the alerts that were open at some time between two moments, the oldest first."""
        open_then = or_(ALERTS.c.ended_s.is_(None), ALERTS.c.ended_s >= since_s)
        wanted = (
            select(ALERTS.c.key, ALERTS.c.alert)
            .where(ALERTS.c.began_s < until_s, open_then)
            .order_by(ALERTS.c.began_s, ALERTS.c.key)
            .limit(MOST_ALERTS)
        )
        theirs = select(ALERT_SENDINGS).where(
            ALERT_SENDINGS.c.key.in_(wanted.with_only_columns(ALERTS.c.key))
        )
        async with reading(self._database) as connection:
            alerts = (await connection.execute(wanted)).all()
            sendings = (await connection.execute(theirs)).all()
        sent: dict[str, dict[str, int]] = defaultdict(dict)
        shown: dict[str, dict[str, int]] = defaultdict(dict)
        for sending in sendings:
            sent[sending.key][sending.channel] = sending.sent
            shown[sending.key][sending.channel] = sending.wanted
        return [
            SentAlert(alert=alert, sent=sent.get(row.key, {}), wanted=shown.get(row.key, {}))
            for row in alerts
            if (alert := read_alert(row.alert))
        ]
