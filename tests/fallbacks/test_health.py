"""Health of a rung over all calls, and of rungs that share its key."""

import pytest

from fallbacks.breaker import BreakerSettings, Permit, State
from fallbacks.classification import classify_http
from fallbacks.facts import BreakerMoved, RungRested, Suspected, SuspicionCleared
from fallbacks.failure import Failure, Finding, Kind, Scope, Severity, failed, finding
from fallbacks.health import Health, Rotation
from fallbacks.latency import RungLatency
from fallbacks.probing import STEPS_S
from fallbacks.roster import HealthTable, Place


def health(*, probing: bool = True) -> Health:
    return Health("llm", "openai", now=0.0, settings=BreakerSettings(probing=probing))


def leave(asked: Health, now: float = 0.0, *, probe: bool = False) -> Permit:
    given = asked.permit(now, probe=probe)
    assert given is not None
    return given


def failure(found: Finding | Kind, *, retry_after_s: float | None = None) -> Failure:
    return failed(found, "llm", provider="openai", retry_after_s=retry_after_s)


def test_the_first_failure_makes_a_rung_suspect_at_once_and_leaves_it_usable() -> None:
    asked = health()

    facts = asked.failed(leave(asked), failure(Kind.OVERLOADED), now=1.0)

    assert facts == (Suspected(stage="llm", provider="openai", kind=Kind.OVERLOADED),)
    assert asked.standing(1.0).suspect
    assert asked.standing(1.0).usable


def test_a_second_failure_is_no_second_suspicion() -> None:
    asked = health()
    asked.failed(leave(asked), failure(Kind.OVERLOADED), now=1.0)

    assert asked.failed(leave(asked), failure(Kind.OVERLOADED), now=2.0) == ()


def test_a_late_rung_is_suspect_before_it_has_failed() -> None:
    asked = health()

    (fact,) = asked.suspicion.begin(Kind.TIMEOUT, 1.0)

    assert isinstance(fact, Suspected)


def test_a_success_clears_the_suspicion() -> None:
    asked = health()
    asked.failed(leave(asked), failure(Kind.CUT), now=1.0)

    facts = asked.succeeded(leave(asked, 3.0, probe=True), 3.5)

    assert facts == (SuspicionCleared(stage="llm", provider="openai", after_s=2.5),)


def test_a_connect_only_probe_clears_nothing() -> None:
    asked = health()
    asked.failed(leave(asked), failure(Kind.SILENT), now=1.0)

    asked.breaker.take_back(leave(asked, 2.0, probe=True))

    assert asked.standing(2.0).suspect
    assert asked.breaker.failures == 1


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA, Kind.NOT_FOUND])
def test_a_failure_that_needs_a_person_opens_the_breaker_for_longer_than_the_probe_interval(
    kind: Kind,
) -> None:
    asked = health()

    facts = asked.failed(leave(asked), failure(kind), now=1.0)

    assert asked.retired
    assert asked.breaker.wake_at == 91.0 > 1.0 + max(STEPS_S)
    assert [fact.severity for fact in facts if isinstance(fact, BreakerMoved)] == [Severity.HIGH]
    assert not asked.standing(1.0).usable


REFUSALS = (
    pytest.param(finding(Kind.BAD_REQUEST), id="400"),
    pytest.param(classify_http("openai", 422, {"error": {"code": "tool_use_failed"}}), id="422"),
    pytest.param(classify_http("openai", 403, "blocked by a rule of yours"), id="403"),
    pytest.param(classify_http("openai", 403, {"message": "prompt was flagged"}), id="flagged"),
)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_calls_content_never_opens_a_breaker(refusal: Finding) -> None:
    asked = health()
    for now in range(1, 20):
        asked.failed(leave(asked), failure(refusal), now=now, call="one")

    assert asked.breaker.state is State.CLOSED
    assert asked.standing(20.0).usable


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize(
    ("met", "opens"),
    [
        (["one", "two"], False),  # callers may say the same: no probe has met it
        (["one", "two", "probe"], True),
        (["probe", "one", "two"], True),
        (["one", "probe", "two"], True),
        (["one", "one", "probe"], False),
        (["one", "two", "success", "probe"], False),
        (["one", "probe", "success", "two"], False),
        (["one", "two", "good probe", "probe"], False),
        (["one", "two", "reset", "probe"], False),
        ([None, None, "probe"], False),  # of no call
    ],
)
def test_a_refused_request_of_two_calls_and_a_probe_opens_a_breaker(
    refusal: Finding, met: list[str | None], *, opens: bool
) -> None:
    asked, now = health(), 0.0
    for result in met:
        now += 40.0  # a served caller outweighs a probe for less time
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
    assert asked.standing(now).last_resort is opens  # a caller without another rung still asks it


