"""Availability of a rung over all calls."""

import math
from dataclasses import replace

import pytest

from fallbacks.availability import Reason, RungAvailability, RungLatency, RungState
from fallbacks.breaker import BreakerSettings, Permit, State
from fallbacks.classification import classify_http
from fallbacks.events import BreakerMoved, RungRested, Suspected, SuspicionCleared
from fallbacks.failure import ONE_CALL, Failure, Finding, Kind, Scope, Severity, failed, finding
from fallbacks.probing import STEPS_S


def rung(*, probing: bool = True) -> RungAvailability:
    return RungAvailability("llm", "openai", now=0.0, settings=BreakerSettings(probing=probing))


def leave(asked: RungAvailability, now: float = 0.0, *, probe: bool = False) -> Permit:
    given = asked.permit(now, probe=probe)
    assert given is not None
    return given


def failure(found: Finding | Kind, *, retry_after_s: float | None = None) -> Failure:
    return failed(found, "llm", provider="openai", retry_after_s=retry_after_s)


def test_the_first_failure_makes_a_rung_suspect_at_once_and_leaves_it_usable() -> None:
    asked = rung()

    facts = asked.failed(leave(asked), failure(Kind.OVERLOADED), now=1.0)

    assert facts == (Suspected(stage="llm", provider="openai", kind=Kind.OVERLOADED),)
    assert asked.at(1.0).state is RungState.SUSPECT
    assert asked.failed(leave(asked), failure(Kind.OVERLOADED), now=2.0) == ()  # it already is


def test_a_success_clears_the_suspicion() -> None:
    asked = rung()
    asked.failed(leave(asked), failure(Kind.CUT), now=1.0)

    facts = asked.succeeded(leave(asked, 3.0, probe=True), 3.5)

    assert facts == (SuspicionCleared(stage="llm", provider="openai", after_s=2.5),)


def test_a_connect_only_probe_clears_nothing() -> None:
    asked = rung()
    asked.failed(leave(asked), failure(Kind.SILENT), now=1.0)

    asked.breaker.take_back(leave(asked, 2.0, probe=True))

    assert asked.at(2.0).state is RungState.SUSPECT
    assert asked.breaker.failures == 1


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA, Kind.NOT_FOUND])
def test_a_failure_that_needs_a_person_opens_the_breaker_for_longer_than_the_probe_interval(
    kind: Kind,
) -> None:
    asked = rung()

    facts = asked.failed(leave(asked), failure(kind), now=1.0)

    assert asked.retired
    assert asked.breaker.wake_at == 91.0 > 1.0 + max(STEPS_S)
    assert [fact.severity for fact in facts if isinstance(fact, BreakerMoved)] == [Severity.HIGH]
    assert not asked.at(1.0).usable


REFUSALS = (
    pytest.param(finding(Kind.BAD_REQUEST), id="400"),
    pytest.param(classify_http("openai", 422, {"error": {"code": "tool_use_failed"}}), id="422"),
    pytest.param(classify_http("openai", 403, "blocked by a rule of yours"), id="403"),
    pytest.param(classify_http("openai", 403, {"message": "prompt was flagged"}), id="flagged"),
)


EVERY_SHAPE = (
    *(pytest.param(finding(kind), id=kind) for kind in Kind if kind is not Kind.BAD_REQUEST),
    pytest.param(
        finding(Kind.PROTOCOL, Scope.CONFIGURATION, permanent=True), id="deepgram's DATA-0000"
    ),
)


