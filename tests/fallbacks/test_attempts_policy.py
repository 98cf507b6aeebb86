"""Policies of one request, from its stage and its call."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    EmitEvent,
    Exhausted,
    Failed,
    Finished,
    Progressed,
)
from fallbacks.attempts import Attempting
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import State
from fallbacks.deadline import Deadline
from fallbacks.events import (
    AttemptStarted,
    FallbackEvent,
    RungChosen,
    RungRested,
    StageExhausted,
)
from fallbacks.failure import Kind, failed
from fallbacks.ladder import Allowance, StagePolicy
from fallbacks.limits import Gate
from fallbacks.retry_after import MIN_S

NOW = 100.0
UNTIL = Deadline(at=101.5)
SOME_GATE = cast("Gate", object())  # only its presence matters here


def stage(*names: str) -> StagePolicy:
    """Return a ladder of rungs with an assumed time of 0.6 s."""
    places = [Place(stage="llm", provider=name, credential=name) for name in names]
    return StagePolicy(stage="llm", availability=AvailabilityTable(places, now=NOW))


def work_on(
    policy: StagePolicy,
    *,
    stay_with: str | None = None,
    prompt: Callable[[float], Deadline] | None = None,
    offered: Callable[[str], bool] = lambda _: True,
    hears: Callable[[str], bool] = lambda _: False,
    queues: bool = False,
) -> Attempting:
    return Attempting(
        policy,
        numbers=itertools.count(1),
        stay_with=stay_with,
        prompt=prompt,
        offered=offered,
        hears=hears,
        queues=queues,
    )


def begun(policy: StagePolicy, **how: Any) -> Attempting:
    work = work_on(policy, **how)
    work.start(UNTIL, NOW)
    return work


def facts(steps: Sequence[AttemptAction]) -> list[FallbackEvent]:
    return [step.fact for step in steps if isinstance(step, EmitEvent)]


def asked(steps: Sequence[AttemptAction]) -> list[str]:
    return [step.provider for step in steps if isinstance(step, Ask)]


def lost(attempt: int, provider: str, kind: Kind = Kind.CUT) -> Failed:
    return Failed(attempt=attempt, failure=failed(kind, "llm", provider=provider))


@pytest.mark.parametrize(
    ("suspects", "withdrawn", "trusted"),
    [("", "", True), ("a", "", True), ("", "a", True), ("a", "b", False), ("ab", "", False)],
    ids=[
        "all are well",
        "one is suspect",
        "one is out",
        "a suspect and one that is out",
        "suspects",
    ],
)
def test_a_stage_is_available_if_an_allowed_rung_is_without_suspicion(
    suspects: str, withdrawn: str, *, trusted: bool
) -> None:
    policy = stage("a", "b")
    for name in suspects:
        policy.availability.of("llm", name).suspect(Kind.TIMEOUT, NOW)
    for name in withdrawn:
        policy.availability.set_out(name, NOW, out=True)

    assert policy.has_recovered(NOW + 0.1) is trusted
    assert not stage().has_recovered(NOW)


def half_open(policy: StagePolicy, name: str) -> None:
    """Open a rung's breaker, and let one probe succeed."""
    health = policy.availability.of("llm", name)
    health.breaker.trip(NOW)
    permit = health.permit(NOW, probe=True)
    assert permit is not None
    health.succeeded(permit, NOW)


def test_without_a_usable_rung_each_caller_tries_one_that_no_other_tries() -> None:
    policy = stage("a", "b")
    policy.availability.of("llm", "a").breaker.trip(NOW)
    half_open(policy, "b")
    trusted, works = policy.has_recovered(NOW), [work_on(policy) for _ in range(3)]

    assert trusted
    # The one with a good probe first; one trial of each at a time, over all calls.
    assert [asked(work.start(UNTIL, NOW)) for work in works] == [["b"], ["a"], []]


