"""When an incident begins, grows and ends."""

from typing import Any

import pytest

from calls.events import Event, ProviderFailed
from calls.incident import IncidentBegan, IncidentEnded, IncidentEvent, IncidentGrew
from calls.sentences import Vendor, cure_of
from fallbacks.events import (
    AttemptFailed,
    AttemptWon,
    BreakerMoved,
    RetriesExhausted,
    RungChosen,
    RungFollowed,
    StageExhausted,
    StageRecovered,
    Suspected,
    SuspicionCleared,
)
from fallbacks.failure import ONE_CALL, Kind, Scope, Severity, failed
from operations.notify.alert import AlertRules
from operations.notify.alerting_rules import Alerting
from operations.notify.incident_rules import CALM_S, Incidents

LADDERS = {"stt": ["deepgram"], "llm": ["openai", "openai-b"], "tts": ["cartesia", "elevenlabs"]}
STEPS = ("clip", "keypad", "goodbye")


def attempt_failed(kind: Kind, rung: str = "openai", stage: str = "llm", **more: Any) -> Event:
    failure = failed(kind, stage, provider=rung)
    told: dict[str, Any] = {
        "scope": failure.scope,
        "permanent": failure.permanent,
        "severity": failure.severity,
        **more,
    }
    return AttemptFailed(stage=stage, provider=rung, kind=kind, after_s=0.1, attempt=1, **told)


def wordless(rung: str = "openai") -> Event:
    return attempt_failed(Kind.SILENT, rung, scope=Scope.PAYLOAD)


def suspected(kind: Kind, rung: str = "openai", stage: str = "llm") -> Event:
    return Suspected(stage=stage, provider=rung, kind=kind)


def cleared(rung: str = "openai") -> Event:
    return SuspicionCleared(stage="llm", provider=rung, after_s=1.0)


def moved(
    after: str, rung: str = "openai", stage: str = "llm", severity: Severity = Severity.MEDIUM
) -> Event:
    before = "closed" if after == "open" else "half_open"
    return BreakerMoved(
        stage=stage,
        provider=rung,
        before=before,
        after=after,
        cause="failures",
        after_s=1.0,
        severity=severity,
    )


def chosen(before: str = "openai", after: str = "openai-b", stage: str = "llm") -> Event:
    return RungChosen(stage=stage, before=before, after=after, cause="failover")


def won(rung: str, stage: str = "llm") -> Event:
    return AttemptWon(stage=stage, provider=rung, attempt=1, after_s=0.3)


REFUSED = (
    attempt_failed(Kind.AUTH, reason="401 invalid_api_key"),
    suspected(Kind.AUTH),
    moved("open", severity=Severity.HIGH),
    chosen(),
)
LATE = (attempt_failed(Kind.TIMEOUT), suspected(Kind.TIMEOUT), chosen())
EXHAUSTED = StageExhausted(stage="llm", attempts=2)


def told_by(*events: Event, at: float = 0.0, of: Incidents | None = None) -> list[IncidentEvent]:
    incidents = of or Incidents(LADDERS, steps=STEPS)
    return [incident for event in events for incident in incidents.handle(event, at)]


def test_a_refused_key_is_one_line_with_its_replacement() -> None:
    assert told_by(*REFUSED) == [
        IncidentBegan(
            stage="llm",
            rung="openai",
            kind="auth",
            severity=Severity.HIGH,
            reason="openai rejects its key (401)",
            then="openai-b is used instead; openai is tested until it works again",
        )
    ]


@pytest.mark.parametrize(
    "events",
    [
        REFUSED,
        (attempt_failed(Kind.AUTH, reason="probe: api.openai.com answered 401"),),
        (chosen(), attempt_failed(Kind.AUTH, reason="401 at the upgrade")),
    ],
    ids=["a caller's request", "a probe", "an upgrade"],
)
def test_a_refused_key_is_one_sentence_wherever_it_was_refused(events: tuple[Event, ...]) -> None:
    vendor = Vendor(title="OpenAI", key="OPENAI_API_KEY", place="stages.llm openai")
    incidents = Incidents(LADDERS, steps=STEPS, vendors={("llm", "openai"): vendor})

    (began,) = told_by(*events, of=incidents)

    assert isinstance(began, IncidentBegan)
    assert began.reason == "OpenAI rejects OPENAI_API_KEY (401)"


ONCE = "OpenAI refused one call's request ({}); it is being probed"