@pytest.mark.parametrize("found", EVERY_SHAPE)
@pytest.mark.parametrize(
    ("others", "opens"),
    [([], False), (["two"], True), (["probe"], True), (["success", "two"], False)],
)
def test_failures_of_any_kind_open_a_breaker_only_from_two_calls_or_with_a_probe(
    found: Finding, others: list[str], *, opens: bool
) -> None:
    asked, now = rung(), 0.0
    for call in ["one"] * 20 + others:
        now += 200.0  # longer than any pause, and than a served caller outweighs a probe
        gone = failure(found, retry_after_s=3600.0 if found.scope is Scope.CAPACITY else None)
        if call == "success":
            asked.succeeded(leave(asked, now), now)
        else:
            probe = call == "probe"
            permit = leave(asked, now, probe=probe)
            asked.failed(permit, gone, now=now, call=None if probe else call)

    assert (asked.breaker.state is State.OPEN) is opens
    assert asked.retired is (opens and found.permanent)


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA, Kind.NOT_FOUND])
@pytest.mark.parametrize(
    ("callers", "known"),
    [
        (["one"], f"{ONE_CALL}: 401"),
        (["one", "one"], f"{ONE_CALL}: 401"),
        (["one", "two"], "401"),
        (["probe"], "401"),
        (["retired"], "401"),
    ],
    ids=["one call", "one call twice", "two calls", "a probe", "a rung of the same key"],
)
def test_a_refusal_is_that_of_one_call_until_it_is_proved(
    kind: Kind, callers: list[str], known: str
) -> None:
    asked, gone = rung(), replace(failure(kind), reason="401")
    for call in callers:
        if call == "retired":
            asked.retire(kind, 0.0)
            continue
        permit = leave(asked, probe=call == "probe")
        asked.failed(permit, gone, now=0.0, call=None if call == "probe" else call)

    assert asked.as_known(gone).reason == known


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.BAD_REQUEST, Kind.RATE_LIMITED])
def test_a_failure_that_blames_no_key_is_reported_as_it_is(kind: Kind) -> None:
    asked, gone = rung(), failure(kind)
    asked.failed(leave(asked), gone, now=0.0, call="one")

    assert asked.as_known(gone) == gone


def test_a_call_that_fails_alone_does_not_open_a_half_open_breaker_again() -> None:
    asked = rung()
    asked.breaker.trip(0.0)
    asked.succeeded(leave(asked, 1.0, probe=True), 1.0)
    trial = asked.permit(2.0, last_resort=True)
    assert trial is not None

    asked.failed(trial, failure(Kind.NETWORK), now=2.1, call="one")

    assert asked.breaker.state is State.HALF_OPEN
    assert asked.at(2.2).state is RungState.OPEN  # after the rungs whose probes succeed


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_calls_content_never_opens_a_breaker(refusal: Finding) -> None:
    asked = rung()
    for now in range(1, 20):
        asked.failed(leave(asked), failure(refusal), now=now, call="one")

    assert asked.breaker.state is State.CLOSED
    assert asked.at(20.0).usable


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize(
    ("met", "opens"),
    [
        (["one", "two"], False),  # perhaps all callers say the same: no probe was refused
        (["one", "two", "probe"], True),
        (["probe", "one", "two"], True),
        (["one", "probe", "two"], True),
        (["one", "one", "probe"], False),
        (["one", "two", "success", "probe"], False),
        (["one", "probe", "success", "two"], False),
        (["one", "two", "good probe", "probe"], False),
        (["one", "two", "reset", "probe"], False),
        ([None, None, "probe"], False),  # none of a call
    ],
)
def test_a_refused_request_of_two_calls_and_a_probe_opens_a_breaker(
    refusal: Finding, met: list[str | None], *, opens: bool
) -> None:
    asked, now = rung(), 0.0
    for result in met:
        now += 40.0  # longer than a served caller outweighs a probe
        match result:
            case "success":
                asked.succeeded(leave(asked, now), now)
            case "good probe":
                asked.succeeded(leave(asked, now, probe=True), now)
            case "reset":
                asked.reset(now)
            case "probe":
                content = finding(Kind.BAD_REQUEST)
                asked.failed(leave(asked, now, probe=True), failure(content), now=now)
            case _:
                asked.failed(leave(asked, now), failure(refusal), now=now, call=result)

    assert (asked.breaker.state is State.OPEN) is opens
    assert (
        asked.at(now).state is RungState.OPEN
    ) is opens  # a caller without another rung still asks it


def test_a_forbidden_probe_shows_that_the_key_is_refused() -> None:
    asked = rung()

    forbidden = failure(classify_http("openai", 403, "no"))
    asked.failed(leave(asked, probe=True), forbidden, now=1.0)

    assert asked.retired


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.NETWORK])
@pytest.mark.parametrize(("age_s", "counts"), [(0.6, False), (29.9, False), (30.1, True)])
def test_a_recently_served_caller_outweighs_a_failed_probe(
    kind: Kind, age_s: float, *, counts: bool
) -> None:
    asked = rung()
    asked.succeeded(leave(asked), 1.0)

    facts = [
        asked.failed(leave(asked, probe=True), failure(kind), now=1.0 + age_s) for _ in range(3)
    ]

    assert any(facts) is counts
    assert (asked.suspect_since is not None) is counts


