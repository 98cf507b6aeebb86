"""One answer, whoever writes it, with numbers for time."""

import itertools

import pytest

from fallbacks.answering import (
    RECHECK_S,
    RECOVERS_S,
    AnswerAction,
    Answering,
    AskModel,
    CallOff,
    FinishAnswer,
    GiveUp,
    ModelFailed,
    ModelFinished,
    ModelWrote,
    UseModel,
    WriteText,
)
from fallbacks.attempts import TellFact
from fallbacks.deadline import Deadline
from fallbacks.failure import Kind, failed
from fallbacks.roster import Place, Roster
from fallbacks.work import StagePolicy, Work

NOW = 100.0


def ladder(*names: str, recovers_s: float = RECOVERS_S) -> tuple[Answering, Roster]:
    places = [Place(stage="llm", provider=name, credential=name) for name in names]
    roster, numbers = Roster(places, now=NOW), itertools.count(1)
    policy = StagePolicy(stage="llm", roster=roster)
    answering = Answering(
        lambda: Work(policy, numbers=numbers),
        until=lambda now: Deadline(at=now + 4.0),
        recovers_s=recovers_s,
    )
    return answering, roster


def doing(actions: tuple[AnswerAction, ...]) -> list[AnswerAction]:
    return [each for each in actions if not isinstance(each, TellFact)]


def failure(
    attempt: int, name: str, kind: Kind = Kind.CUT, *, permanent: bool = False
) -> ModelFailed:
    found = failed(kind, "llm", provider=name)
    assert found.permanent is permanent
    return ModelFailed(attempt=attempt, failure=found, request="")


def test_a_healthy_answer_is_written_as_it_comes_and_then_finished() -> None:
    answering, _ = ladder("a", "b")

    (ask,) = doing(answering.start(NOW))
    wrote = doing(answering.handle(ModelWrote(attempt=1, text="We open "), NOW + 0.3))
    ended = doing(answering.handle(ModelFinished(attempt=1), NOW + 0.4))

    assert ask == AskModel(provider="a", attempt=1, said="", mended=False, wait_until=None)
    assert wrote == [UseModel(provider="a", taken_back=0), WriteText(attempt=1, text="We open ")]
    assert ended == [FinishAnswer(1)]
    assert answering.over


def test_the_next_model_is_asked_for_the_rest_and_half_a_word_is_taken_back() -> None:
    answering, _ = ladder("a", "b")
    answering.start(NOW)
    answering.handle(ModelWrote(attempt=1, text="We open at ni"), NOW + 0.3)

    (ask,) = doing(answering.handle(failure(1, "a"), NOW + 0.4))
    wrote = doing(answering.handle(ModelWrote(attempt=2, text="We open at nine. "), NOW + 0.7))

    assert ask == AskModel(
        provider="b", attempt=2, said="We open at", mended=False, wait_until=None
    )
    assert wrote[0] == UseModel(provider="b", taken_back=2)
    assert [each.text.strip() for each in wrote if isinstance(each, WriteText)] == ["nine."]


def test_a_model_that_goes_on_from_the_last_sentence_may_have_nothing_to_add() -> None:
    answering, roster = ladder("a", "b")
    answering.start(NOW)
    answering.handle(ModelWrote(attempt=1, text='We open at "nine." '), NOW + 0.3)
    answering.handle(failure(1, "a"), NOW + 0.4)

    ended = doing(answering.handle(ModelFinished(attempt=2), NOW + 0.7))

    assert ended == [UseModel(provider="b", taken_back=0), FinishAnswer(2)]
    assert answering.over
    (standing,) = (e for e in roster.standings("llm", NOW + 0.7) if e.provider == "b")
    assert standing.usable
    assert not standing.suspect


@pytest.mark.parametrize("said", ["", "We open at ", "We open at nine, "])
def test_a_model_without_a_word_where_words_are_missing_has_failed(said: str) -> None:
    answering, _ = ladder("a", "b", "c")
    answering.start(NOW)
    if said:
        answering.handle(ModelWrote(attempt=1, text=said), NOW + 0.3)
    answering.handle(failure(1, "a"), NOW + 0.4)

    ended = doing(answering.handle(ModelFinished(attempt=2), NOW + 0.7))

    assert [each.provider for each in ended if isinstance(each, AskModel)] == ["c"]


def test_a_question_that_nobody_could_answer_is_asked_again_once_a_rung_is_trusted() -> None:
    answering, roster = ladder("a")
    answering.start(NOW)
    kept = doing(answering.handle(failure(1, "a", Kind.OVERLOADED), NOW + 0.1))
    now = NOW + 0.1
    while not answering.work.over:
        kept = doing(answering.handle(failure(answering.work.attempts, "a"), now))
    assert GiveUp(1) not in kept
    assert answering.wake_at == now + RECHECK_S
    assert not answering.over

    place = ("llm", "a")
    permit = roster.health(*place).permit(now + 60.0, probe=True)
    while not answering.work.policy.trusted(now) and permit:
        now += 1.0
        roster.succeeded(place, permit, now=now)
        permit = roster.health(*place).permit(now, probe=True)
    assert any(isinstance(each, AskModel) for each in answering.tick(now))


def test_a_question_is_not_kept_for_ever() -> None:
    answering, _ = ladder("a", recovers_s=0.0)
    answering.start(NOW)
    actions = doing(answering.handle(failure(1, "a"), NOW + 0.1))
    while not answering.over:
        actions = doing(answering.handle(failure(answering.work.attempts, "a"), NOW + 0.1))

    assert isinstance(actions[-1], GiveUp)


def test_a_caller_who_speaks_ends_every_request() -> None:
    answering, _ = ladder("a", "b")
    answering.start(NOW)

    assert doing(answering.cancel(NOW + 0.1)) == [CallOff(1)]
    assert answering.over