@pytest.mark.parametrize(
    ("kind", "status", "proved"),
    [
        (Kind.AUTH, 401, "OpenAI rejects OPENAI_API_KEY (401)"),
        (Kind.QUOTA, 402, "OpenAI has no credit left for OPENAI_API_KEY (402)"),
        (
            Kind.NOT_FOUND,
            404,
            "OpenAI does not know the model, the voice or the address of stages.llm (404)",
        ),
    ],
)
@pytest.mark.parametrize("proof", ["probe", "breaker", "another process"])
def test_the_refusal_of_one_call_blames_the_key_only_once_it_is_proved(
    kind: Kind, status: int, proved: str, proof: str
) -> None:
    vendor = Vendor(title="OpenAI", key="OPENAI_API_KEY", place="stages.llm")
    incidents = Incidents({"llm": ["openai"]}, vendors={("llm", "openai"): vendor})
    alerting, probed = Alerting(AlertRules()), f"probe: answered {status}"
    follows = RungFollowed(
        stage="llm", provider="openai", breaker="open", suspect=True, kind=kind, reason=str(status)
    )
    proofs = {
        "probe": (attempt_failed(kind, reason=probed), moved("open")),
        "breaker": (moved("open"),),
        "another process": (follows,),
    }

    one = attempt_failed(kind, reason=f"{ONE_CALL}: {status} refused")
    (began, stage) = told_by(one, suspected(kind), EXHAUSTED, of=incidents)
    reasons = told_by(*proofs[proof], at=1.0, of=incidents)
    less = told_by(one, of=Incidents({"llm": ["openai"]}, vendors={("llm", "openai"): vendor}))
    for fact in (began, stage, *reasons, *less):
        alerting.handle(fact, 1.0)

    assert {fact.reason for fact in (began, stage)} == {ONCE.format(status)}  # pyright: ignore[reportAttributeAccessIssue] - IncidentBegan
    assert cure_of(kind, ONCE.format(status)) == ""
    assert [(type(fact), fact.rung) for fact in reasons] == [
        (IncidentGrew, "openai"),
        (IncidentGrew, ""),
    ]
    assert {alert.reason for alert in alerting.alerts.values()} == {proved}


def test_a_rung_that_shares_a_refused_key_is_explained_too() -> None:
    vendor = Vendor(title="OpenAI", key="OPENAI_API_KEY", place="stages.llm openai-b")
    incidents = Incidents(LADDERS, steps=STEPS, vendors={("llm", "openai-b"): vendor})

    (began,) = told_by(suspected(Kind.AUTH, "openai-b"), moved("open", "openai-b"), of=incidents)

    assert isinstance(began, IncidentBegan)
    assert began.reason == "OpenAI rejects OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("events", "severity"),
    [
        (REFUSED, Severity.HIGH),
        ((attempt_failed(Kind.NOT_FOUND),), Severity.HIGH),
        ((attempt_failed(Kind.BAD_REQUEST),), Severity.HIGH),
        ((attempt_failed(Kind.NETWORK, unknown=True, severity=Severity.MEDIUM),), Severity.MEDIUM),
        (LATE, Severity.LOW),
        ((suspected(Kind.TIMEOUT), chosen()), Severity.LOW),
        ((attempt_failed(Kind.RATE_LIMITED), chosen()), Severity.LOW),
        ((moved("open"),), Severity.MEDIUM),
        ((suspected(Kind.AUTH), moved("open", severity=Severity.HIGH)), Severity.HIGH),
        ((RetriesExhausted(stage="llm", provider="openai", kind=Kind.TIMEOUT, tries=4),),
         Severity.MEDIUM),
        ((ProviderFailed(stage="transport", provider="twilio", error="hang-up answered 401"),),
         Severity.MEDIUM),
    ],
    ids=["a key", "a name", "a request", "not known", "a failover", "late, then a failover",
         "a limit, then a failover", "a breaker", "a shared key", "given up", "a carrier"],
)  # fmt: skip
def test_an_event_for_operators_begins_one_incident(
    events: tuple[Event, ...], severity: Severity
) -> None:
    (began,) = told_by(*events)

    assert isinstance(began, IncidentBegan)
    assert began.severity is severity


@pytest.mark.parametrize(
    "events",
    [
        (attempt_failed(Kind.TIMEOUT),),
        (attempt_failed(Kind.BAD_REQUEST, scope=Scope.PAYLOAD, severity=Severity.LOW), chosen()),
        (suspected(Kind.TIMEOUT), cleared()),
        (chosen(),),
        (attempt_failed(Kind.TIMEOUT), suspected(Kind.TIMEOUT), cleared(), chosen()),
        (moved("half_open"), moved("closed")),
        (StageRecovered(stage="llm", down_s=3.0), won("openai")),
    ],
    ids=["a glitch", "our own request", "late once", "outrun by a hedge", "outrun later",
         "moves back", "all is well"],
)  # fmt: skip
def test_an_ordinary_event_begins_no_incident(events: tuple[Event, ...]) -> None:
    assert told_by(*events) == []


