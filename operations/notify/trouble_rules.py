"""Extracts the trouble from an event: of a rung, a whole stage, or a system off the ladders."""

from typing import Final

from calls.campaign_events import CampaignHeld, CampaignPaused
from calls.events import ProviderFailed, RecordHalted
from calls.incident import Trouble
from calls.operations_events import DoNotCallDropped, DoNotCallOwed, WorkerLost, WritesRefused
from fallbacks.facts import AttemptFailed, RetriesExhausted, StageExhausted
from fallbacks.failure import Scope, Severity

CAMPAIGN: Final = "campaign"  # stands in place of a stage; the campaign's name in place of a rung
DISK: Final = "disk"
"""Stands in place of a stage if nothing can be written to disk."""
STORAGE: Final = "storage"
"""Stands in place of a stage if the database fails."""
RECORD: Final = "record"
NO_CALLS: Final = "do_not_call"
WORKER: Final = "worker"
"""Stands in place of a stage if a worker is lost; the worker's name in place of a rung."""


def trouble_of(
    event: AttemptFailed | ProviderFailed | RetriesExhausted | StageExhausted | RecordHalted,
) -> Trouble:
    """Return an event's trouble."""
    match event:
        case AttemptFailed():
            return Trouble(
                stage=event.stage,
                rung=event.provider,
                kind=event.kind,
                severity=event.severity,
                reason=event.reason,
                # As in fallbacks/health.py: a failure that one call's content caused opens no
                # breaker.
                left_alone=event.permanent and event.scope is not Scope.REQUEST,
            )
        case ProviderFailed():
            return Trouble(
                stage=event.stage,
                rung=event.provider,
                kind="error",
                severity=Severity.MEDIUM,
                reason=event.error,
            )
        case RetriesExhausted():
            return Trouble(
                stage=event.stage, rung=event.provider, kind=event.kind, severity=event.severity
            )
        case StageExhausted():
            return Trouble(stage=event.stage, rung="", kind="exhausted", severity=event.severity)
        case RecordHalted():
            return Trouble(
                stage=STORAGE,
                rung=RECORD,
                kind="record_halted",
                severity=event.severity,
                reason=event.reason,
            )


def trouble_of_disk(event: WritesRefused) -> Trouble:
    """Return the trouble of a disk that refuses writes."""
    return Trouble(
        stage=DISK,
        rung=event.where,
        kind="nothing_can_be_written",
        severity=Severity.HIGH,
        reason=event.reason,
    )


def trouble_of_list(event: DoNotCallOwed | DoNotCallDropped) -> Trouble:
    """Return the trouble of a number that is not on the do-not-call list."""
    match event:
        case DoNotCallDropped(on_disk=False):
            severity, reason = Severity.CRITICAL, f"the number of call {event.call_id}"
        case _:
            severity, reason = Severity.HIGH, ""
    return Trouble(
        stage=STORAGE, rung=NO_CALLS, kind="not_listed", severity=severity, reason=reason
    )


def trouble_of_campaign(event: CampaignHeld | CampaignPaused) -> Trouble:
    """Return the trouble of a campaign's standstill."""
    return Trouble(
        stage=CAMPAIGN,
        rung=event.campaign,
        kind=event.reason,
        severity=event.severity,
        failures=0,
    )


def trouble_of_worker(event: WorkerLost) -> Trouble:
    """Return the trouble of a lost worker."""
    calls = f"{event.calls} call{'' if event.calls == 1 else 's'}"
    return Trouble(
        stage=WORKER,
        rung=event.worker,
        kind="lost",
        severity=event.severity,
        reason=f"it exited with {event.code}, which ended {calls}",
    )
