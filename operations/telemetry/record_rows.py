"""Creates an event's rows for each of the files for external tools, as plain values.

Names and formats are those of earlier systems, so that tools for their files also read ours.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from calls.entry import Entry
from calls.events import (
    CallEnded,
    CallFailed,
    CallRefused,
    CallStarted,
    Event,
    ProcessLagged,
    ProviderFailed,
)
from calls.incident import UNKNOWN, IncidentBegan, IncidentEnded, IncidentEvent, IncidentGrew
from calls.operations_events import AlertClosed
from calls.sentences import headline
from fallbacks.events import (
    AttemptFailed,
    AttemptWon,
    BreakerMoved,
    ProviderProbed,
    RetriesExhausted,
    RetryPlanned,
    RungChosen,
    RungFollowed,
    StageExhausted,
    StageRecovered,
)
from fallbacks.failure import Severity

Row = Mapping[str, Any]

UNKNOWN_CIRCUIT: Final = "CLOSED"  # the state of a breaker that has not moved yet
RETRY_S: Final = 60.0  # a retry that has not failed this long after its start is over (chosen)
AGAIN_S: Final = 600.0  # `alerts.again_s` by default
UNRESOLVED: Final = "UNRESOLVED"
RESOLVED: Final = "RESOLVED"
RECOVERY: Final = (
    RetryPlanned, RetriesExhausted, RungChosen, BreakerMoved, StageExhausted, StageRecovered,
    ProviderProbed,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One event's rows for each file."""

    errors: tuple[Row, ...] = ()  # error_log.json
    record: tuple[Row, ...] = ()  # logs.jsonl
    recovery: tuple[Row, ...] = ()  # error_recovery.log
    app: tuple[Row, ...] = ()  # app_logs.json, and app.log as words


class RowMaker:
    """Creates rows from events; remembers each provider's breaker and retries."""

    def __init__(self) -> None:
        self._circuits: dict[str, str] = {}
        # The number of the last planned retry, and until when a failure may be that retry's.
        self._retries: dict[str, tuple[int, datetime]] = {}

    def rows(self, entry: Entry) -> Rows:
        """Return the rows of an event whose words were removed; none unless it is in `TOLD`."""
        event = entry.event
        self._follow_provider_state(entry)
        if type(event) not in TOLD:
            return Rows()
        rows = Rows(
            errors=tuple(self._error_rows(entry)),
            record=(self._call_row(entry),),
            recovery=(self._recovery_row(entry),) if isinstance(event, RECOVERY) else (),
            app=(self._app_row(entry),),
        )
        match event:
            case RetriesExhausted() | AttemptFailed(permanent=True):
                self._retries.pop(event.provider, None)  # the sequence has ended
            case _:
                pass
        return rows

    def _follow_provider_state(self, entry: Entry) -> None:
        """Follow each provider's breaker and retries, which an answer or a good probe ends."""
        match entry.event:
            case BreakerMoved() as event:
                self._circuits[event.provider] = event.after.upper()
            case RungFollowed() as event:
                self._circuits[event.provider] = event.breaker.upper()
            case RetryPlanned() as event:
                until = datetime.fromisoformat(entry.at) + timedelta(seconds=event.wait_s + RETRY_S)
                self._retries[event.provider] = (event.retry, until)
            case AttemptWon() | ProviderProbed(ok=True) as event:
                self._retries.pop(event.provider, None)
            case _:
                pass

    def _retry_count(self, service: str, at: str) -> int:
        """Return the number of the planned retry that may be in progress; 0 if there is none.

        Not every success is reported, so a retry without a failure also ends with time.
        """
        if (planned := self._retries.get(service)) is None:
            return 0
        retry, until = planned
        return retry if datetime.fromisoformat(at) <= until else 0

    def _error_rows(self, entry: Entry) -> Iterator[Row]:
        """Yield a row if the event is an error."""
        match entry.event:
            case AttemptFailed() as failed:
                yield self._error_row(
                    entry, failed.provider, _error_category(failed), _error_message(failed)
                )
            case ProviderFailed() as failed:
                yield self._error_row(entry, failed.provider, "transient", failed.error)
            case RetriesExhausted() as spent:
                message = f"given up after {spent.tries} tries: {spent.kind}"
                yield self._error_row(entry, spent.provider, "transient", message)
            case CallFailed() as failed:
                yield self._error_row(
                    entry, "holdline", "permanent", f"{failed.where}: {failed.error}"
                )
            case _:
                pass

    def _error_row(self, entry: Entry, service: str, category: str, message: str) -> Row:
        """Return an error, with how often the service was retried and its breaker's state."""
        return {
            "timestamp": seconds(entry.at),
            "service_name": service,
            "error_category": category,
            "message": message,
            "retry_count": self._retry_count(service, entry.at),
            "circuit_state": self._circuits.get(service, UNKNOWN_CIRCUIT),
            "call_id": entry.call_id,
        }

    def _call_row(self, entry: Entry) -> Row:
        """Return the row of any event in the call's record."""
        service, status, kind = "holdline", _event_name(entry.event), "call"
        if read := RECORDED.get(type(entry.event)):
            service, status, kind = read(entry.event)
        return {
            "timestamp": seconds(entry.at),
            "service": service,
            "status": status,
            "type": kind,
            "call_id": entry.call_id,
        }

    def _recovery_row(self, entry: Entry) -> Row:
        """Return an event as a line of a log; its severity decides the level."""
        event = entry.event
        severity = getattr(event, "severity", Severity.LOW)
        level = "INFO" if severity is Severity.LOW else "WARNING"
        return {
            "timestamp": seconds(entry.at),
            "level": "ERROR" if severity in (Severity.HIGH, Severity.CRITICAL) else level,
            "logger": "holdline.recovery",
            "message": _event_sentence(event),
        }

    def _app_row(self, entry: Entry) -> Row:
        """Return an event with its service's number of retries and its breaker's state."""
        service = getattr(entry.event, "provider", "") or getattr(entry.event, "stage", "")
        return {
            "timestamp": seconds(entry.at),
            "service_name": service or "holdline",
            "event_category": _event_name(entry.event),
            "retry_count": self._retry_count(service, entry.at),
            "circuit_state": self._circuits.get(service, UNKNOWN_CIRCUIT),
            "message": _event_sentence(entry.event),
            "call_id": entry.call_id,
        }