def test_a_forbidden_probe_shows_that_the_key_is_refused() -> None:
    asked = health()

    forbidden = failure(classify_http("openai", 403, "no"))
    asked.failed(leave(asked, probe=True), forbidden, now=1.0)

    assert asked.retired


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.RATE_LIMITED])
@pytest.mark.parametrize(("age_s", "counts"), [(0.6, False), (29.9, False), (30.1, True)])
def test_a_recently_served_caller_outweighs_a_failed_probe(
    kind: Kind, age_s: float, *, counts: bool
) -> None:
    asked = health()
    asked.succeeded(leave(asked), 1.0)

    facts = [
        asked.failed(leave(asked, probe=True), failure(kind), now=1.0 + age_s) for _ in range(3)
    ]

    assert any(facts) is counts
    assert asked.standing(1.0 + age_s).suspect is counts


@pytest.mark.parametrize(
    ("last_s", "probe", "opens"), [(39.0, True, True), (39.0, False, True), (29.0, False, False)]
)
def test_outweighed_probes_count_if_no_caller_was_served_since(
    last_s: float, *, probe: bool, opens: bool
) -> None:
    asked = health()
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
    asked = health()
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
    asked = health()
    asked.succeeded(leave(asked), 0.0)
    for now in (1.0, 2.0, 3.0):
        asked.failed(leave(asked, now, probe=True), failure(kind), now=now)
    asked.failed(leave(asked, 40.0), failure(Kind.NETWORK), now=40.0)

    assert asked.breaker.state is State.CLOSED


def test_a_good_probe_is_no_served_caller() -> None:
    asked = health()
    asked.succeeded(leave(asked, probe=True), 1.0)

    assert asked.failed(leave(asked, probe=True), failure(Kind.SILENT), now=2.0)


def test_a_payloads_own_fault_does_not_count_against_the_rung() -> None:
    asked = health()

    facts = asked.failed(
        leave(asked), failure(finding(Kind.BAD_REQUEST, Scope.PAYLOAD)), now=1.0, call="a"
    )

    assert facts == ()
    assert not asked.standing(1.0).suspect


def test_a_rate_limited_rung_rests_as_told_and_is_not_suspect() -> None:
    asked = health()

    facts = asked.failed(leave(asked), failure(Kind.RATE_LIMITED, retry_after_s=7.0), now=1.0)

    assert facts == (RungRested(stage="llm", provider="openai", rest_s=7.0),)
    assert not asked.standing(7.9).usable
    assert asked.permit(7.9) is None
    assert asked.standing(8.0).usable
    assert not asked.standing(8.0).suspect


def test_rests_without_a_named_time_grow_until_a_success() -> None:
    asked = health()
    rests = [
        asked.failed(leave(asked, 100.0 * n), failure(Kind.RATE_LIMITED), now=100.0 * n)
        for n in range(1, 4)
    ]
    asked.succeeded(leave(asked, 500.0), 500.0)
    rests.append(asked.failed(leave(asked, 501.0), failure(Kind.RATE_LIMITED), now=501.0))

    told = [fact.rest_s for facts in rests for fact in facts if isinstance(fact, RungRested)]
    assert told == [2.0, 4.0, 8.0, 2.0]


