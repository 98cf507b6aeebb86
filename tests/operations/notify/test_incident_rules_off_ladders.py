"""Incidents outside the ladders: a carrier, a disk, the database, campaigns, workers."""

from dataclasses import replace

import pytest

from calls.campaign_events import CampaignHeld, CampaignPaused, CampaignResumed
from calls.events import Event, ProviderFailed, RecordHalted, RecordResumed
from calls.incident import IncidentBegan, IncidentEnded
from calls.operations_events import (
    CallsLost,
    DoNotCallDropped,
    DoNotCallListed,
    DoNotCallOwed,
    DoNotCallWanted,
    StoreLost,
    StoreRegained,
    WorkerCause,
    WorkerLost,
    WorkerStarted,
    WritesRefused,
    WritesResumed,
)
from fallbacks.failure import Severity
from operations.notify.incident_rules import AGAIN_S, CALM_S, Incidents


@pytest.fixture
def incidents() -> Incidents:
    return Incidents({"llm": ["openai"]}, steps=("clip", "goodbye"))


HANG_UP = ProviderFailed(stage="transport", provider="twilio", error="hang-up answered 401")
NO_HANG_UP = IncidentBegan(
    stage="transport",
    rung="twilio",
    kind="error",
    severity=Severity.MEDIUM,
    reason="twilio reports an error; it says: hang-up answered 401",
    then="calls go on without it",
)


def test_an_incident_without_a_success_is_named_again_after_a_while(incidents: Incidents) -> None:
    told = [incidents.handle(HANG_UP, index * 60.0) for index in range(30)]

    assert AGAIN_S == 900.0
    assert [item for item in told if item] == [(NO_HANG_UP,), (NO_HANG_UP,)]
    assert [minute for minute, facts in enumerate(told) if facts] == [0, 15]


REFUSED = WritesRefused(where="logs", reason="No space left on device")
FULL = IncidentBegan(
    stage="disk",
    rung="logs",
    kind="nothing_can_be_written",
    severity=Severity.HIGH,
    reason="No space left on device",
    then="calls go on; unwritten data waits for free space",
)


def test_a_full_disk_is_an_incident_until_a_write_succeeds(incidents: Incidents) -> None:
    assert incidents.handle(REFUSED, 10.0) == (FULL,)
    assert incidents.handle(REFUSED, 11.0) == ()
    assert incidents.handle(WritesResumed(where="logs", lost=3), 70.0) == (
        IncidentEnded(
            stage="disk", rung="logs", kind="nothing_can_be_written", lasted_s=60.0, failures=2
        ),
    )
    assert incidents.handle(REFUSED, 80.0) == (FULL,)


def test_a_write_to_one_disk_does_not_clear_another(incidents: Incidents) -> None:
    incidents.handle(REFUSED, 10.0)

    assert incidents.handle(WritesResumed(where="recordings", lost=0), 70.0) == ()


def test_an_absent_store_is_an_incident_in_any_process(incidents: Incidents) -> None:
    lost = incidents.handle(StoreLost(reason="connection refused"), 10.0)

    assert lost == (
        IncidentBegan(
            stage="storage",
            rung="store",
            kind="store_away",
            severity=Severity.HIGH,
            reason="connection refused",
            then="calls go on, but no other machine can take them up",
        ),
    )
    for other in (incidents, Incidents({}, steps=())):  # the first one may be gone
        assert other.handle(StoreRegained(away_s=7.04), 70.0) == (
            IncidentEnded(
                stage="storage", rung="store", kind="store_away", lasted_s=7.0, failures=1
            ),
        )


HALTED = RecordHalted(reason="connection refused")
RESUMED = RecordResumed(after_s=5.0, lost_entries=0)


def test_a_database_that_refuses_writes_is_critical(incidents: Incidents) -> None:
    assert incidents.handle(HALTED, 10.0) == (
        IncidentBegan(
            stage="storage",
            rung="record",
            kind="record_halted",
            severity=Severity.CRITICAL,
            reason="connection refused",
            then="calls go on without it",
        ),
    )


def test_a_database_has_recovered_when_it_has_accepted_writes_for_a_while(
    incidents: Incidents,
) -> None:
    incidents.handle(HALTED, 10.0)
    incidents.handle(RESUMED, 15.0)
    incidents.handle(HALTED, 20.0)
    incidents.handle(RESUMED, 25.0)

    assert incidents.tick(25.0 + CALM_S - 0.1) == ()
    assert incidents.tick(25.0 + CALM_S) == (
        IncidentEnded(
            stage="storage", rung="record", kind="record_halted", lasted_s=15.0, failures=2
        ),
    )


@pytest.mark.parametrize(
    ("stops", "began"),
    [
        (
            CampaignHeld(campaign="recall", reason="no_usable_rung", outage=True),
            IncidentBegan(
                stage="campaign",
                rung="recall",
                kind="no_usable_rung",
                severity=Severity.MEDIUM,
                reason="",
                then="no calls are placed until it is over",
            ),
        ),
        (
            CampaignPaused(campaign="recall", reason="failures", in_a_row=5),
            IncidentBegan(
                stage="campaign",
                rung="recall",
                kind="failures",
                severity=Severity.HIGH,
                reason="",
                then="it waits to be resumed",
            ),
        ),
    ],
    ids=["held", "paused"],
)
def test_a_halted_campaign_is_one_incident_until_it_continues(
    incidents: Incidents, stops: Event, began: IncidentBegan
) -> None:
    assert incidents.handle(stops, 10.0) == (began,)
    assert incidents.handle(stops, 20.0) == ()

    goes_on = CampaignResumed(campaign="recall", reason=began.kind, held_s=30.0)

    assert incidents.handle(goes_on, 40.0) == (
        IncidentEnded(stage="campaign", rung="recall", kind=began.kind, lasted_s=30.0, failures=0),
    )
    assert incidents.handle(stops, 50.0) == (began,)