def test_a_callers_success_closes_the_breaker_of_an_open_rung() -> None:
    policy = stage("a")
    trip(policy, "a")
    work = work_on(policy)

    started = asked(work.start(UNTIL, NOW))
    work.handle(Progressed(attempt=1), NOW + 0.1)
    work.handle(Finished(attempt=1), NOW + 0.2)

    assert started == ["a"]
    assert policy.availability.of("llm", "a").breaker.state is State.CLOSED


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA, Kind.NOT_FOUND])
def test_a_rung_that_needs_a_person_is_tried_by_no_caller_before_a_good_probe(
    kind: Kind,
) -> None:
    policy = stage("a")
    health = policy.availability.of("llm", "a")
    health.retire(kind, NOW)
    before = asked(work_on(policy).start(UNTIL, NOW + 1.0))
    permit = health.permit(NOW + 2.0, probe=True)
    assert permit is not None
    health.succeeded(permit, NOW + 2.0)

    assert (before, asked(work_on(policy).start(UNTIL, NOW + 3.0))) == ([], ["a"])


def test_a_caller_need_not_wait_for_a_probe_in_progress() -> None:
    policy = stage("a")
    trip(policy, "a")
    health = policy.availability.of("llm", "a")
    probe = health.permit(NOW, probe=True)
    assert probe is not None

    assert asked(work_on(policy).start(UNTIL, NOW)) == ["a"]
    assert health.permit(NOW, probe=True) is None
    assert health.succeeded(probe, NOW + 0.1) == ()  # the caller's attempt counts


def test_a_rung_with_only_a_good_probe_is_not_asked_while_another_can_be() -> None:
    policy = stage("a", "b", "c")
    half_open(policy, "a")
    half_open(policy, "c")
    policy.availability.of("llm", "b").suspect(Kind.TIMEOUT, NOW)
    work = work_on(policy)
    without_b = work_on(policy, offered=lambda name: name == "c")

    assert not policy.has_recovered(NOW)
    assert asked(work.start(UNTIL, NOW)) == ["b"]
    assert asked(without_b.start(UNTIL, NOW)) == ["c"]


def trip(policy: StagePolicy, name: str) -> None:
    policy.availability.of("llm", name).breaker.trip(NOW)


def rest(policy: StagePolicy, name: str) -> None:
    health = policy.availability.of("llm", name)
    permit = health.permit(NOW)
    assert permit is not None
    health.failed(permit, failed(Kind.RATE_LIMITED, "llm", provider=name), now=NOW)


def take_out(policy: StagePolicy, name: str) -> None:
    policy.availability.set_out(name, NOW, out=True)


@pytest.mark.parametrize(
    ("leave_alone", "heard", "expected"),
    [
        (trip, "a", ["a"]),
        (rest, "a", ["a"]),
        (take_out, "a", []),  # an operator's action applies to streams, too
        (rest, "", []),
        (trip, "b", ["b"]),  # not the preferred one, which would have to be tried
    ],
    ids=["open", "resting", "taken out", "no stream stands", "the standby's stream stands"],
)
def test_without_an_allowed_rung_an_open_stream_continues(
    leave_alone: Callable[[StagePolicy, str], None], heard: str, expected: list[str]
) -> None:
    policy = stage("a", "b")
    for name in "ab":
        leave_alone(policy, name)

    assert asked(work_on(policy, hears=lambda name: name == heard).start(UNTIL, NOW)) == expected


def test_an_open_stream_comes_after_any_allowed_rung() -> None:
    policy = stage("a", "b")
    trip(policy, "a")

    assert asked(work_on(policy, hears=lambda name: name == "a").start(UNTIL, NOW)) == ["b"]


def test_a_failed_trial_is_not_repeated_for_the_same_work() -> None:
    policy = stage("a")
    half_open(policy, "a")
    work = begun(policy)

    steps = work.handle(lost(1, "a", Kind.OVERLOADED), NOW + 0.1)

    assert asked(steps) == []
    assert work.over
    assert not policy.has_recovered(NOW + 0.2)


def waits_until(work: Attempting, until: Deadline, now: float) -> Deadline:
    """Return how long the first attempt may wait for a place."""
    (ask,) = [action for action in work.start(until, now) if isinstance(action, Ask)]
    assert ask.wait_until is not None
    return ask.wait_until


