"""A call that could not be served at all, as the incident that it is to an operator."""

from calls.events import CallFailed
from calls.incident import IncidentBegan
from fallbacks.failure import Severity
from operations.notify.alert import NOT_SERVED, WHOLE_CALL


def not_served(event: CallFailed) -> IncidentBegan:
    """Return that a call could not be served at all as an incident of its own."""
    return IncidentBegan(
        stage=WHOLE_CALL,
        rung="",
        kind=NOT_SERVED,
        severity=Severity.CRITICAL,
        reason=f"{event.where}: {event.error}",
        then="the caller heard a goodbye",
    )
