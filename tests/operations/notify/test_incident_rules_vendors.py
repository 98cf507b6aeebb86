"""Rungs of one vendor that fail alike: one incident, one alert, and a cure for the vendor."""

from dataclasses import replace
from typing import Any

import pytest

from calls.events import Event
from calls.incident import IncidentBegan, IncidentEnded, IncidentEvent, IncidentGrew
from calls.sentences import Vendor, cure_of, event_sentence
from fallbacks.events import (
    AttemptFailed,
    BreakerMoved,
    RungChosen,
    RungFollowed,
    Suspected,
    SuspicionCleared,
)
from fallbacks.failure import ONE_CALL, Kind, Severity, failed
from operations.notify.alert import AlertRules
from operations.notify.alerting_rules import Alerting
from operations.notify.channel import alert_text
from operations.notify.incident_rules import CALM_S, Incidents

STT = ("deepgram", "deepgram-b", "soniox")
VENDORS = {
    ("stt", name): Vendor(
        title=f"{vendor} ({name})" if name[-2:] == "-b" else vendor,
        key=f"{name}'s key",
        place=f"stages.stt {name}",
        name=vendor,
    )
    for name, vendor in zip(STT, ("Deepgram", "Deepgram", "Soniox"), strict=True)
}
CURE = "look at its status page; only a rung of another vendor helps meanwhile"
BOTH = "Deepgram is down: deepgram and deepgram-b fail alike"


def incidents(*ladder: str) -> Incidents:
    return Incidents({"stt": ladder or STT}, steps=("keypad",), vendors=VENDORS)


def fails(rung: str, kind: Kind = Kind.NETWORK, **more: Any) -> tuple[Event, ...]:
    """Return the events of a failed attempt that is more than a glitch."""
    attempt = AttemptFailed.of(failed(kind, "stt", provider=rung, **more), after_s=0.1)
    severity = max(attempt.severity, Severity.MEDIUM, key=list(Severity).index)
    return replace(attempt, severity=severity), Suspected(stage="stt", provider=rung, kind=kind)


def glitches(rung: str, kind: Kind = Kind.NETWORK) -> tuple[Event, ...]:
    attempt = AttemptFailed.of(failed(kind, "stt", provider=rung), after_s=0.1)
    return attempt, Suspected(stage="stt", provider=rung, kind=kind)


def moved(rung: str, after: str) -> Event:
    return BreakerMoved(
        stage="stt",
        provider=rung,
        before="closed" if after == "open" else "half_open",
        after=after,
        cause="failures",
        after_s=1.0,
        severity=Severity.MEDIUM,
    )


def cleared(rung: str) -> Event:
    return SuspicionCleared(stage="stt", provider=rung, after_s=1.0)


def told_by(known: Incidents, *events: Event, at: float = 0.0) -> list[IncidentEvent]:
    return [fact for event in events for fact in known.handle(event, at)]


@pytest.mark.parametrize("kinds", [(Kind.NETWORK, Kind.NETWORK), (Kind.TIMEOUT, Kind.SILENT)])
@pytest.mark.parametrize("first", [0, 1])
def test_two_rungs_of_a_vendor_share_an_incident(kinds: tuple[Kind, Kind], first: int) -> None:
    known = incidents()
    order = (STT[first], STT[1 - first])

    (began,) = told_by(known, *fails(order[0], kinds[0]))
    (grew,) = told_by(known, *fails(order[1], kinds[1]), at=2.0)
    again = told_by(known, *fails(order[0], kinds[0]), *fails(order[1], kinds[1]), at=3.0)

    assert isinstance(began, IncidentBegan)
    assert isinstance(grew, IncidentGrew)
    assert (began.rung, grew.rung, grew.kind) == (order[0], order[0], kinds[0])
    assert grew.reason == BOTH
    assert grew.then == "soniox is used instead"
    assert again == []


def test_glitches_of_both_are_one_incident_when_a_third_rung_answers_instead() -> None:
    known = incidents()
    chosen = RungChosen(stage="stt", before="deepgram", after="soniox", cause="failover")

    before = told_by(known, *glitches("deepgram"), *glitches("deepgram-b"))
    (began,) = told_by(known, chosen)
    later = told_by(known, moved("deepgram", "open"), moved("deepgram-b", "open"), at=5.0)

    assert before == []
    assert isinstance(began, IncidentBegan)
    assert (began.rung, began.reason) == ("deepgram", BOTH)
    assert began.then == "soniox answers instead"
    assert {fact.rung for fact in later} <= {"deepgram"}


