"""When alerts are sent about an incident."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.incident import UNKNOWN, WEIGHT, IncidentBegan, IncidentEnded, IncidentGrew
from fallbacks.breaker import State
from fallbacks.events import BreakerMoved, RungFollowed
from fallbacks.failure import Severity
from operations.notify.alert import (
    HURT_S,
    Alert,
    AlertEvent,
    AlertRules,
    Census,
    IncidentLasted,
    IncidentLeft,
    TellAlert,
)
from operations.notify.alerting_rules import Alerting, RingRules, count_callers, new_alert
from operations.notify.incident_rules import Incidents

RULES = AlertRules()
BEGAN = IncidentBegan(
    stage="tts",
    rung="cartesia",
    kind="auth",
    severity=Severity.HIGH,
    reason="answered 401",
    then="elevenlabs answers instead",
)
ENDED = IncidentEnded(stage="tts", rung="cartesia", kind="auth", lasted_s=60.0, failures=3)
LASTED = IncidentLasted(stage="tts", rung="cartesia")
LEFT = IncidentLeft(stage="tts", rung="cartesia")


def grew(severity: Severity, failures: int = 5) -> IncidentGrew:
    return IncidentGrew(
        stage="tts",
        rung="cartesia",
        kind="auth",
        severity=severity,
        reason="answered 401",
        then="elevenlabs answers instead",
        failures=failures,
    )


def stage_down(stage: str) -> IncidentBegan:
    return replace(BEGAN, stage=stage, rung="", kind="no_usable_rung", severity=Severity.CRITICAL)


def only(alerting: Alerting) -> Alert:
    (alert,) = alerting.alerts.values()
    return alert


def test_a_lasting_incident_is_reported_once_however_many_calls_meet_it() -> None:
    alerting = Alerting(RULES)

    said = [alerting.handle(BEGAN, 100.0 + n / 10, by=f"worker {n}") for n in range(40)]
    told = alerting.tick(105.0)

    assert not any(said)
    assert [(item.loud, item.alert.revision) for item in told] == [(True, 1)]
    assert alerting.tick(106.0) == ()


def test_a_single_glitch_is_recorded_and_never_sent() -> None:
    alerting = Alerting(RULES)
    alerting.handle(replace(BEGAN, severity=Severity.LOW), 100.0)

    assert not any(alerting.handle(LASTED, at_s) for at_s in (700.0, 5100.0))
    assert only(alerting).severity is Severity.LOW


def test_the_end_says_how_long_it_took_and_how_many_callers_it_hurt() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0, by="one")
    alerting.tick(105.0)
    count_callers(alerting, Census(hurt_s=[110.0, 120.0, 130.0], calls=1000), 150.0)

    (told,) = alerting.handle(ENDED, 160.0, by="one")

    assert told.loud
    assert (told.alert.lasted_s, told.alert.callers, told.alert.how) == (60.0, 3, "recovered")


def test_many_hurt_callers_are_an_alert_of_their_own_until_there_are_few() -> None:
    alerting = Alerting(RULES)
    many = Census(hurt_s=[100.0, 101.0], calls=50)
    count_callers(alerting, many, 110.0)
    (told,) = count_callers(alerting, many, 116.0)
    (over,) = count_callers(alerting, Census(hurt_s=[100.0, 101.0], calls=0), 102.0 + HURT_S)

    assert (told.alert.stage, told.alert.severity) == ("callers", Severity.HIGH)
    assert told.alert.reason == "2 of 50 callers within 5 minutes"
    assert (over.alert.how, over.alert.lasted_s) == ("recovered", 292.0)


def test_an_alert_that_returned_gives_the_time_of_its_return() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.handle(ENDED, 160.0)
    alerting.handle(BEGAN, 600.0)
    alerting.handle(replace(ENDED, lasted_s=30.0), 630.0)

    assert (only(alerting).began_s, only(alerting).open_s) == (100.0, 600.0)
    assert only(alerting).lasted_s == 30.0


def test_an_alert_ends_when_each_process_that_reported_it_was_replaced() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0, by="one")
    alerting.handle(LASTED, 101.0, by="two")
    alerting.handle(LEFT, 110.0, by="one")
    alerting.handle(LEFT, 111.0, by="three")  # this process never reported it

    assert only(alerting).ended_s is None
    alerting.handle(LEFT, 112.0, by="two")
    assert (only(alerting).ended_s, only(alerting).how) == (112.0, "replaced")


@pytest.mark.parametrize("mended", [True, False])
def test_a_replaced_process_ends_an_incident_only_if_its_successor_does_not_report_it(
    *, mended: bool
) -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0, by="one")
    alerting.tick(105.0)
    alerting.handle(LEFT, 110.0, by="one")
    if not mended:
        alerting.handle(replace(BEGAN, kind="unknown", severity=Severity.MEDIUM), 112.0, by="two")
    told = [*alerting.tick(139.0), *alerting.tick(141.0)]

    assert [action.alert.how for action in told] == (["replaced"] if mended else [])
    assert only(alerting).kind == "auth"
    if not mended:  # it is the same outage
        assert (only(alerting).open_s, only(alerting).severity) == (100.0, Severity.HIGH)


def test_growth_edits_the_message_at_intervals_without_a_notification() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)

    early = count_callers(alerting, Census(hurt_s=[110.0] * 5, calls=1000), 120.0)
    (later,) = alerting.tick(165.0)

    assert early == ()
    assert not later.loud
    assert later.alert.callers == 5


def test_a_worse_incident_notifies_again() -> None:
    alerting = Alerting(RULES)
    alerting.handle(replace(BEGAN, severity=Severity.MEDIUM), 100.0)
    alerting.tick(105.0)

    (told,) = alerting.handle(grew(Severity.HIGH), 110.0)

    assert (told.loud, told.alert.severity) == (True, Severity.HIGH)


def test_a_lasting_incident_is_escalated_by_one_severity_once() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)
    alerting.handle(LASTED, 600.0)

    (told,) = alerting.tick(700.0)
    alerting.handle(LASTED, 900.0)

    assert (told.loud, told.alert.severity) == (True, Severity.CRITICAL)
    assert alerting.tick(1100.0) == ()


def test_an_acknowledged_incident_is_not_escalated_for_its_duration() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)
    alerting.acknowledge(only(alerting).key, 110.0, by="Mary")
    alerting.handle(LASTED, 600.0)

    told = alerting.tick(710.0)

    assert not any(item.loud for item in told)
    assert only(alerting).severity is Severity.HIGH
    assert only(alerting).seen_by == "Mary"


def test_an_operator_may_end_an_incident() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)

    (told,) = alerting.resolve(only(alerting).key, 120.0, by="Mary")

    assert (told.alert.how, told.alert.ended_s) == ("resolved by Mary", 120.0)


def test_an_incident_that_returns_soon_continues_in_the_same_message() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)
    alerting.handle(ENDED, 160.0)
    alerting.handle(BEGAN, 200.0)

    (told,) = alerting.tick(205.0)

    assert (told.loud, told.alert.revision, told.alert.ended_s) == (True, 3, None)
    assert only(alerting).began_s == 100.0


def test_an_incident_that_returns_later_is_another_alert() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)
    alerting.handle(ENDED, 160.0)
    alerting.handle(BEGAN, 160.0 + RULES.again_s + 1)

    assert len(alerting.alerts) == 2


def test_two_kinds_of_failure_of_one_provider_in_turn_are_two_alerts() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    alerting.handle(ENDED, 100.0)
    alerting.handle(replace(BEGAN, kind="timeout"), 100.0)

    assert [alert.kind for alert in alerting.alerts.values()] == ["auth", "timeout"]


def test_the_first_process_that_reports_the_end_ends_it() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0, by="one")
    alerting.handle(BEGAN, 101.0, by="two")
    alerting.tick(106.0)

    (told,) = alerting.handle(ENDED, 160.0, by="one")
    late = alerting.handle(ENDED, 160.2, by="two")

    assert told.alert.ended_s == 160.0
    assert late == ()


@pytest.mark.parametrize(
    ("stage", "silent_s"), [("tts", RULES.silent_s), ("carrier", RULES.named_again_s)]
)
def test_an_incident_without_reports_ends(stage: str, silent_s: float) -> None:
    alerting = Alerting(replace(RULES, escalate_s=1e9))
    alerting.handle(replace(BEGAN, stage=stage), 100.0)
    alerting.tick(105.0)

    assert alerting.tick(100.0 + silent_s - 1) == ()
    (told,) = alerting.tick(100.0 + silent_s)

    assert told.alert.how == "unheard"


def test_an_incident_closed_for_lack_of_reports_is_reported_again_by_its_reporter() -> None:
    alerting = Alerting(replace(RULES, escalate_s=1e9))
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)
    (over,) = alerting.tick(86_500.0)  # the clock was put forward, or the reporter could not write

    (again,) = alerting.handle(LASTED, 86_501.0, by="one")

    assert over.alert.how == "unheard"
    assert (again.loud, again.alert.key, again.alert.ended_s) == (True, over.alert.key, None)
    assert again.alert.began_s == 100.0
    (ended,) = alerting.handle(ENDED, 86_600.0)
    assert (ended.loud, ended.alert.how) == (True, "recovered")


@pytest.mark.parametrize("how", ["recovered", "resolved"])
def test_an_incident_ended_by_an_operator_is_not_reopened_by_a_late_report(how: str) -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    if how == "recovered":
        alerting.handle(ENDED, 160.0, by="one")
    else:
        alerting.resolve(only(alerting).key, 160.0, by="mary")

    assert alerting.handle(LASTED, 161.0, by="two") == ()
    assert only(alerting).ended_s == 160.0


def test_several_stages_down_are_reported_together() -> None:
    alerting = Alerting(RULES)
    alerting.handle(replace(stage_down("stt"), severity=Severity.HIGH), 100.0)
    alerting.handle(replace(stage_down("tts"), severity=Severity.HIGH), 101.0)

    first, second = alerting.alerts.values()
    assert (first.severity, first.beside) == (Severity.CRITICAL, ("tts",))
    assert (second.severity, second.beside) == (Severity.CRITICAL, ("stt",))


def test_in_quiet_hours_minor_incidents_wait_for_the_morning() -> None:
    alerting = Alerting(RULES, quiet=lambda now: now < 200.0)
    alerting.handle(replace(BEGAN, severity=Severity.MEDIUM), 100.0)

    assert alerting.tick(199.0) == ()
    (told,) = alerting.tick(200.0)

    assert told.loud


def test_the_end_is_reported_even_if_the_incident_returned_briefly_in_the_night() -> None:
    alerting = Alerting(RULES, quiet=lambda now: 150.0 <= now < 3000.0)
    alerting.handle(replace(BEGAN, severity=Severity.MEDIUM), 100.0)
    (told,) = alerting.tick(105.0)
    alerting.handle(ENDED, 200.0)
    (counted,) = alerting.handle(
        replace(BEGAN, severity=Severity.LOW, reason="answered 402"), 300.0, by="w1"
    )
    alerting.handle(ENDED, 310.0)

    assert alerting.tick(2999.0) == ()
    (over,) = alerting.tick(3000.0)
    assert (told.loud, counted.loud, over.loud) == (True, False, True)
    assert over.alert.ended_s == 310.0


def test_messages_over_the_hourly_limit_wait_and_critical_ones_do_not() -> None:
    rules = replace(RULES, per_hour=2, escalate_s=1e9, named_again_s=1e9)
    alerting = Alerting(rules)
    for rung in "abcd":
        alerting.handle(replace(BEGAN, stage="carrier", rung=rung), 100.0)

    assert len(alerting.tick(105.0)) == 2
    assert len(alerting.handle(stage_down("tts"), 106.0)) == 1
    for rung in "abcd":
        alerting.handle(replace(BEGAN, stage="carrier", rung=rung), 3700.0)
    assert len(alerting.tick(3705.0)) == 2


@pytest.mark.parametrize(
    ("changed", "now", "rings"),
    [
        ({}, 104.9, False),
        ({}, 105.0, True),
        ({"severity": Severity.LOW}, 200.0, False),
        ({"severity": Severity.MEDIUM}, 200.0, False),
        ({"severity": Severity.CRITICAL}, 100.0, True),
        ({"stage": "worker"}, 100.0, True),
        ({"revision": 1, "told_severity": Severity.HIGH}, 200.0, False),
        ({"revision": 1, "told_severity": Severity.MEDIUM}, 200.0, True),
        ({"revision": 1, "ended_s": 150.0}, 150.0, True),
        ({"revision": 2, "ended_s": 150.0, "told_ended": True}, 150.0, False),
        ({"ended_s": 150.0}, 150.0, False),
    ],
)
def test_only_some_severities_notify_at_night(
    changed: dict[str, Any], now: float, *, rings: bool
) -> None:
    alert = replace(new_alert(BEGAN, 100.0), **changed)

    assert RingRules(RULES, lambda _: True).rings(alert, now, among=[alert]) is rings


ANY_RUNG = st.sampled_from(["cartesia", "elevenlabs", ""])
FACTS = st.one_of(
    st.builds(
        replace,
        st.just(BEGAN),
        rung=ANY_RUNG,
        kind=st.sampled_from(["auth", "timeout"]),
        severity=st.sampled_from(Severity),
    ),
    st.builds(
        replace, st.just(grew(Severity.HIGH)), rung=ANY_RUNG, severity=st.sampled_from(Severity)
    ),
    st.builds(replace, st.just(ENDED), rung=ANY_RUNG),
    st.builds(replace, st.just(LASTED), rung=ANY_RUNG),
)
STEPS = st.lists(st.tuples(FACTS, st.floats(min_value=0, max_value=2000)), max_size=40)


def told_of(steps: Sequence[tuple[AlertEvent, float]], rules: AlertRules) -> list[TellAlert]:
    alerting, now, told = Alerting(rules), 0.0, []
    for fact, wait_s in steps:
        now += wait_s
        told += [*alerting.handle(fact, now), *alerting.tick(now)]
        places = [(e.stage, e.rung) for e in alerting.alerts.values() if e.ended_s is None]
        assert len(places) == len(set(places))
    return told


@given(STEPS)
def test_no_message_reports_a_glitch_or_repeats_another(
    steps: list[tuple[AlertEvent, float]],
) -> None:
    shown: dict[str, Alert] = {}
    for item in told_of(steps, RULES):
        alert, before = item.alert, shown.get(item.alert.key)
        assert alert.severity is not Severity.LOW or before
        assert alert.revision == (before.revision if before else 0) + 1
        assert before or (item.loud and alert.ended_s is None)
        if before and item.loud:
            ended = (alert.ended_s is None) is not (before.ended_s is None)
            assert ended or WEIGHT[alert.severity] > WEIGHT[before.severity]
        shown[alert.key] = alert


@given(STEPS)
def test_no_hour_has_more_notifications_than_the_limit(
    steps: list[tuple[AlertEvent, float]],
) -> None:
    told = told_of(steps, replace(RULES, per_hour=3))
    rang = [
        item.alert.told_at_s
        for item in told
        if item.loud and item.alert.ended_s is None
        if item.alert.severity is not Severity.CRITICAL
    ]
    assert all(sum(1 for at in rang if begin - 3600.0 < at <= begin) <= 3 for begin in rang)


def test_a_lack_of_reports_ends_no_incident_while_reports_are_unread() -> None:
    alerting = Alerting(replace(RULES, escalate_s=1e9), complete=False)
    alerting.handle(BEGAN, 100.0)
    alerting.tick(105.0)

    assert alerting.tick(100.0 + RULES.silent_s) == ()
    assert only(alerting).ended_s is None


KNOWN = "OpenAI refuses our request; it says: the tool book: 400 no such option"


@pytest.mark.parametrize(
    ("kind", "reason", "kept"),
    [
        (UNKNOWN, "OpenAI does not work", KNOWN),
        ("bad_request", "OpenAI refuses our request", KNOWN),
        ("bad_request", "OpenAI refuses our request; it says: 400", KNOWN),
        ("auth", "OpenAI rejects OPENAI_API_KEY (401)", "OpenAI rejects OPENAI_API_KEY (401)"),
    ],
)
def test_a_report_that_knows_less_never_replaces_one_that_knows_more(
    kind: str, reason: str, kept: str
) -> None:
    alerting = Alerting(AlertRules())
    known = IncidentBegan(
        stage="llm", rung="openai", kind="bad_request", severity=Severity.HIGH, reason=KNOWN
    )
    alerting.handle(known, 0.0, by="worker 1")

    alerting.handle(replace(known, kind=kind, reason=reason), 1.0, by="worker 2")

    assert only(alerting).reason == kept


def test_a_replacement_that_fails_as_well_is_no_longer_named() -> None:
    alerting = Alerting(AlertRules())
    then = "backup is used instead; openai is tested until it works again"
    first = IncidentBegan(
        stage="llm", rung="openai", kind="auth", severity=Severity.HIGH, then=then
    )
    alerting.handle(first, 0.0)

    alerting.handle(replace(first, rung="backup", then="callers hear a goodbye"), 1.0)

    told = {alert.rung: alert.then for alert in alerting.alerts.values()}
    assert told == {
        "openai": "openai is tested until it works again",
        "backup": "callers hear a goodbye",
    }


RUNGS = ("openai", "openai-b")
LADDERS = {"stt": ("deepgram",), "llm": RUNGS, "tts": ("cartesia", "elevenlabs")}


def moved(name: str, after: State) -> BreakerMoved:
    return BreakerMoved(
        stage="llm",
        provider=name,
        before="",
        after=after,
        cause="",
        after_s=0.0,
        severity=Severity.MEDIUM,
    )


def followed(name: str, after: State) -> RungFollowed:
    return RungFollowed(stage="llm", provider=name, suspect=False, breaker=after)


def told_of_outage(
    down: Sequence[str], *, apart_s: float, later_s: float, is_hurt: bool
) -> list[TellAlert]:
    """Return the messages about rungs that fall `apart_s` apart, and recover together.

    A second process follows each change `later_s` later.
    """
    alerting = Alerting(RULES)
    workers = {"a": Incidents(LADDERS), "b": Incidents(LADDERS)}
    happened = [
        (at + between_s * place + wait, worker, make(name, after))
        for at, after, between_s in ((100.0, State.OPEN, apart_s), (400.0, State.CLOSED, 2.0))
        for place, name in enumerate(down)
        for worker, make, wait in (("a", moved, 0.0), ("b", followed, later_s))
    ]
    told: list[TellAlert] = []

    moments = [*range(100, 180), *range(180, 400, 10), *range(400, 440), *range(440, 1300, 20)]
    for second, following in pairwise(moments):
        for at, worker, event in sorted(happened, key=lambda item: item[0]):
            if second <= at < following:
                for fact in workers[worker].handle(event, at):
                    told += alerting.handle(fact, at, by=worker)
        begin_s = 100 + round(apart_s * (len(down) - 1))  # since then, no caller is served
        hurt = [float(at) for at in range(begin_s, min(second, 400)) if at > second - HURT_S]
        if is_hurt and len(down) > 1:
            told += count_callers(alerting, Census(hurt_s=hurt, calls=len(hurt)), second + 0.9)
        told += alerting.tick(second + 0.9)
        for stage, name in [(fact.stage, fact.rung) for fact in alerting.alerts.values()]:
            if second < 400:
                told += alerting.handle(IncidentLasted(stage=stage, rung=name), second + 0.9)
    return told


FALLS = [(RUNGS[:1], 0.0), (RUNGS[1:], 0.0)] + [
    (down, apart_s) for down in (RUNGS, RUNGS[::-1]) for apart_s in (0.0, 6.0, 20.0, 50.0)
]


@pytest.mark.parametrize(("down", "apart_s"), FALLS)
@pytest.mark.parametrize(("later_s", "is_hurt"), [(0.0, False), (3.0, True), (20.0, True)])
def test_one_outage_is_two_messages_whatever_falls_first_and_whoever_follows(
    down: Sequence[str], apart_s: float, later_s: float, *, is_hurt: bool
) -> None:
    told = told_of_outage(down, apart_s=apart_s, later_s=later_s, is_hurt=is_hurt)

    loud = [item.alert for item in told if item.loud]
    assert [alert.ended_s is not None for alert in loud] == [False, True]
    assert len({item.alert.key for item in told}) == 1
    assert loud[-1].rung == ("".join(down) if len(down) == 1 else "")
    if len(down) > 1:
        critical = [item for item in told if item.alert.severity is Severity.CRITICAL]
        assert critical[0].alert.told_at_s < 105.0 + apart_s
        assert critical[0].loud or critical[0].continues


def test_a_stage_that_falls_long_after_its_rung_rings_and_the_rung_ends_silently() -> None:
    told = told_of_outage(RUNGS, apart_s=200.0, later_s=0.5, is_hurt=True)

    loud = [(item.alert.rung, item.alert.ended_s is not None) for item in told if item.loud]
    assert loud == [("openai", False), ("", False), ("", True)]
    assert any(item.alert.ended_s is not None for item in told if item.alert.rung == "openai")


def test_a_rung_that_stays_down_after_its_stage_is_told_then() -> None:
    alerting = Alerting(RULES)
    alerting.handle(BEGAN, 100.0)
    (down,) = alerting.handle(stage_down("tts"), 101.0)
    while_down = alerting.tick(300.0)
    (over,) = alerting.handle(replace(ENDED, rung="", kind="no_usable_rung"), 300.0)
    (told,) = alerting.tick(306.0)

    assert while_down == ()
    assert [item.alert.rung for item in (down, over, told)] == ["", "", "cartesia"]


def test_a_down_stage_hides_no_other_stage_and_no_other_system() -> None:
    alerting = Alerting(RULES)
    alerting.handle(stage_down("llm"), 100.0)
    alerting.handle(BEGAN, 100.0)
    alerting.handle(replace(BEGAN, stage="worker", rung="w1", kind="lost"), 100.0)

    told = alerting.tick(106.0)

    assert {alert.stage for alert in alerting.alerts.values() if alert.revision} >= {
        "llm",
        "tts",
        "worker",
    }
    assert [item.alert.stage for item in told] == ["tts"]