def test_a_rest_of_more_than_two_minutes_is_an_outage() -> None:
    asked = health()

    (fact,) = asked.failed(leave(asked), failure(Kind.RATE_LIMITED, retry_after_s=300.0), now=1.0)

    assert isinstance(fact, BreakerMoved)
    assert asked.breaker.wake_at == 301.0


def test_an_overloaded_rung_that_names_a_wait_is_avoided_that_long_and_has_failed() -> None:
    asked = health()

    facts = asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=7.0), now=1.0)

    assert facts == (Suspected(stage="llm", provider="openai", kind=Kind.OVERLOADED),)
    assert asked.breaker.failures == 1
    assert [asked.standing(now).spared for now in (1.0, 7.9, 8.0)] == [True, True, False]
    assert asked.standing(1.0).usable  # a caller without another rung asks it


def test_an_overloaded_rung_with_a_good_probe_is_no_longer_avoided() -> None:
    asked = health()
    asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=60.0), now=1.0)

    asked.succeeded(leave(asked, probe=True), now=2.0)

    standing = asked.standing(2.0)
    assert (standing.spared, standing.suspect, standing.usable) == (False, False, True)


def test_an_operators_reset_ends_the_wait_of_an_overloaded_rung() -> None:
    asked = health()
    asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=60.0), now=1.0)

    asked.reset(2.0)

    assert not asked.standing(2.0).spared


def test_an_overloaded_rung_that_names_hours_is_an_outage() -> None:
    asked = health()

    _, moved = asked.failed(leave(asked), failure(Kind.OVERLOADED, retry_after_s=7200.0), now=1.0)

    assert isinstance(moved, BreakerMoved)
    assert asked.breaker.wake_at == 7201.0
    assert asked.rests_until == 0.0


def test_a_named_wait_with_a_permanent_failure_is_no_rest() -> None:
    asked = health()

    asked.failed(leave(asked), failure(Kind.AUTH, retry_after_s=1.0), now=1.0)

    assert asked.breaker.wake_at == 91.0 > 1.0 + max(STEPS_S)
    assert asked.rests_until == 0.0


def test_a_thousand_rate_limits_do_not_open_the_breaker() -> None:
    asked = health()
    for now in range(0, 100_000, 100):
        asked.failed(leave(asked, now), failure(Kind.RATE_LIMITED), now=now)

    assert asked.breaker.state is State.CLOSED


def test_an_exhausted_sequence_outside_a_call_opens_the_breaker_at_once() -> None:
    asked = health()

    (fact,) = asked.breaker.trip(1.0)

    assert isinstance(fact, BreakerMoved)


def test_garbage_three_times_in_a_row_opens_the_breaker_whatever_its_threshold() -> None:
    asked = Health("llm", "openai", now=0.0, settings=BreakerSettings(failures=10))
    for now in (1.0, 2.0, 3.0):
        asked.failed(leave(asked), failure(Kind.PROTOCOL), now=now)

    assert asked.breaker.state is State.OPEN


def test_without_probes_one_caller_tries_a_rested_rung_in_its_own_place() -> None:
    asked = health(probing=False)
    asked.failed(leave(asked), failure(Kind.AUTH), now=0.0)
    asked.breaker.tick(90.0)
    first = asked.standing(90.0)
    asked.permit(90.0)
    second = asked.standing(90.1)

    assert (first.usable, first.suspect) == (True, False)
    assert not second.usable


def test_a_rung_with_a_good_probe_is_promising_until_it_is_tried() -> None:
    asked = health()
    asked.failed(leave(asked), failure(Kind.PROTOCOL), now=0.0)
    while asked.breaker.state is State.CLOSED:
        asked.failed(leave(asked), failure(Kind.OVERLOADED), now=0.0)
    down = asked.standing(0.5)
    asked.succeeded(leave(asked, 1.0, probe=True), 1.4)
    well = asked.standing(1.5)
    asked.permit(1.6, last_resort=True)
    tried = asked.standing(1.7)
    asked.rotation.take_out(20.0)
    out = asked.standing(20.0)

    assert not any(item.usable for item in (down, well, tried, out))
    assert [item.promising for item in (down, well, tried, out)] == [False, True, False, False]