@pytest.mark.parametrize(
    ("names", "prompt", "until"),
    [
        ("a", None, 104.0),
        ("ab", None, 103.1),
        ("ab", lambda now: Deadline(at=now + 1.5), 100.7),
        ("ab", lambda now: Deadline(at=now + 9.0), 104.0),
    ],
    ids=[
        "no other rung",
        "the next rung could still be in time",
        "the caller should hear something sooner",
        "even a late answer is given up before",
    ],
)
def test_an_attempt_waits_for_a_free_place_while_the_next_rung_has_time(
    names: str, prompt: Callable[[float], Deadline] | None, until: float
) -> None:
    policy = stage(*names)
    policy.then_s, policy.gates = 0.3, dict.fromkeys(names, SOME_GATE)
    work = work_on(policy, prompt=prompt, queues=True)

    assert waits_until(work, Deadline(at=104.0), NOW + 0.1).at == pytest.approx(until)
    assert work.wake_at is None  # nothing is late while it waits


@pytest.mark.parametrize(("now", "left_s"), [(NOW + 0.4, 0.0), (NOW + 0.5, 0.6)])
def test_a_resting_rung_is_not_waited_for(now: float, left_s: float) -> None:
    policy = stage("a", "b")
    policy.gates = dict.fromkeys("ab", SOME_GATE)
    policy.availability.of("llm", "b").rests_until = NOW + 0.5

    until = waits_until(work_on(policy, queues=True), UNTIL, now)

    assert until.at == pytest.approx(UNTIL.at - left_s)


def limited(attempt: int, provider: str, asked_s: float) -> Failed:
    failure = failed(Kind.RATE_LIMITED, "llm", provider=provider, retry_after_s=asked_s)
    return Failed(attempt=attempt, failure=failure)


@pytest.mark.parametrize(
    ("asked_s", "again_s"), [(0.05, MIN_S), (0.2, 0.2), (0.3, 0.3), (0.31, None), (3.0, None)]
)
def test_a_short_rate_limit_of_the_only_rung_is_waited_for(
    asked_s: float, again_s: float | None
) -> None:
    work = begun(stage("a"))

    steps = work.handle(limited(1, "a", asked_s), NOW + 0.1)

    at = work.wake_at
    assert work.over is (again_s is None)
    assert (None if at is None else round(at - NOW - 0.1, 6)) == again_s
    assert Exhausted(attempts=1) not in steps or again_s is None
    assert asked(work.tick(NOW + 0.399)) == ([] if again_s in (None, 0.3) else ["a"])
    assert asked(work.tick(NOW + 0.5)) == (["a"] if again_s == 0.3 else [])


def test_the_sooner_free_of_two_limited_rungs_is_waited_for() -> None:
    work = begun(stage("a", "b"))

    assert asked(work.handle(limited(1, "a", 0.3), NOW + 0.05)) == ["b"]
    assert asked(work.handle(limited(2, "b", 0.2), NOW + 0.1)) == []
    assert work.wake_at == pytest.approx(NOW + 0.3)
    assert asked(work.tick(NOW + 0.3)) == ["b"]
    assert asked(work.handle(limited(3, "b", 3.0), NOW + 0.32)) == []
    assert asked(work.tick(NOW + 0.35)) == ["a"]


@pytest.mark.parametrize(("asked_s", "again"), [(0.2, ["a"]), (5.0, [])])
def test_an_overloaded_rung_that_names_a_wait_is_not_asked_three_times_at_once(
    asked_s: float, again: list[str]
) -> None:
    policy = stage("a")
    work = begun(policy)
    failure = failed(Kind.OVERLOADED, "llm", provider="a", retry_after_s=asked_s)

    at_once = work.handle(Failed(attempt=1, failure=failure), NOW + 0.05)

    assert asked(at_once) == []
    assert asked(work.tick(NOW + 0.3)) == again
    assert policy.availability.of("llm", "a").breaker.failures == 1


def test_another_call_asks_an_overloaded_rung_if_it_has_no_other() -> None:
    policy = stage("a")
    first, second = work_on(policy), work_on(policy)
    first.start(UNTIL, NOW)
    failure = failed(Kind.OVERLOADED, "llm", provider="a", retry_after_s=60.0)
    first.handle(Failed(attempt=1, failure=failure), NOW + 0.05)

    assert asked(second.start(UNTIL, NOW + 0.1)) == ["a"]