OTHERS: Final = (
    AttemptFailed, AttemptWon, ProviderFailed, CallStarted, CallEnded, CallRefused, CallFailed,
    ProcessLagged,
)  # fmt: skip
TOLD: Final = frozenset({*RECOVERY, *OTHERS})
"""The events with rows: one in nine of a healthy turn's events."""
READ: Final = TOLD | {RungFollowed}
"""The events that a `RowMaker` needs."""


def alert_row(fact: IncidentBegan | IncidentGrew, at: str) -> Row:
    """Return an unresolved alert's row for `alerts.json`."""
    return {
        "timestamp": seconds(at),
        "severity": fact.severity.upper(),
        "service_name": fact.stage.upper(),
        "error_message": headline(fact.stage, fact.rung, fact.kind, fact.reason),
        "status": UNRESOLVED,
        "provider": fact.rung,
        "kind": str(fact.kind),
        "instead": fact.then,
    }


AlertRowEvent: TypeAlias = IncidentEvent | AlertClosed
"""The events that change `alerts.json`."""


def apply_alerts(
    rows: list[Row], facts: list[tuple[AlertRowEvent, str]], *, again_s: float = AGAIN_S
) -> list[Row]:
    """Return the alerts after these events: one for each incident, however often it is reported.

    As in operators' notifications, an incident that returns soon is the same alert.

    Args:
        rows: The alerts so far.
        facts: The events with their times.
        again_s: An incident that returns within this time is the same alert.
    """
    alerts = list(rows)
    for fact, at in facts:
        place = _find_newest(alerts, fact, UNRESOLVED)
        if isinstance(fact, IncidentEnded | AlertClosed):
            if place is not None:
                alerts[place] = _resolved_row(alerts[place], fact, at)
        elif place is not None:
            alerts[place] = _worse_row(alerts[place], fact, at)
        elif (place := _find_recent(alerts, fact, at, again_s=again_s)) is not None:
            began = {"timestamp": alerts[place]["timestamp"], "reopened_at": seconds(at)}
            alerts[place] = {**alert_row(fact, at), **_known_cause(alerts[place], fact), **began}
        else:
            alerts.append(alert_row(fact, at))
    return alerts


