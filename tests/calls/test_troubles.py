"""The failure that each event reports."""

import pytest

from calls.campaign_events import CampaignHeld, CampaignPaused
from calls.events import ProviderFailed, RecordHalted
from calls.incident import Trouble
from calls.operations_events import WorkerLost, WritesRefused
from fallbacks.facts import AttemptFailed, RetriesExhausted, StageExhausted
from fallbacks.failure import VERDICTS, Kind, Scope, Severity
from operations.notify.trouble_rules import (
    trouble_of,
    trouble_of_campaign,
    trouble_of_disk,
    trouble_of_worker,
)

EXHAUSTED = StageExhausted(stage="llm", attempts=2)


@pytest.mark.parametrize(
    ("event", "trouble"),
    [
        (
            AttemptFailed(
                stage="tts",
                provider="cartesia",
                kind=Kind.CUT,
                scope=Scope.ENDPOINT,
                after_s=0.4,
                severity=Severity.LOW,
                reason="reset",
            ),
            Trouble(
                stage="tts", rung="cartesia", kind="cut", severity=Severity.LOW, reason="reset"
            ),
        ),
        (
            ProviderFailed(stage="transport", provider="twilio", error="answered 401"),
            Trouble(
                stage="transport",
                rung="twilio",
                kind="error",
                severity=Severity.MEDIUM,
                reason="answered 401",
            ),
        ),
        (
            RetriesExhausted(
                stage="tools", provider="crm", kind=Kind.TIMEOUT, tries=4, severity=Severity.HIGH
            ),
            Trouble(stage="tools", rung="crm", kind="timeout", severity=Severity.HIGH),
        ),
        (
            EXHAUSTED,
            Trouble(stage="llm", rung="", kind="exhausted", severity=Severity.CRITICAL),
        ),
        (
            RecordHalted(reason="no space"),
            Trouble(
                stage="storage",
                rung="record",
                kind="record_halted",
                severity=Severity.CRITICAL,
                reason="no space",
            ),
        ),
    ],
    ids=["a rung", "off the ladders", "tried again in vain", "a whole stage", "the database"],
)
def test_an_event_has_rung_kind_and_severity(
    event: AttemptFailed | ProviderFailed | RetriesExhausted | StageExhausted | RecordHalted,
    trouble: Trouble,
) -> None:
    assert trouble_of(event) == trouble


@pytest.mark.parametrize(
    ("kind", "lasts", "left_alone"),
    [
        (Kind.AUTH, "until mended", "yes"),
        (Kind.NOT_FOUND, "until mended", "yes"),
        (Kind.BAD_REQUEST, "until mended", "no"),  # one such request does not open the breaker
        (Kind.BAD_REQUEST, "a while", "no"),
        (Kind.TIMEOUT, "a while", "no"),
    ],
)
def test_a_rung_that_needs_a_person_is_retired(kind: Kind, lasts: str, left_alone: str) -> None:
    failed = AttemptFailed(
        stage="tts",
        provider="cartesia",
        kind=kind,
        scope=VERDICTS[kind].scope,
        after_s=0.4,
        permanent=lasts == "until mended",
        severity=Severity.HIGH,
    )

    assert trouble_of(failed).left_alone is (left_alone == "yes")


def test_an_unwritable_disk_is_a_serious_trouble() -> None:
    assert trouble_of_disk(WritesRefused(where="logs", reason="no space")) == Trouble(
        stage="disk",
        rung="logs",
        kind="nothing_can_be_written",
        severity=Severity.HIGH,
        reason="no space",
    )


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (CampaignHeld(campaign="spring", reason="no_trunk", outage=True), Severity.MEDIUM),
        (CampaignPaused(campaign="spring", reason="no_trunk", in_a_row=5), Severity.HIGH),
    ],
    ids=["held", "paused"],
)
def test_a_halted_campaign_is_a_trouble_and_no_failure(
    event: CampaignHeld | CampaignPaused, severity: Severity
) -> None:
    assert trouble_of_campaign(event) == Trouble(
        stage="campaign", rung="spring", kind="no_trunk", severity=severity, failures=0
    )


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        (0, "it exited with -9, which ended 0 calls"),
        (1, "it exited with -9, which ended 1 call"),
        (2, "it exited with -9, which ended 2 calls"),
    ],
)
def test_a_worker_is_lost_with_its_calls(calls: int, reason: str) -> None:
    lost = WorkerLost(worker="worker-2", code=-9, calls=calls)

    assert trouble_of_worker(lost) == Trouble(
        stage="worker", rung="worker-2", kind="lost", severity=Severity.HIGH, reason=reason
    )
