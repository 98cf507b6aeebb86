"""What each fact says is wrong, and where: with a rung, a whole stage, or what is on no ladder."""

from typing import Final

from calls.campaign_events import CampaignHeld, CampaignPaused
from calls.crm_events import DoNotCallDropped, DoNotCallOwed
from calls.events import ProviderFailed, RecordHalted
from calls.house_events import WorkerLost
from calls.incident import Trouble
from calls.record_events import WritesRefused
from fallbacks.facts import AttemptFailed, RetriesExhausted, StageExhausted
from fallbacks.failure import Scope, Severity

CAMPAIGN: Final = "campaign"  # stands where a stage does; its name where a rung does
DISK: Final = "disk"
"""Stands for the stage where nothing can be written down."""
STORAGE: Final = "storage"
"""Stands for the stage where the database fails."""
RECORD: Final = "record"
NO_CALLS: Final = "do_not_call"
WORKER: Final = "worker"
"""Stands for the stage where a process that answers calls is lost; its name where a rung does."""


def trouble_of(
    event: AttemptFailed | ProviderFailed | RetriesExhausted | StageExhausted | RecordHalted,
) -> Trouble:
    """Return what a fact says is wrong."""
    match event:
        case AttemptFailed():
            return Trouble(
                stage=event.stage,
                rung=event.provider,
                kind=event.kind,
                severity=event.severity,
                reason=event.reason,
                # As fallbacks/health.py has it: what one call carries opens no breaker.
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
    """Return what a disk that takes nothing means."""
    return Trouble(
        stage=DISK,
        rung=event.where,
        kind="nothing_can_be_written",
        severity=Severity.HIGH,
        reason=event.reason,
    )


def trouble_of_list(event: DoNotCallOwed | DoNotCallDropped) -> Trouble:
    """Return what it means that a number is not on the do-not-call list."""
    match event:
        case DoNotCallDropped(on_disk=False):
            severity, reason = Severity.CRITICAL, f"that of call {event.call_id}"
        case _:
            severity, reason = Severity.HIGH, ""
    return Trouble(
        stage=STORAGE, rung=NO_CALLS, kind="not_listed", severity=severity, reason=reason
    )


def trouble_of_campaign(event: CampaignHeld | CampaignPaused) -> Trouble:
    """Return what a campaign's standstill means."""
    return Trouble(
        stage=CAMPAIGN,
        rung=event.campaign,
        kind=event.reason,
        severity=event.severity,
        failures=0,
    )


def trouble_of_worker(event: WorkerLost) -> Trouble:
    """Return what a lost worker means."""
    calls = f"{event.calls} call{'' if event.calls == 1 else 's'}"
    return Trouble(
        stage=WORKER,
        rung=event.worker,
        kind="lost",
        severity=event.severity,
        reason=f"it ended with {event.code}, and with it {calls}",
    )
