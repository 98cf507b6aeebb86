"""One answer by any models, with numbers for time."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from fallbacks.attempt_events import (
    Ask,
    Done,
    EmitEvent,
    Exhausted,
    Failed,
    Stop,
)
from fallbacks.attempts import Attempting
from fallbacks.availability import AvailabilityTable, Place, RungState
from fallbacks.breaker import State
from fallbacks.deadline import Deadline
from fallbacks.events import (
    AnswerEmpty,
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    StageExhausted,
)
from fallbacks.failure import Finding, Kind, Scope, failed, finding
from fallbacks.ladder import StagePolicy
from fallbacks.llm_times import RUNG_CHECK_S
from fallbacks.tts_times import NEXT_VOICE_S
from processors.answering.decision import (
    AnswerAction,
    Answering,
    LeaveMessageOut,
    UseModel,
    WriteText,
    Wrote,
)

NOW = 100.0


def four_seconds(now: float) -> Deadline:
    return Deadline(at=now + 4.0)


def ladder(
    *names: str, until: Callable[[float], Deadline] = four_seconds, leaves_out: int = 0
) -> tuple[Answering, AvailabilityTable]:
    places = [Place(stage="llm", provider=name, credential=name) for name in names]
    availability, numbers = AvailabilityTable(places, now=NOW), itertools.count(1)
    policy = StagePolicy(stage="llm", availability=availability)
    answering = Answering(
        lambda: Attempting(policy, numbers=numbers, queues=True), until=until, leaves_out=leaves_out
    )
    return answering, availability


def begun(*names: str, **how: Any) -> Answering:
    answering, _ = ladder(*names, **how)
    answering.start(NOW)
    return answering


def doing(actions: tuple[AnswerAction, ...]) -> list[AnswerAction]:
    return [action for action in actions if not isinstance(action, EmitEvent)]


def failure(attempt: int, name: str, kind: Kind = Kind.CUT, *, permanent: bool = False) -> Failed:
    found = failed(kind, "llm", provider=name)
    assert found.permanent is permanent
    return Failed(attempt=attempt, failure=found)


def test_a_healthy_answer_is_written_as_it_comes_and_then_finished() -> None:
    answering, _ = ladder("a", "b")

    (ask,) = doing(answering.start(NOW))
    wrote = doing(answering.write(1, "We open ", NOW + 0.3))
    tool = doing(answering.write(1, "", NOW + 0.35))
    ended = doing(answering.finish(1, NOW + 0.4))

    assert tool == []
    assert ask == Ask(provider="a", attempt=1)
    assert wrote == [UseModel(provider="a", taken_back=0), WriteText(attempt=1, text="We open ")]
    assert ended == [Done(provider="a", attempt=1)]
    assert answering.over


def test_the_next_model_is_asked_for_the_rest_and_a_partial_word_is_dropped() -> None:
    answering = begun("a", "b")
    answering.write(1, "We open at ni", NOW + 0.3)

    (ask,) = doing(answering.handle(failure(1, "a"), NOW + 0.4))
    said = answering.answer.whole
    wrote = doing(answering.write(2, "We open at nine. ", NOW + 0.7))

    assert (ask, said) == (Ask(provider="b", attempt=2), "We open at")
    assert wrote[0] == UseModel(provider="b", taken_back=2)
    assert [word.text.strip() for word in wrote if isinstance(word, WriteText)] == ["nine."]


def test_a_model_that_continues_from_the_last_sentence_may_have_nothing_to_add() -> None:
    answering, availability = ladder("a", "b")
    answering.start(NOW)
    answering.write(1, 'We open at "nine." ', NOW + 0.3)
    answering.handle(failure(1, "a"), NOW + 0.4)

    ended = doing(answering.finish(2, NOW + 0.7, wrote=Wrote.NOTHING))

    assert ended == [UseModel(provider="b", taken_back=0), Done(provider="b", attempt=2)]
    assert answering.over
    (standing,) = (e for e in availability.ladder("llm", NOW + 0.7) if e.provider == "b")
    assert standing.state is RungState.READY


@pytest.mark.parametrize("said", ["", "We open at ", "We open at nine, "])
def test_a_model_without_words_where_some_are_missing_is_asked_once_more(said: str) -> None:
    answering = begun("a", "b", "c")
    if said:
        answering.write(1, said, NOW + 0.3)
    answering.handle(failure(1, "a"), NOW + 0.4)

    ended = doing(answering.finish(2, NOW + 0.7, wrote=Wrote.NOTHING))

    assert [action.provider for action in ended if isinstance(action, Ask)] == ["b"]


def test_an_unanswered_question_is_asked_again_once_a_rung_is_available() -> None:
    answering, availability = ladder("a")
    answering.start(NOW)
    kept = doing(answering.handle(failure(1, "a", Kind.OVERLOADED), NOW + 0.1))
    now = NOW + 0.1
    while not answering.attempting.over:
        kept = doing(answering.handle(failure(answering.attempting.attempts, "a"), now))
    assert Exhausted(attempts=1) not in kept
    assert answering.wake_at == now + RUNG_CHECK_S
    assert not answering.over

    place = ("llm", "a")
    permit = availability.of(*place).permit(now + 60.0, probe=True)
    while not answering.attempting.policy.has_recovered(now) and permit:
        now += 1.0
        availability.succeeded(place, permit, now=now)
        permit = availability.of(*place).permit(now, probe=True)
    assert any(isinstance(item, Ask) for item in answering.tick(now))
    assert answering.wake_at == now + 0.6


@pytest.mark.parametrize("rungs", [("a",), ("a", "b"), ("a", "b", "c")])
def test_when_every_model_ends_without_words_the_caller_is_asked_to_repeat(
    rungs: tuple[str, ...],
) -> None:
    answering, availability = ladder(*rungs)
    actions = [*answering.start(NOW)]
    while not answering.over:
        attempt = answering.attempting.attempts
        actions += answering.finish(attempt, NOW + 0.1, wrote=Wrote.NOTHING)

    assert [e.provider for e in actions if isinstance(e, Ask)] == ["a", *rungs]
    assert not any(e.mended for e in actions if isinstance(e, Ask))
    facts = [action.fact for action in actions if isinstance(action, EmitEvent)]
    assert facts[-1] == AnswerEmpty(stage="llm", attempts=1 + len(rungs), asks_again=True)
    assert not any(isinstance(fact, StageExhausted) for fact in facts)
    assert all(e.state is RungState.READY for e in availability.ladder("llm", NOW + 0.2))


def test_an_answer_without_speakable_text_is_complete() -> None:
    answering = begun("a", "b")

    actions = answering.finish(1, NOW + 0.3, wrote=Wrote.SIGNS)

    assert answering.over
    assert doing(actions) == [UseModel(provider="a", taken_back=0), Done(provider="a", attempt=1)]
    empty = AnswerEmpty(stage="llm", attempts=1, asks_again=False)
    assert EmitEvent(empty) in actions


def test_a_question_is_kept_for_ten_seconds_without_an_available_rung() -> None:
    answering = begun("a", until=lambda _: Deadline(at=NOW + 1.0))
    told: list[tuple[float, list[AnswerAction]]] = []
    while answering.wake_at is not None and not answering.over and len(told) < 1000:
        at = answering.wake_at
        assert answering.tick(at - 0.01) == ()
        told.append((at, doing(answering.tick(at))))

    (left_at, left), (given_up_at, given_up) = [item for item in told if item[1]][-2:]
    assert left == [
        Stop(attempt=1, provider="a", because="late"),
        Stop(attempt=2, provider="a", because="late"),
        UseModel(provider="", taken_back=0),
    ]
    assert given_up == [Exhausted(attempts=2)]
    assert given_up_at == pytest.approx(left_at + 10.0, abs=RUNG_CHECK_S)
    assert told[-1][0] - told[-2][0] == pytest.approx(RUNG_CHECK_S)


@pytest.mark.parametrize(
    ("first", "then", "given_up"),
    [
        (Kind.AUTH, Kind.AUTH, [Exhausted(attempts=2)]),
        (Kind.AUTH, Kind.RATE_LIMITED, []),
        (Kind.RATE_LIMITED, Kind.AUTH, []),
    ],
)
def test_a_question_is_kept_only_if_a_failure_may_pass(
    first: Kind, then: Kind, given_up: list[AnswerAction]
) -> None:
    answering = begun("a", "b")
    answering.handle(failure(1, "a", first, permanent=first is Kind.AUTH), NOW + 0.1)

    gone = answering.handle(failure(2, "b", then, permanent=then is Kind.AUTH), NOW + 0.2)

    assert doing(gone) == [UseModel(provider="", taken_back=0), *given_up]
    assert answering.over is bool(given_up)


def test_a_refused_key_ends_the_question_and_the_next_is_kept_unasked() -> None:
    answering, availability = ladder("a")
    rung = availability.of("llm", "a")
    permit = rung.permit(NOW)
    assert permit is not None
    rung.failed(permit, failed(Kind.AUTH, "llm", provider="a"), now=NOW, call="another")
    answering.start(NOW)
    gone = doing(answering.handle(failure(1, "a", Kind.AUTH, permanent=True), NOW + 0.1))
    policy = StagePolicy(stage="llm", availability=availability)
    later = Answering(lambda: Attempting(policy, numbers=itertools.count(2)), until=four_seconds)

    kept = doing(later.start(NOW + 1.0))

    assert gone == [UseModel(provider="", taken_back=0), Exhausted(attempts=1)]
    assert kept == [UseModel(provider="", taken_back=0)]
    assert later.wake_at == NOW + 1.0 + RUNG_CHECK_S


@pytest.mark.parametrize(
    ("probe_fails", "sent"), [(False, 2), (True, 4)], ids=["only this request failed", "an outage"]
)
def test_a_question_that_failed_at_every_model_is_sent_again_only_after_an_outage(
    *, probe_fails: bool, sent: int
) -> None:
    answering, availability = ladder("a", "b")
    actions = [*answering.start(NOW)]
    actions += answering.handle(failure(1, "a", Kind.PROTOCOL), NOW + 0.1)
    actions += answering.handle(failure(2, "b", Kind.PROTOCOL), NOW + 0.2)
    for name in ("a", "b"):
        rung = availability.of("llm", name)
        for at, fails in ((NOW + 0.3, probe_fails), (NOW + 0.4, False)):
            permit = rung.permit(at, probe=True)
            assert permit is not None
            if fails:
                rung.failed(permit, failed(Kind.PROTOCOL, "llm", provider=name), now=at)
            else:
                rung.succeeded(permit, at)

    actions += answering.tick(NOW + 0.2 + RUNG_CHECK_S)
    if probe_fails:
        actions += answering.handle(failure(3, "a", Kind.PROTOCOL), NOW + 1.1)
        actions += answering.handle(failure(4, "b", Kind.PROTOCOL), NOW + 1.2)

    assert len([action for action in actions if isinstance(action, Ask)]) == sent
    assert (doing(tuple(actions))[-1] == Exhausted(attempts=2)) is not probe_fails


def passed(_: float) -> Deadline:
    return Deadline(at=NOW - 2.0)  # a tool took longer than the turn's patience


def test_models_asked_after_a_slow_tool_get_time_to_answer() -> None:
    answering = begun("a", "b", until=passed)
    raced = doing(answering.tick(NOW + 0.6))
    nothing = doing(answering.tick(NOW + 1.4))

    wrote = doing(answering.write(1, "We ", NOW + 1.4))

    # The standby is asked as soon as in any other turn; only giving up is later.
    assert [attempt.provider for attempt in raced if isinstance(attempt, Ask)] == ["b"]
    assert nothing == []
    assert UseModel(provider="a", taken_back=0) in wrote


def test_models_that_are_asked_late_and_hang_are_given_up_anyway() -> None:
    answering = begun("a", "b", until=passed)
    gone: list[AnswerAction] = []
    at: float | None = NOW
    while not answering.attempting.over:
        at = answering.wake_at
        assert at is not None
        gone = doing(answering.tick(at))

    assert UseModel(provider="", taken_back=0) in gone
    assert at == pytest.approx(NOW + NEXT_VOICE_S)


def test_the_only_model_is_asked_again_after_a_slow_tool_too() -> None:
    answering = begun("a", until=passed)

    again = doing(answering.handle(failure(1, "a"), NOW + 0.1))

    assert [item.attempt for item in again if isinstance(item, Ask)] == [2]


def test_a_kept_question_is_asked_with_patience_again() -> None:
    answering, availability = ladder("a", until=passed)
    answering.start(NOW)
    while not answering.attempting.over:
        answering.tick(answering.wake_at or NOW)
    now, place = NOW + 5.0, ("llm", "a")
    permit = availability.of(*place).permit(now, probe=True)
    assert permit
    availability.succeeded(place, permit, now=now)  # a probe has found it well
    answering.tick(now)
    answering.tick(now + 0.6)

    assert not answering.attempting.over
    assert doing(answering.tick(now + 1.4)) == []
    assert answering.wake_at == now + NEXT_VOICE_S


@pytest.mark.parametrize("left_s", [NEXT_VOICE_S, 2.5, 3.7])
def test_a_turn_with_enough_time_left_uses_its_own_deadline(left_s: float) -> None:
    answering, _ = ladder("a", "b", until=lambda _: Deadline(at=NOW + left_s))

    started, *_ = answering.start(NOW)
    at: float | None = NOW
    while not answering.attempting.over:
        at = answering.wake_at
        assert at is not None
        answering.tick(at)

    assert isinstance(started, EmitEvent)
    assert isinstance(started.fact, AttemptStarted)
    assert started.fact.left_s == pytest.approx(left_s)
    assert at == pytest.approx(NOW + left_s)


def test_words_that_were_held_are_written_at_the_end() -> None:
    answering = begun("a", "b")
    answering.write(1, "We open at nine. ", NOW + 0.1)
    answering.handle(failure(1, "a"), NOW + 0.2)

    held = doing(answering.write(2, "We deliver.", NOW + 0.3))
    ended = doing(answering.finish(2, NOW + 0.4))

    assert held == [UseModel(provider="b", taken_back=0)]
    assert ended == [WriteText(attempt=2, text="We deliver."), Done(provider="b", attempt=2)]


def test_a_failure_has_the_number_of_words_that_the_caller_heard() -> None:
    answering = begun("a", "b")
    answering.write(1, "We open at ", NOW + 0.1)

    told = answering.handle(failure(1, "a"), NOW + 0.2)

    facts = [event.fact for event in told if isinstance(event, EmitEvent)]
    assert [fact.heard_words for fact in facts if isinstance(fact, AttemptFailed)] == [3]


@pytest.mark.parametrize(("calls", "blamed"), [("x" * 5, False), ("xy", True)])
def test_refusals_of_one_calls_answers_count_once(calls: str, *, blamed: bool) -> None:
    _, availability = ladder("a")
    policy = StagePolicy(stage="llm", availability=availability)
    health, bad = availability.of("llm", "a"), failed(Kind.BAD_REQUEST, "llm", provider="a")
    numbers = {call: itertools.count(1) for call in calls}
    for turn, call in enumerate(calls, start=1):
        answering = Answering(
            lambda: Attempting(policy, numbers=numbers[call]),  # noqa: B023 - called at once
            until=four_seconds,
        )
        (ask,) = doing(answering.start(NOW + turn))
        assert isinstance(ask, Ask)
        answering.handle(Failed(attempt=ask.attempt, failure=bad), NOW + turn)
    probe = health.permit(NOW + 9.0, probe=True)
    assert probe is not None
    availability.failed(probe, bad, now=NOW + 9.0)

    assert (health.breaker.state is State.OPEN) is blamed


def test_a_caller_who_speaks_ends_every_request() -> None:
    answering = begun("a", "b")

    dropped = AttemptDropped(stage="llm", provider="a", attempt=1, because="caller")
    assert answering.cancel(NOW + 0.1) == (
        EmitEvent(dropped),
        Stop(attempt=1, provider="a", because="caller"),
    )
    assert answering.over


def test_a_caller_who_speaks_ends_a_question_that_is_kept() -> None:
    answering = begun("a")
    answering.handle(failure(1, "a", Kind.RATE_LIMITED), NOW + 0.1)
    assert answering.wake_at is not None

    assert answering.cancel(NOW + 0.2) == ()
    assert (answering.over, answering.wake_at) == (True, None)


@pytest.mark.parametrize(
    ("found", "left_out"),
    [
        (finding(Kind.BAD_REQUEST), True),
        (finding(Kind.BAD_REQUEST, Scope.PAYLOAD), True),
        (finding(Kind.AUTH, Scope.REQUEST), True),
        (finding(Kind.AUTH), False),
        (finding(Kind.OVERLOADED), True),
        (finding(Kind.NETWORK), False),
    ],
    ids=["400", "flagged", "403", "401", "503", "no connection"],
)
def test_a_message_that_every_model_refuses_is_omitted_and_is_no_outage(
    found: Finding, *, left_out: bool
) -> None:
    answering, _ = ladder("a", "b", leaves_out=True)
    did = list(answering.start(NOW))
    for _ in range(20):
        if any(isinstance(action, LeaveMessageOut) for action in did):
            break
        last = [action for action in did if isinstance(action, Ask)][-1]
        refusal = failed(found, "llm", provider=last.provider)
        did += answering.handle(Failed(attempt=last.attempt, failure=refusal), NOW + 0.1)
    facts = [action.fact for action in did if isinstance(action, EmitEvent)]

    assert any(isinstance(action, LeaveMessageOut) for action in did) is left_out
    assert any(isinstance(fact, StageExhausted) for fact in facts) is not left_out


@pytest.mark.parametrize("probe", [True, False], ids=["a probe", "another call"])
@pytest.mark.parametrize(("kind", "left_out"), [(Kind.OVERLOADED, True), (Kind.NETWORK, False)])
def test_a_message_at_which_the_only_model_fails_is_omitted_once_it_has_served_meanwhile(
    kind: Kind, *, left_out: bool, probe: bool
) -> None:
    answering, availability = ladder("a", leaves_out=True)
    did = list(answering.start(NOW))
    for attempt in (1, 2, 3):
        did += answering.handle(failure(attempt, "a", kind), NOW + attempt / 10)
    before = LeaveMessageOut() in did
    permit = availability.of("llm", "a").permit(NOW + 0.5, probe=probe)
    assert permit
    availability.succeeded(("llm", "a"), permit, now=NOW + 0.5, call="another")
    did += answering.tick(NOW + 0.3 + RUNG_CHECK_S)  # asked again, with the message
    for attempt in (4, 5, 6):
        did += answering.handle(failure(attempt, "a", kind), NOW + 1.0 + attempt / 10)

    assert not before
    assert (LeaveMessageOut() in did) is left_out


@pytest.mark.parametrize(("failures", "left_out"), [(5, False), (6, True)])
def test_the_only_model_may_fail_by_chance_before_a_message_is_omitted(
    failures: int, *, left_out: bool
) -> None:
    answering, availability = ladder("a", leaves_out=True)
    did = list(answering.start(NOW))
    permit = availability.of("llm", "a").permit(NOW)
    assert permit
    availability.succeeded(("llm", "a"), permit, now=NOW + 0.05, call="another")
    for attempt in range(1, failures + 1):
        did += answering.handle(failure(attempt, "a", Kind.OVERLOADED), NOW + attempt / 10)
    did += answering.write(failures + 1, "We open", NOW + 1.0)

    assert (LeaveMessageOut() in did) is left_out
    assert WriteText(attempt=failures + 1, text="We open") in did
    assert not any(isinstance(action, Exhausted) for action in did)


def test_the_name_of_a_tool_is_taken_back_before_its_call_is_requested_again() -> None:
    answering, _ = ladder("a")
    answering.answer.tools = frozenset({"transfer_to_person"})
    answering.start(NOW)
    answering.write(1, "One moment. transfer_to_person(", NOW)
    answering.answer.end_text(1)

    did = doing(answering.finish(1, NOW, wrote=Wrote.PART))

    assert did[0] == WriteText(attempt=1, text="", taken_back=len("transfer_to_person"))
    assert did[-1] == Ask(provider="a", attempt=2)


def test_an_answer_asked_for_before_does_not_show_that_the_only_model_serves_meanwhile() -> None:
    answering, availability = ladder("a", leaves_out=True)
    permit = availability.of("llm", "a").permit(NOW)
    assert permit
    did = list(answering.start(NOW + 0.01))
    availability.succeeded(("llm", "a"), permit, now=NOW + 0.05, call="another")
    for attempt in (1, 2, 3):
        did += answering.handle(failure(attempt, "a", Kind.OVERLOADED), NOW + attempt / 10)

    assert LeaveMessageOut() not in did


def test_a_second_refusal_without_that_message_is_an_outage() -> None:
    answering = begun("a", leaves_out=True)
    bad = failed(Kind.BAD_REQUEST, "llm", provider="a")
    again = answering.handle(Failed(attempt=1, failure=bad), NOW + 0.1)
    ended = answering.handle(Failed(attempt=2, failure=bad), NOW + 0.2)

    assert [type(action) for action in doing(again)] == [LeaveMessageOut, Ask]
    assert doing(ended)[-1] == Exhausted(attempts=1)


def test_the_refused_rest_of_an_answer_is_replaced_by_a_request_for_other_words() -> None:
    answering = begun("a", leaves_out=True)
    answering.write(1, "We open at ", NOW + 0.1)
    bad = failed(Kind.BAD_REQUEST, "llm", provider="a")
    ended = answering.handle(Failed(attempt=1, failure=bad), NOW + 0.2)

    assert doing(ended) == [LeaveMessageOut(), Ask(provider="a", attempt=2)]


def test_a_rung_that_broke_off_keeps_the_message_of_an_answer_that_another_refuses() -> None:
    answering = begun("a", "b", leaves_out=True)
    answering.write(1, "We open at ", NOW + 0.1)
    answering.handle(failure(1, "a"), NOW + 0.2)
    bad = failed(Kind.BAD_REQUEST, "llm", provider="b")
    ended = answering.handle(Failed(attempt=2, failure=bad), NOW + 0.3)

    assert LeaveMessageOut() not in doing(ended)


def test_a_message_whose_answer_a_model_began_is_kept_while_every_model_is_overloaded() -> None:
    answering, _ = ladder("a", "b", leaves_out=True)
    did = list(answering.start(NOW))
    did += answering.write(1, "We open at ", NOW + 0.1)
    for _ in range(6):
        last = [action for action in did if isinstance(action, Ask)][-1]
        overloaded = failed(Kind.OVERLOADED, "llm", provider=last.provider)
        did += answering.handle(Failed(attempt=last.attempt, failure=overloaded), NOW + 0.2)

    assert LeaveMessageOut() not in did


@pytest.mark.parametrize("first", [Kind.OVERLOADED, Kind.NETWORK, Kind.RATE_LIMITED, Kind.AUTH])
def test_only_a_rung_that_judged_the_content_is_asked_without_it(first: Kind) -> None:
    answering, _ = ladder("a", "b", leaves_out=True)
    did = list(answering.start(NOW))
    for _ in range(20):
        last = [action for action in did if isinstance(action, Ask)][-1]
        if LeaveMessageOut() in did:
            break
        kind = first if last.provider == "a" else Kind.BAD_REQUEST
        broken = failed(kind, "llm", provider=last.provider)
        did += answering.handle(Failed(attempt=last.attempt, failure=broken), NOW + 0.1)
    asked = did[did.index(LeaveMessageOut()) :]

    assert [action.provider for action in asked if isinstance(action, Ask)] == ["b"]


def test_each_step_leaves_more_out_and_a_kept_question_is_asked_whole_again() -> None:
    answering, availability = ladder("a", leaves_out=2)
    answering.start(NOW)
    bad = failed(finding(Kind.BAD_REQUEST, permanent=False), "llm", provider="a", same_rung=False)
    did = [
        action
        for attempt in (1, 2, 3)
        for action in answering.handle(Failed(attempt=attempt, failure=bad), NOW + attempt / 10)
    ]
    steps = [action.step for action in did if isinstance(action, LeaveMessageOut)]
    permit = availability.of("llm", "a").permit(NOW + 1.0, probe=True)
    assert permit is not None
    availability.succeeded(("llm", "a"), permit, now=NOW + 1.0)
    again = doing(answering.tick(NOW + 1.0))

    assert steps == [1, 2]
    assert isinstance(again[0], LeaveMessageOut)
    assert (again[0].step, type(again[1])) == (0, Ask)


def test_a_request_that_was_refused_early_begins_without_what_was_refused() -> None:
    _, availability = ladder("a")
    policy = StagePolicy(stage="llm", availability=availability)
    answering = Answering(
        lambda: Attempting(policy, numbers=itertools.count(1)),
        until=four_seconds, leaves_out=1, refused=True,
    )  # fmt: skip

    assert doing(answering.start(NOW))[0] == LeaveMessageOut()
