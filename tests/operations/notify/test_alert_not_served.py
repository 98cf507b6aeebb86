"""A call that could not be served at all."""

from calls.events import CallFailed
from calls.incident import IncidentBegan
from fallbacks.failure import Severity
from operations.notify.alert import failed_call_incident


def test_a_call_ended_by_our_own_exception_is_a_critical_incident_without_a_rung() -> None:
    failed = CallFailed(where="pipeline", error="KeyError: 'greeting'")

    assert failed_call_incident(failed) == IncidentBegan(
        stage="call",
        rung="",
        kind="not_served",
        severity=Severity.CRITICAL,
        reason="pipeline: KeyError: 'greeting'",
        then="the caller heard a goodbye",
    )