def test_a_resumed_campaign_does_not_clear_another(incidents: Incidents) -> None:
    incidents.handle(CampaignPaused(campaign="recall", reason="failures", in_a_row=5), 10.0)
    other = CampaignResumed(campaign="dunning", reason="failures", held_s=30.0)
    own = CampaignResumed(campaign="recall", reason="failures", held_s=50.0)

    assert [incident.rung for incident in incidents.handle(other, 40.0)] == ["dunning"]
    assert [incident.rung for incident in incidents.handle(own, 60.0)] == ["recall"]


def test_a_halt_found_by_another_process_ends_when_the_campaign_continues(
    incidents: Incidents,
) -> None:
    goes_on = CampaignResumed(campaign="recall", reason="failures", held_s=30.04)

    assert incidents.handle(goes_on, 40.0) == (
        IncidentEnded(stage="campaign", rung="recall", kind="failures", lasted_s=30.0, failures=0),
    )


TAKEN_ITS_PLACE = WorkerStarted(worker="w3", process=7, cause="lost", replaces="w1", after_s=8.24)


@pytest.mark.parametrize(("calls", "lost"), [(0, "0 calls"), (1, "1 call"), (3, "3 calls")])
def test_a_lost_worker_is_an_incident_with_its_calls(
    incidents: Incidents, calls: int, lost: str
) -> None:
    assert incidents.handle(WorkerLost(worker="w1", code=-9, calls=calls), 1.0) == (
        IncidentBegan(
            stage="worker",
            rung="w1",
            kind="lost",
            severity=Severity.MEDIUM,
            reason=f"it exited with -9, which interrupted {lost}",
            then="a replacement is started, and other workers go on with the calls",
        ),
    )


def test_calls_that_did_not_go_on_are_urgent_and_counted_apart(incidents: Incidents) -> None:
    (began,) = incidents.handle(CallsLost(worker="w1", interrupted=3, lost=2), 61.0)

    assert isinstance(began, IncidentBegan)
    assert (began.kind, began.severity) == ("calls_lost", Severity.HIGH)
    assert began.reason == "2 of 3 calls of this worker were lost"


def test_a_worker_killed_for_memory_is_named_as_such(incidents: Incidents) -> None:
    event = WorkerLost(
        worker="w1", code=-9, calls=1, kind="out_of_memory", reason="had no memory left"
    )
    (began,) = incidents.handle(event, 1.0)

    assert isinstance(began, IncidentBegan)
    assert (began.kind, began.reason) == (
        "out_of_memory",
        "it had no memory left, which interrupted 1 call",
    )


def test_another_process_than_the_reporter_ends_the_incident(incidents: Incidents) -> None:
    assert incidents.handle(TAKEN_ITS_PLACE, 9.0) == (
        IncidentEnded(stage="worker", rung="w1", kind="lost", lasted_s=8.2, failures=1),
    )


@pytest.mark.parametrize("cause", ["start", "relief"])
def test_a_worker_that_replaces_no_lost_one_ends_nothing(
    incidents: Incidents, cause: WorkerCause
) -> None:
    started = WorkerStarted(worker="w3", process=7, cause=cause)

    assert incidents.handle(started, 9.0) == ()


STILL_OWED = DoNotCallOwed(turn=2, by="model")
UNLISTED = DoNotCallDropped(call_id="c1", reason="process_ended", on_disk=False)


@pytest.mark.parametrize(
    "listed",
    [DoNotCallListed(call_id="c1", tries=9), DoNotCallWanted(turn=1, by="words")],
    ids=lambda each: type(each).__name__,
)
def test_a_failed_opt_out_is_an_incident_until_one_is_listed(
    incidents: Incidents, listed: Event
) -> None:
    (began,) = incidents.handle(STILL_OWED, 10.0)
    same = incidents.handle(STILL_OWED, 11.0)
    (ended,) = incidents.handle(listed, 70.0)

    assert began == IncidentBegan(
        stage="storage",
        rung="do_not_call",
        kind="not_listed",
        severity=Severity.HIGH,
        reason="",
        then="retried until it is listed, even after a restart",
    )
    assert same == ()
    assert ended == IncidentEnded(
        stage="storage", rung="do_not_call", kind="not_listed", lasted_s=60.0, failures=2
    )


def test_a_lost_opt_out_is_an_incident_of_its_own_that_no_other_listing_ends(
    incidents: Incidents,
) -> None:
    incidents.handle(STILL_OWED, 10.0)
    kept = incidents.handle(replace(UNLISTED, on_disk=True), 11.0)
    (lost,) = incidents.handle(UNLISTED, 12.0)
    (ended,) = incidents.handle(DoNotCallListed(call_id="c2", tries=1), 13.0)

    assert kept == ()
    assert lost == IncidentBegan(
        stage="storage",
        rung="c1",
        kind="not_listed",
        severity=Severity.CRITICAL,
        reason="the number of call c1 is neither on the list nor on disk",
        then="an operator must add it to the list",
    )
    assert isinstance(ended, IncidentEnded)
    assert ended.rung == "do_not_call"
    assert incidents.has("storage", "c1")