@pytest.mark.parametrize(("probing", "suspect"), [(True, True), (False, False)])
def test_without_probes_a_suspicion_fades(*, probing: bool, suspect: bool) -> None:
    asked = health(probing=probing)
    asked.failed(leave(asked), failure(Kind.TIMEOUT), now=1.0)

    assert asked.standing(30.9).suspect
    assert asked.standing(31.1).suspect is suspect


def test_speed_is_doubted_until_it_has_been_measured() -> None:
    speed = RungLatency(prior_s=0.6)
    assert speed.p95_s == 0.6

    for _ in range(4):
        speed.took(0.1)
    assert (speed.p50_s, speed.p95_s) == (0.1, 0.6)

    speed.took(0.1)
    assert speed.p95_s == 0.1


def test_speed_is_that_of_recent_answers() -> None:
    speed = RungLatency(window=20)
    for _ in range(20):
        speed.took(5.0)
    for _ in range(20):
        speed.took(0.2)

    assert speed.p95_s == 0.2


def test_the_nearest_rank_leaves_one_in_twenty_above() -> None:
    speed = RungLatency(window=100)
    for n in range(1, 101):
        speed.took(n / 100)

    assert (speed.p50_s, speed.p95_s) == (0.5, 0.95)


@pytest.mark.parametrize(("since", "out"), [(1.0, True), (2.0, True), (2.1, False)])
def test_of_two_operator_actions_the_newer_counts(since: float, *, out: bool) -> None:
    rotation = Rotation()
    rotation.take_out(2.0)
    rotation.follow(out=False, since=since)

    assert rotation.out is out


def roster() -> HealthTable:
    return HealthTable(
        [
            Place(stage="stt", provider="deepgram", credential="project-1"),
            Place(stage="stt", provider="deepgram-b", credential="project-1"),
            Place(stage="stt", provider="local", credential=""),
            Place(stage="tts", provider="aura", credential="project-1"),
            Place(stage="tts", provider="cartesia", credential="key-2"),
        ],
        now=0.0,
    )


def refused(everyone: HealthTable, kind: Kind) -> None:
    asked = everyone.health("stt", "deepgram")
    everyone.failed(leave(asked), failed(kind, "stt", provider="deepgram"), now=1.0)


def usable(everyone: HealthTable, now: float = 1.0) -> list[str]:
    standings = [
        standing for stage in ("stt", "tts") for standing in everyone.standings(stage, now)
    ]
    return [standing.provider for standing in standings if standing.usable]


def test_a_refused_key_takes_out_its_rungs_in_every_stage() -> None:
    everyone = roster()

    refused(everyone, Kind.AUTH)

    assert usable(everyone) == ["local", "cartesia"]


def accounts() -> HealthTable:
    return HealthTable(
        [
            Place(stage="stt", provider="deepgram", credential="key-1", account="acme"),
            Place(stage="stt", provider="deepgram-b", credential="key-2", account="acme"),
            Place(stage="stt", provider="deepgram-eu", credential="key-3"),
            Place(stage="tts", provider="aura", credential="key-4", account="acme"),
            Place(stage="tts", provider="cartesia", credential="key-5", account="other"),
        ],
        now=0.0,
    )


@pytest.mark.parametrize("kind", [Kind.QUOTA, Kind.AUTH])
def test_an_account_failure_trips_all_its_keys_at_once(kind: Kind) -> None:
    everyone = accounts()

    refused(everyone, kind)

    assert usable(everyone) == ["deepgram-eu", "cartesia"]