@pytest.mark.parametrize(
    ("last_s", "probe", "opens"), [(39.0, True, True), (39.0, False, True), (29.0, False, False)]
)
def test_outweighed_probes_count_if_no_caller_was_served_since(
    last_s: float, *, probe: bool, opens: bool
) -> None:
    asked = rung()
    asked.succeeded(leave(asked), 0.0)
    asked.failed(leave(asked, 1.0), failure(Kind.NETWORK), now=1.0)
    for now in (2.0, 4.0, 9.0, 19.0):
        asked.failed(leave(asked, now, probe=True), failure(Kind.NETWORK), now=now)
    outweighed = asked.breaker.state
    asked.failed(leave(asked, last_s, probe=probe), failure(Kind.NETWORK), now=last_s)

    assert outweighed is State.CLOSED
    assert (asked.breaker.state is State.OPEN) is opens


@pytest.mark.parametrize("forgives", ["a caller", "a probe", "an operator"])
def test_a_success_cancels_the_outweighed_probes(forgives: str) -> None:
    asked = rung()
    asked.succeeded(leave(asked), 0.0)
    for now in (1.0, 2.0, 3.0):
        asked.failed(leave(asked, now, probe=True), failure(Kind.NETWORK), now=now)
    if forgives == "an operator":
        asked.reset(4.0)
    else:
        asked.succeeded(leave(asked, 4.0, probe=forgives == "a probe"), 4.0)
    asked.failed(leave(asked, 40.0, probe=True), failure(Kind.NETWORK), now=40.0)

    assert asked.breaker.state is State.CLOSED


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.BAD_REQUEST])
def test_uncounted_failures_of_an_outweighed_probe_stay_uncounted(kind: Kind) -> None:
    asked = rung()
    asked.succeeded(leave(asked), 0.0)
    for now in (1.0, 2.0, 3.0):
        asked.failed(leave(asked, now, probe=True), failure(kind), now=now)
    asked.failed(leave(asked, 40.0), failure(Kind.NETWORK), now=40.0)

    assert asked.breaker.state is State.CLOSED


def test_a_good_probe_is_no_served_caller() -> None:
    asked = rung()
    asked.succeeded(leave(asked, probe=True), 1.0)

    assert asked.failed(leave(asked, probe=True), failure(Kind.SILENT), now=2.0)


def test_a_payloads_own_fault_does_not_count_against_the_rung() -> None:
    asked = rung()

    facts = asked.failed(
        leave(asked), failure(finding(Kind.BAD_REQUEST, Scope.PAYLOAD)), now=1.0, call="a"
    )

    assert facts == ()
    assert asked.at(1.0).state is RungState.READY


def test_a_rate_limited_rung_rests_as_long_as_requested_and_is_not_suspect() -> None:
    asked = rung()

    facts = asked.failed(leave(asked), failure(Kind.RATE_LIMITED, retry_after_s=7.0), now=1.0)

    assert facts == (RungRested(stage="llm", provider="openai", rest_s=7.0),)
    resting = asked.at(7.9)
    assert (resting.state, resting.reason) == (RungState.RESTING, Reason.RATE_LIMIT)
    assert resting.until == 8.0
    assert asked.permit(7.9) is None
    assert asked.at(8.0).state is RungState.READY


def test_rests_without_a_named_time_grow_until_a_success() -> None:
    asked = rung()
    rests = [
        asked.failed(leave(asked, 100.0 * n), failure(Kind.RATE_LIMITED), now=100.0 * n)
        for n in range(1, 4)
    ]
    asked.succeeded(leave(asked, 500.0), 500.0)
    rests.append(asked.failed(leave(asked, 501.0), failure(Kind.RATE_LIMITED), now=501.0))

    told = [fact.rest_s for facts in rests for fact in facts if isinstance(fact, RungRested)]
    assert told == [2.0, 4.0, 8.0, 2.0]