def test_a_suspicion_that_becomes_an_open_breaker_is_reported_once_more() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(*LATE, of=incidents)
    told_by(attempt_failed(Kind.TIMEOUT), attempt_failed(Kind.TIMEOUT), at=3.0, of=incidents)

    (grew,) = told_by(moved("open"), moved("open"), at=3.0, of=incidents)

    assert grew == IncidentGrew(
        stage="llm",
        rung="openai",
        kind="timeout",
        severity=Severity.MEDIUM,
        reason="openai does not answer in time",
        then="openai-b is used instead; openai is tested until it works again",
        failures=3,
    )


def test_a_failover_names_its_reason_and_the_new_provider() -> None:
    limited = attempt_failed(Kind.RATE_LIMITED, reason="429", severity=Severity.LOW)

    assert told_by(limited, chosen()) == [
        IncidentBegan(
            stage="llm",
            rung="openai",
            kind="rate_limited",
            severity=Severity.LOW,
            reason="openai limits the requests of its key (429)",
            then="openai-b answers instead",
        )
    ]


def test_a_rung_whose_breaker_has_closed_is_named_as_the_next() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(moved("open", "openai-b"), moved("closed", "openai-b"), of=incidents)

    (began,) = told_by(attempt_failed(Kind.TIMEOUT, severity=Severity.MEDIUM), of=incidents)

    assert isinstance(began, IncidentBegan)
    assert began.then == "openai-b is used instead"


@pytest.mark.parametrize(
    ("scope", "is_breaker_open"), [(Scope.CREDENTIAL, True), (Scope.REQUEST, False)]
)
def test_a_key_that_may_be_valid_is_not_reported_as_retired(
    scope: Scope, *, is_breaker_open: bool
) -> None:
    forbidden = AttemptFailed(
        stage="llm",
        provider="openai",
        kind=Kind.AUTH,
        scope=scope,
        after_s=0.1,
        permanent=True,
        severity=Severity.HIGH,
    )

    (began,) = told_by(forbidden)
    assert isinstance(began, IncidentBegan)
    assert ("is tested until" in began.then) is is_breaker_open


def test_a_stage_with_only_retired_rungs_is_critical() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(*REFUSED, of=incidents)

    rung, stage = told_by(
        attempt_failed(Kind.QUOTA, "openai-b"),
        moved("open", "openai-b", severity=Severity.HIGH),
        EXHAUSTED,
        EXHAUSTED,
        at=2.0,
        of=incidents,
    )

    assert isinstance(rung, IncidentBegan)
    assert rung.then == (
        "callers will get the keypad menu; openai-b is tested until it works again"
    )
    assert stage == IncidentBegan(
        stage="llm",
        rung="",
        kind="no_usable_rung",
        severity=Severity.CRITICAL,
        reason="openai rejects its key (401); openai-b has no credit left for its key",
        then="callers will get the keypad menu",
    )


def test_work_without_a_usable_rung_is_critical_although_no_breaker_is_open() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)

    (began,) = told_by(EXHAUSTED, EXHAUSTED, of=incidents)
    told_by(won("openai"), at=5.0, of=incidents)
    told_by(EXHAUSTED, at=6.0, of=incidents)
    told_by(StageRecovered(stage="llm", down_s=3.0), at=9.0, of=incidents)
    (ended,) = incidents.tick(9.0 + CALM_S)

    assert isinstance(began, IncidentBegan)
    assert (began.rung, began.kind, began.severity) == ("", "exhausted", Severity.CRITICAL)
    assert ended == IncidentEnded(stage="llm", rung="", kind="exhausted", lasted_s=9.0, failures=3)


def test_a_recogniser_without_words_for_consecutive_questions_is_an_incident() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    won = AttemptWon(stage="llm", provider="openai", attempt=4, after_s=0.3)
    calm = [*[wordless()] * 3, won, *[wordless()] * 3]

    assert [incidents.handle(event, 1.0) for event in calm] == [()] * 7
    assert incidents.handle(wordless("openai-b"), 1.0) == ()
    (began,) = incidents.handle(wordless(), 2.0)
    assert isinstance(began, IncidentBegan)
    assert (began.rung, began.kind, began.severity) == ("openai", "silent", Severity.MEDIUM)

    incidents.handle(won, 3.0)
    (ended,) = incidents.tick(3.0 + CALM_S)
    assert isinstance(ended, IncidentEnded)