@pytest.mark.parametrize(
    ("second", "kind"),
    [("soniox", Kind.NETWORK), ("deepgram-b", Kind.AUTH), ("deepgram-b", Kind.NOT_FOUND)],
)
def test_another_vendor_and_another_cause_have_their_own_incident(second: str, kind: Kind) -> None:
    known = incidents()

    told = told_by(known, *fails("deepgram"), *fails(second, kind))

    assert [(type(fact), fact.rung) for fact in told] == [
        (IncidentBegan, "deepgram"),
        (IncidentBegan, second),
    ]


def test_rungs_whose_vendor_is_not_known_are_not_joined() -> None:
    known = Incidents({"stt": STT})

    told = told_by(known, *fails("deepgram"), *fails("deepgram-b"))

    assert [fact.rung for fact in told] == ["deepgram", "deepgram-b"]


def test_a_failure_of_one_call_is_no_outage_of_its_vendor() -> None:
    known = incidents()

    told = told_by(known, *fails("deepgram", reason=f"{ONE_CALL}: odd words"), *fails("deepgram-b"))

    assert [fact.rung for fact in told] == ["deepgram", "deepgram-b"]


@pytest.mark.parametrize("first", [0, 1])
def test_it_ends_once_when_both_are_healthy(first: int) -> None:
    known = incidents()
    told_by(known, *fails("deepgram"), *fails("deepgram-b"))
    order = (STT[first], STT[1 - first])

    one = told_by(known, cleared(order[0]), at=10.0)
    meanwhile = known.tick(10.0 + 2 * CALM_S)
    other = told_by(known, cleared(order[1]), at=100.0)
    (over,) = known.tick(100.0 + CALM_S)

    assert (*one, *meanwhile, *other) == ()
    assert over == IncidentEnded(
        stage="stt", rung="deepgram", kind="network", lasted_s=100.0, failures=2
    )
    assert not known.has("stt", "deepgram-b")


def test_breakers_that_close_one_after_the_other_end_it_once() -> None:
    known = incidents()
    told_by(known, *fails("deepgram"), *fails("deepgram-b"))
    told_by(known, moved("deepgram", "open"), moved("deepgram-b", "open"), at=1.0)
    told_by(known, cleared("deepgram"), cleared("deepgram-b"), at=2.0)

    first = told_by(known, moved("deepgram", "closed"), at=20.0)
    second = told_by(known, moved("deepgram-b", "closed"), at=30.0)

    assert [fact for fact in first if fact.rung] == []
    assert [type(fact) for fact in second] == [IncidentEnded]


def test_it_ends_although_the_standby_is_not_asked_again() -> None:
    known = incidents()
    told_by(known, *fails("deepgram"), moved("deepgram", "open"), *fails("deepgram-b"))
    told_by(known, cleared("deepgram-b"), cleared("deepgram"), at=5.0)

    told = told_by(known, moved("deepgram", "closed"), at=20.0)
    (over,) = known.tick(20.0 + CALM_S)

    assert told == []
    assert over.rung == "deepgram"


def test_without_another_vendor_the_outage_menu_is_what_callers_get() -> None:
    known = incidents(*STT[:2])

    *_, grew = told_by(known, *fails("deepgram"), *fails("deepgram-b"))

    assert isinstance(grew, IncidentGrew)
    assert "keypad" in grew.then


def test_workers_that_notice_one_or_both_make_one_alert_with_the_cure() -> None:
    alerting = Alerting(AlertRules())
    follows = RungFollowed(
        stage="stt", provider="deepgram", breaker="closed", suspect=True, kind="network"
    )
    both, one, late = incidents(), incidents(), incidents()
    told = [
        ("a", told_by(both, *fails("deepgram"), *fails("deepgram-b"))),
        ("b", told_by(one, *fails("deepgram"))),
        ("c", told_by(late, follows, *fails("deepgram-b"))),
    ]
    for worker, facts in told:
        for fact in facts:
            alerting.handle(fact, 100.0, by=worker)

    (alert,) = alerting.alerts.values()

    assert (alert.rung, alert.reason) == ("deepgram", BOTH)
    assert f"L{CURE[1:]}" in alert_text(alert).whole


def test_the_log_names_the_cure_of_the_vendor_and_not_of_the_kind() -> None:
    fields = {"stage": "stt", "rung": "deepgram", "kind": "network", "reason": BOTH}

    assert CURE in event_sentence("IncidentGrew", fields, VENDORS)
    assert cure_of(Kind.NETWORK, "Deepgram cannot be reached") != cure_of(Kind.NETWORK, BOTH)


@pytest.mark.parametrize("first", [0, 1])
def test_all_rungs_that_are_tested_are_named_whichever_failed_last(
    first: int,
) -> None:
    known = incidents()
    order = (STT[first], STT[1 - first])

    told_by(known, *fails(order[0]))
    told = told_by(known, *fails(order[1]), *(moved(rung, "open") for rung in order), at=2.0)

    assert "deepgram and deepgram-b are tested until they work again" in str(told)
    assert "is tested" not in str(told)