@pytest.mark.parametrize(
    ("pause_s", "rest_s"), [(None, 2.0), (0.4, 0.4), (7.0, 7.0), (300.0, 120.0)]
)
def test_a_limit_that_only_one_call_has_met_leaves_the_rung_to_callers_without_another(
    pause_s: float | None, rest_s: float
) -> None:
    asked, limited = rung(), failure(Kind.RATE_LIMITED, retry_after_s=pause_s)
    asked.failed(leave(asked), limited, now=1.0, call="a")
    doubted = asked.at(1.1)
    last_resort = asked.permit(1.1, last_resort=True)

    assert (doubted.state, doubted.reason, doubted.until) == (
        RungState.OPEN,
        Reason.RATE_LIMIT,
        1.0 + rest_s,
    )
    assert asked.permit(1.1) is None
    assert last_resort
    asked.failed(last_resort, limited, now=1.2, call="b")  # it is no fault of a call's request
    assert not asked.at(1.3).usable
    assert (asked.permit(1.3, last_resort=True) is None) is (asked.breaker.state is State.CLOSED)


@pytest.mark.parametrize(
    ("pause_s", "state", "next_state"),
    [(7.0, RungState.OPEN, RungState.RESTING), (None, RungState.READY, RungState.OPEN)],
)
def test_an_answer_asked_for_before_a_limit_does_not_end_the_pause_that_it_named(
    pause_s: float | None, state: RungState, next_state: RungState
) -> None:
    asked, limited = rung(), failure(Kind.RATE_LIMITED, retry_after_s=pause_s)
    early = leave(asked)
    asked.failed(leave(asked), limited, now=1.0, call="a")
    asked.succeeded(early, 1.5, call="c")
    before = asked.at(1.6).state
    last_resort = asked.permit(1.7, last_resort=True)
    assert last_resort
    asked.failed(last_resort, limited, now=1.8, call="b")

    assert (before, asked.at(1.9).state) == (state, next_state)


def test_a_success_ends_a_limit_that_only_one_call_has_met() -> None:
    asked = rung()
    asked.failed(leave(asked), failure(Kind.RATE_LIMITED), now=1.0, call="a")
    last_resort = asked.permit(1.1, last_resort=True)
    assert last_resort

    asked.succeeded(last_resort, 1.2, call="b")

    assert asked.at(1.2).state is RungState.READY


def test_a_rest_of_more_than_two_minutes_is_an_outage() -> None:
    asked = rung()

    (fact,) = asked.failed(leave(asked), failure(Kind.RATE_LIMITED, retry_after_s=300.0), now=1.0)

    assert isinstance(fact, BreakerMoved)
    assert asked.breaker.wake_at == 301.0


def test_an_overloaded_rung_that_names_a_wait_is_avoided_that_long_and_has_failed() -> None:
    asked = rung()

    facts = asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=7.0), now=1.0)

    assert facts == (Suspected(stage="llm", provider="openai", kind=Kind.OVERLOADED),)
    assert asked.breaker.failures == 1
    reasons = [asked.at(now).reason for now in (1.0, 7.9, 8.0)]
    assert reasons == [Reason.PAUSE, Reason.PAUSE, Reason.FAILED]
    assert asked.at(1.0).until == 8.0
    assert asked.at(1.0).usable  # a caller without another rung asks it


def test_an_overloaded_rung_with_a_good_probe_is_no_longer_avoided() -> None:
    asked = rung()
    asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=60.0), now=1.0)

    asked.succeeded(leave(asked, probe=True), now=2.0)

    assert (asked.at(2.0).state, asked.at(2.0).reason) == (RungState.READY, None)


def test_an_operators_reset_ends_the_wait_of_an_overloaded_rung() -> None:
    asked = rung()
    asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=60.0), now=1.0)

    asked.reset(2.0)

    assert asked.at(2.0).reason is Reason.FAILED


def test_an_overloaded_rung_that_names_hours_is_an_outage() -> None:
    asked = rung()

    _, moved = asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=7200.0), now=1.0)

    assert isinstance(moved, BreakerMoved)
    assert asked.breaker.wake_at == 7201.0
    assert asked.rests_until == 0.0


