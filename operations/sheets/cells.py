"""What a row of the sheet says; the first cell is its key."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from operations.notify.alert import Alert
from operations.notify.message import alert_text, masked, moment
from operations.privacy import masked as masked_number
from operations.sheets.outbox import SheetRow

CALLS: Final = "calls"
ALERTS: Final = "alerts"
HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    CALLS: (
        *("key", "began", "ended", "transport", "direction", "agent", "caller", "called", "state"),
        *("reason", "outcome", "length_s", "turns", "failures", "failovers", "cost", "currency"),
    ),
    ALERTS: ("key", "at", "status", "severity", "stage", "provider", "kind", "turns", "message"),
}


def call_row(call: Mapping[str, Any]) -> SheetRow:
    """Return the row of a call that is over; numbers masked, nothing that was said."""
    key, ended = f"call {call['id']}", _utc(call["ended_at"])
    return SheetRow(
        key=key,
        tab=CALLS,
        at_s=ended.timestamp(),
        cells=(
            key,
            f"{_utc(call['started_at']):%Y-%m-%d %H:%M:%S}",
            f"{ended:%Y-%m-%d %H:%M:%S}",
            *(call[name] for name in ("transport", "direction", "agent")),
            masked_number(call["caller"]),
            masked_number(call["called"]),
            *(call[name] for name in ("state", "reason", "outcome")),
            "" if call["length_s"] is None else round(call["length_s"], 1),
            *(call[name] for name in ("turns", "failures", "failovers")),
            "" if call["cost"] is None else round(call["cost"], 4),
            call["currency"],
        ),
    )


def alert_rows(alert: Alert) -> Iterator[SheetRow]:
    """Yield a row for an alert that was told, and one for its end."""
    if not alert.revision:
        return
    yield _alert_row(alert, "open", alert.open_s)
    if alert.ended_s is not None and alert.told_ended:
        yield _alert_row(alert, "resolved", alert.ended_s)


def _alert_row(alert: Alert, status: str, at_s: float) -> SheetRow:
    key = f"alert {alert.key} {alert.open_s:.0f} {status}"
    rung = (alert.stage, alert.rung, alert.kind)
    title = masked(alert_text(alert).title)
    cells = (key, moment(at_s), status, alert.severity.value, *rung, alert.turns_touched, title)
    return SheetRow(key=key, tab=ALERTS, at_s=at_s, cells=cells)


def _utc(at: datetime) -> datetime:
    """Return a moment as it was kept: SQLite keeps no zone."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