def _resolved_row(row: Row, fact: IncidentEnded | AlertClosed, at: str) -> Row:
    return {**row, "status": RESOLVED, "resolved_at": seconds(at), "lasted_s": fact.lasted_s}


def _worse_row(row: Row, fact: IncidentBegan | IncidentGrew, at: str) -> Row:
    """Return an alert's row after a further report; its times and the higher severity stay."""
    kept = {name: row[name] for name in ("timestamp", "reopened_at") if name in row}
    severity = _more_severe(row["severity"], fact.severity.upper())
    return {**alert_row(fact, at), **_known_cause(row, fact), **kept, "severity": severity}


def _known_cause(row: Row, fact: IncidentBegan | IncidentGrew) -> Row:
    """Return the cause that a row already has, if the new report does not know it."""
    if fact.kind != UNKNOWN:
        return {}
    return {name: row[name] for name in ("kind", "error_message") if name in row}


def seconds(at: str) -> str:
    """Return a moment in the format of these files: to the second, UTC, without an offset.

    Moments in all our other files have an offset; the tools for these expect none.
    """
    return at[:19]


def _more_severe(one: str, other: str) -> str:
    order = [severity.upper() for severity in Severity]
    return max(one, other, key=lambda severity: order.index(severity) if severity in order else 0)


def _find_newest(alerts: list[Row], fact: AlertRowEvent, status: str) -> int | None:
    """Return the index of the newest alert of the same rung or stage with this status.

    `None` if there is none.
    """
    place = (fact.stage.upper(), fact.rung, status)
    for at in range(len(alerts) - 1, -1, -1):
        row = alerts[at]
        if (row.get("service_name"), row.get("provider"), row.get("status")) == place:
            return at
    return None


def _find_recent(
    alerts: list[Row], fact: IncidentBegan | IncidentGrew, at: str, *, again_s: float
) -> int | None:
    """Return the index of the alert that a report reopens: of its kind, over since `again_s`."""
    found = _find_newest(alerts, fact, RESOLVED)
    if found is None or str(fact.kind) not in (UNKNOWN, alerts[found].get("kind")):
        return None
    return found if _apart_s(alerts[found].get("resolved_at"), seconds(at)) <= again_s else None


def _apart_s(one: object, other: str) -> float:
    """Return the seconds between two moments of the file; an invalid one counts as long ago."""
    try:
        return (datetime.fromisoformat(other) - datetime.fromisoformat(str(one))).total_seconds()
    except ValueError:
        return math.inf


def _error_category(failed: AttemptFailed) -> str:
    return "permanent" if failed.permanent else "transient"


def _error_message(failed: AttemptFailed) -> str:
    return f"{failed.kind}: {failed.reason}" if failed.reason else str(failed.kind)


def _event_name(event: Event) -> str:
    """Return `call_started` of `CallStarted`."""
    name = type(event).__name__
    return "".join(f"_{item.lower()}" if item.isupper() else item for item in name).lstrip("_")


def _event_sentence(event: Event) -> str:
    fields = ((name, getattr(event, name)) for name in event.__dataclass_fields__)
    values = " ".join(f"{name}={value}" for name, value in fields if value not in ("", None, ()))
    return f"{_event_name(event).replace('_', ' ')}: {values}" if values else _event_name(event)


RECORDED: Final[Mapping[type, Callable[[Any], tuple[str, str, str]]]] = {
    AttemptFailed: lambda it: (it.provider, "failed", _error_category(it)),
    ProviderFailed: lambda it: (it.provider, "failed", "transient"),
    AttemptWon: lambda it: (it.provider, "ok", "attempt"),
    ProviderProbed: lambda it: (it.provider, "ok" if it.ok else "failed", "probe"),
    RetryPlanned: lambda it: (it.provider, "retrying", "transient"),
    RetriesExhausted: lambda it: (it.provider, "exhausted", "transient"),
    BreakerMoved: lambda it: (it.provider, it.after.upper(), "circuit"),
    RungChosen: lambda it: (it.after, "took_over", "failover"),
    StageExhausted: lambda it: (it.stage, "down", "stage"),
    StageRecovered: lambda it: (it.stage, "recovered", "stage"),
}
"""For `logs.jsonl`: service, status, type."""