def test_a_named_wait_with_a_permanent_failure_is_no_rest() -> None:
    asked = rung()

    asked.failed(leave(asked), failure(Kind.AUTH, retry_after_s=1.0), now=1.0)

    assert asked.breaker.wake_at == 91.0 > 1.0 + max(STEPS_S)
    assert asked.rests_until == 0.0


def test_a_thousand_rate_limits_do_not_open_the_breaker() -> None:
    asked = rung()
    for now in range(0, 100_000, 100):
        asked.failed(leave(asked, now), failure(Kind.RATE_LIMITED), now=now)

    assert asked.breaker.state is State.CLOSED


def test_garbage_three_times_in_a_row_opens_the_breaker_whatever_its_threshold() -> None:
    asked = RungAvailability("llm", "openai", now=0.0, settings=BreakerSettings(failures=10))
    for now in (1.0, 2.0, 3.0):
        asked.failed(leave(asked), failure(Kind.PROTOCOL), now=now)

    assert asked.breaker.state is State.OPEN


def test_without_probes_one_caller_tries_a_rested_rung_in_its_own_place() -> None:
    asked = rung(probing=False)
    asked.failed(leave(asked), failure(Kind.AUTH), now=0.0)
    asked.breaker.tick(90.0)
    first = asked.at(90.0)
    asked.permit(90.0)
    second = asked.at(90.1)

    assert first.state is RungState.READY
    assert (second.state, second.reason) == (RungState.OUT, Reason.TRIAL)


def test_a_good_probe_marks_an_open_rung_until_it_is_tried() -> None:
    asked = rung()
    asked.failed(leave(asked), failure(Kind.PROTOCOL), now=0.0)
    while asked.breaker.state is State.CLOSED:
        asked.failed(leave(asked), failure(Kind.OVERLOADED), now=0.0)
    down = asked.at(0.5)
    asked.succeeded(leave(asked, 1.0, probe=True), 1.4)
    well = asked.at(1.5)
    asked.permit(1.6, last_resort=True)
    tried = asked.at(1.7)
    asked.set_out(20.0, out=True)
    out = asked.at(20.0)

    assert [(item.state, item.reason) for item in (down, well, tried, out)] == [
        (RungState.OPEN, Reason.BREAKER),
        (RungState.PROBED, Reason.BREAKER),
        (RungState.OUT, Reason.TRIAL),
        (RungState.OUT, Reason.ROTATION),
    ]


@pytest.mark.parametrize(("probing", "suspect"), [(True, True), (False, False)])
def test_without_probes_a_suspicion_fades(*, probing: bool, suspect: bool) -> None:
    asked = rung(probing=probing)
    asked.failed(leave(asked), failure(Kind.TIMEOUT), now=1.0)

    assert asked.at(30.9).state is RungState.SUSPECT
    assert (asked.at(31.1).state is RungState.SUSPECT) is suspect


def test_speed_is_doubted_until_it_has_been_measured() -> None:
    speed = RungLatency(prior_s=0.6)
    assert speed.quantile(0.95) == 0.6

    for _ in range(4):
        speed.add(0.1)
    assert (speed.quantile(0.5), speed.quantile(0.95)) == (0.1, 0.6)

    speed.add(0.1)
    assert speed.quantile(0.95) == 0.1


def test_speed_is_that_of_recent_answers_and_one_value_in_twenty_is_above_the_95th() -> None:
    speed = RungLatency(window=100)
    for n in [*[500] * 100, *range(1, 101)]:
        speed.add(n / 100)

    assert (speed.quantile(0.5), speed.quantile(0.95)) == (0.5, 0.95)


@pytest.mark.parametrize(
    ("state", "proven_at"),
    [(State.OPEN, 3.0), (State.HALF_OPEN, -math.inf), (State.CLOSED, -math.inf)],
)
def test_of_what_another_process_reports_only_an_outage_proves_a_failure(
    state: State, proven_at: float
) -> None:
    asked = rung()
    if state is not State.OPEN:
        asked.breaker.trip(1.0)

    moved = asked.follow_breaker(state, since=2.0, now=3.0, rest_s=30.0, retired=False)

    assert moved
    assert asked.proven_at == proven_at