def test_a_key_tripped_for_its_account_rests_briefly_and_may_prove_itself() -> None:
    everyone = accounts()
    refused(everyone, Kind.AUTH)
    other = everyone.health("stt", "deepgram-b")

    assert not other.retired
    for now in (2.0, 3.0, 4.0):
        everyone.succeeded(("stt", "deepgram-b"), leave(other, now, probe=True), now=now)

    assert usable(everyone, 4.0) == ["deepgram-b", "deepgram-eu", "cartesia"]
    assert everyone.health("stt", "deepgram").retired


def test_a_key_that_is_refused_itself_is_not_tried_sooner_for_its_account() -> None:
    everyone = accounts()
    refused(everyone, Kind.AUTH)

    other = everyone.health("stt", "deepgram-b")
    everyone.failed(
        leave(other, 2.0, probe=True), failed(Kind.AUTH, "stt", provider="deepgram-b"), now=2.0
    )

    slow = (("stt", "deepgram"), ("stt", "deepgram-b"))
    assert all(everyone.health(*item).retired for item in slow)
    assert everyone.health("stt", "deepgram").breaker.wake_at == 91.0
    assert not everyone.health("tts", "aura").retired


def test_a_key_that_stays_refused_does_not_trip_its_account_repeatedly() -> None:
    everyone = accounts()
    refused(everyone, Kind.AUTH)
    other = everyone.health("stt", "deepgram-b")
    for now in (2.0, 3.0, 4.0):
        everyone.succeeded(("stt", "deepgram-b"), leave(other, now, probe=True), now=now)

    asked = everyone.health("stt", "deepgram")
    again = failed(Kind.AUTH, "stt", provider="deepgram")
    everyone.failed(leave(asked, 902.0, probe=True), again, now=902.0)

    assert other.breaker.state is State.CLOSED


def test_a_recovered_account_is_tried_everywhere_at_once() -> None:
    everyone = accounts()
    refused(everyone, Kind.QUOTA)
    for name in ("deepgram", "deepgram-b"):
        asked = everyone.health("stt", name)
        failure = failed(Kind.QUOTA, "stt", provider=name)
        everyone.failed(leave(asked, 2.0, probe=True), failure, now=2.0)
    asked.reset(3.0)

    for now in (4.0, 5.0):
        everyone.succeeded(("stt", "deepgram-b"), leave(asked, now, probe=True), now=now)

    assert everyone.health("stt", "deepgram").breaker.state is State.HALF_OPEN


def test_an_overloaded_server_takes_out_no_other() -> None:
    everyone = roster()

    refused(everyone, Kind.OVERLOADED)

    assert usable(everyone) == ["deepgram", "deepgram-b", "local", "aura", "cartesia"]
    assert [standing.suspect for standing in everyone.standings("stt", 1.0)] == [True, False, False]


def test_a_repaired_key_is_tried_everywhere_at_once() -> None:
    everyone = roster()
    refused(everyone, Kind.QUOTA)
    asked = everyone.health("stt", "deepgram")
    asked.reset(2.0)

    for now in (3.0, 4.0):
        everyone.succeeded(("stt", "deepgram"), leave(asked, now, probe=True), now=now)

    assert asked.breaker.state is State.CLOSED
    assert everyone.health("stt", "deepgram-b").breaker.state is State.HALF_OPEN
    assert everyone.health("tts", "aura").breaker.state is State.HALF_OPEN


def test_an_operator_resets_by_name() -> None:
    everyone = roster()
    refused(everyone, Kind.AUTH)

    everyone.reset("aura", 2.0)

    assert everyone.health("tts", "aura").breaker.state is State.HALF_OPEN
    assert everyone.health("stt", "deepgram-b").breaker.state is State.OPEN
    with pytest.raises(KeyError):
        everyone.reset("nobody", 2.0)


def test_a_roster_wakes_for_the_first_rung_that_has_rested() -> None:
    everyone = roster()
    everyone.health("tts", "cartesia").breaker.trip(10.0)
    everyone.health("stt", "local").breaker.trip(5.0)

    assert everyone.wake_at == 35.0
    (moved,) = everyone.tick(35.0)
    assert isinstance(moved, BreakerMoved)
    assert moved.provider == "local"
