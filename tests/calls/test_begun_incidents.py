"""The incident that each event begins."""

import pytest

from calls.campaign_events import CampaignHeld, CampaignPaused
from calls.events import Event, ProviderFailed, RecordHalted
from calls.incident import IncidentBegan
from calls.operations_events import WorkerLost, WritesRefused
from fallbacks.facts import AttemptFailed, RetriesExhausted, StageExhausted
from fallbacks.failure import VERDICTS, Kind, Scope, Severity
from operations.notify.incident_rules import Incidents

LADDERS = {"llm": ["openai"], "tts": ["cartesia", "elevenlabs"]}
GOES_ON = "the call goes on without it"


def begun(event: Event) -> IncidentBegan:
    (fact,) = Incidents(LADDERS, steps=["clip"]).handle(event, 0.0)
    assert isinstance(fact, IncidentBegan)
    return fact


@pytest.mark.parametrize(
    ("event", "began"),
    [
        (
            AttemptFailed(
                stage="tts",
                provider="cartesia",
                kind=Kind.CUT,
                scope=Scope.ENDPOINT,
                after_s=0.4,
                severity=Severity.MEDIUM,
                reason="reset",
            ),
            IncidentBegan(
                stage="tts",
                rung="cartesia",
                kind="cut",
                severity=Severity.MEDIUM,
                reason="reset",
                then="elevenlabs is asked instead",
            ),
        ),
        (
            ProviderFailed(stage="transport", provider="twilio", error="answered 401"),
            IncidentBegan(
                stage="transport",
                rung="twilio",
                kind="error",
                severity=Severity.MEDIUM,
                reason="answered 401",
                then=GOES_ON,
            ),
        ),
        (
            RetriesExhausted(
                stage="tools", provider="crm", kind=Kind.TIMEOUT, tries=4, severity=Severity.HIGH
            ),
            IncidentBegan(
                stage="tools", rung="crm", kind="timeout", severity=Severity.HIGH, then=GOES_ON
            ),
        ),
        (
            StageExhausted(stage="llm", attempts=2),
            IncidentBegan(
                stage="llm", rung="", kind="exhausted", severity=Severity.CRITICAL, then="clip"
            ),
        ),
        (
            RecordHalted(reason="no space"),
            IncidentBegan(
                stage="storage",
                rung="record",
                kind="record_halted",
                severity=Severity.CRITICAL,
                reason="no space",
                then=GOES_ON,
            ),
        ),
        (
            WritesRefused(where="logs", reason="no space"),
            IncidentBegan(
                stage="disk",
                rung="logs",
                kind="nothing_can_be_written",
                severity=Severity.HIGH,
                reason="no space",
                then="calls go on; what is not written waits for room",
            ),
        ),
        (
            CampaignHeld(campaign="spring", reason="no_trunk", outage=True),
            IncidentBegan(
                stage="campaign",
                rung="spring",
                kind="no_trunk",
                severity=Severity.MEDIUM,
                then="no calls are placed until it is over",
            ),
        ),
        (
            CampaignPaused(campaign="spring", reason="no_trunk", in_a_row=5),
            IncidentBegan(
                stage="campaign",
                rung="spring",
                kind="no_trunk",
                severity=Severity.HIGH,
                then="it waits to be resumed",
            ),
        ),
    ],
    ids=["a rung", "off the ladders", "failed every time", "a whole stage", "the database",
         "the disk", "a held campaign", "a paused campaign"],
)  # fmt: skip
def test_an_event_has_rung_kind_and_severity(event: Event, began: IncidentBegan) -> None:
    assert begun(event) == began


@pytest.mark.parametrize(
    ("kind", "lasts", "left_alone"),
    [
        (Kind.AUTH, "until mended", "yes"),
        (Kind.NOT_FOUND, "until mended", "yes"),
        (Kind.BAD_REQUEST, "until mended", "no"),  # one such request does not open the breaker
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

    assert ("left alone" in begun(failed).then) is (left_alone == "yes")


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

    assert begun(lost) == IncidentBegan(
        stage="worker",
        rung="worker-2",
        kind="lost",
        severity=Severity.HIGH,
        reason=reason,
        then="a replacement is started",
    )