def test_a_short_rest_learnt_by_another_call_is_waited_for() -> None:
    policy = stage("a")
    first, second = work_on(policy), work_on(policy)
    first.start(UNTIL, NOW)
    first.handle(limited(1, "a", 0.2), NOW + 0.1)

    assert asked(second.start(UNTIL, NOW + 0.15)) == []
    assert not second.over
    assert asked(second.tick(NOW + 0.31)) == ["a"]


def test_a_rest_is_waited_for_only_if_nothing_else_prevents_the_attempt() -> None:
    policy = stage("a", "b", "c", "d")
    for name in "abcd":
        policy.availability.of("llm", name).rests_until = NOW + 0.2
    policy.availability.of("llm", "a").breaker.trip(NOW)
    policy.availability.set_out("b", NOW, out=True)
    late = Deadline(at=NOW + 0.1)

    assert work_on(policy, offered=lambda name: name in "ab").start(UNTIL, NOW) == (
        EmitEvent(StageExhausted(stage="llm", attempts=0)),
        Exhausted(attempts=0),
    )
    assert Exhausted(attempts=0) in work_on(policy, offered=lambda _: False).start(UNTIL, NOW)
    assert Exhausted(attempts=0) in work_on(policy).start(late, NOW)
    work = begun(policy)
    assert asked(work.tick(NOW + 0.21)) == ["c"]


def test_a_permit_taken_by_another_call_is_asked_for_again_at_no_cost() -> None:
    policy = stage("a", "b")
    policy.allowance = Allowance(share=0.0, floor=0)
    for item in policy.availability:
        item.permit = lambda *_, **__: None  # type: ignore[method-assign]
    work = work_on(policy)

    steps = work.start(UNTIL, NOW)

    assert steps == (
        EmitEvent(StageExhausted(stage="llm", attempts=6)),  # each of the two, and twice again
        Exhausted(attempts=6),
    )
    assert (work.attempts, work.over) == (6, True)


def test_the_callers_known_rung_is_asked_first_and_another_one_is_a_change() -> None:
    work = work_on(stage("a", "b"), stay_with="b")

    assert asked(work.start(UNTIL, NOW)) == ["b"]
    assert asked(work.handle(lost(1, "b"), NOW + 0.1)) == ["a"]

    chosen = RungChosen(stage="llm", before="b", after="a", cause="failover")
    assert chosen in facts(work.handle(Progressed(attempt=2), NOW + 0.3))


def test_a_rung_that_this_call_or_any_call_cannot_ask_is_skipped() -> None:
    policy = stage("a", "b", "c")
    policy.availability.set_out("b", NOW, out=True)
    work = work_on(policy, offered=lambda name: name != "a", queues=True)
    policy.gates = dict.fromkeys("abc", SOME_GATE)

    (ask,) = [item for item in work.start(UNTIL, NOW) if isinstance(item, Ask)]
    assert (ask.provider, ask.wait_until) == ("c", UNTIL)  # no other is left


def test_a_rest_without_a_named_time_is_spread_by_chance() -> None:
    rests: list[float] = []
    for chance in (0.0, 1.0):
        policy = stage("a")
        policy.chance = lambda chance=chance: chance
        work = work_on(policy)
        work.start(UNTIL, NOW)
        steps = work.handle(lost(1, "a", Kind.RATE_LIMITED), NOW + 0.1)
        rests += [fact.rest_s for fact in facts(steps) if isinstance(fact, RungRested)]

    assert rests == [1.5, 2.5]


def test_the_next_attempt_has_the_moved_deadline() -> None:
    work = begun(stage("a", "b"))

    work.until = Deadline(at=109.0)
    steps = work.handle(lost(1, "a"), NOW + 0.1)

    (started,) = [fact for fact in facts(steps) if isinstance(fact, AttemptStarted)]
    assert (started.provider, started.left_s) == ("b", pytest.approx(8.9))


def test_calls_that_wait_for_each_other_are_distinguished_by_their_numbers() -> None:
    numbers = itertools.count(1)
    policy = stage("a")
    one, same = (Attempting(policy, numbers=numbers) for _ in range(2))

    assert one.call == same.call
    assert one.call != work_on(policy).call
