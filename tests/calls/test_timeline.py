from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.events import (
    AnswerHeard,
    BudgetMissed,
    CallerStarted,
    CallerStopped,
    Event,
    FirstSpeech,
    FirstToken,
    TranscriptFinal,
    TurnDecided,
)
from calls.timeline import Timeline


def told(timeline: Timeline, *events: Event) -> None:
    for event in events:
        timeline.handle(event)


def a_turn(at_s: float = 100.0) -> list[Event]:
    return [
        CallerStopped(at_s=at_s, noticed_at_s=at_s + 0.2),
        TranscriptFinal(turn=1, at_s=at_s + 0.3, provider="deepgram", text="hello"),
        TurnDecided(turn=1, at_s=at_s + 0.35),
        FirstToken(turn=1, at_s=at_s + 0.75, provider="openai"),
        FirstSpeech(turn=1, at_s=at_s + 0.95, provider="cartesia"),
    ]


def test_the_parts_of_an_answer_add_up_to_the_whole() -> None:
    timeline = Timeline(budget_s=1.5)
    told(timeline, *a_turn())

    (answer,) = timeline.heard(101.0)

    assert isinstance(answer, AnswerHeard)
    assert answer.v2v_s == pytest.approx(1.0)
    assert astuple(answer.parts) == pytest.approx((0.2, 0.1, 0.05, 0.4, 0.2, 0.05))


def test_a_transcript_that_comes_after_the_decision_takes_no_time_twice() -> None:
    timeline = Timeline(budget_s=1.5)
    stopped, transcript, decided, *rest = a_turn()
    told(timeline, stopped, decided, transcript, *rest)

    (answer,) = timeline.heard(101.0)

    assert isinstance(answer, AnswerHeard)
    assert sum(astuple(answer.parts)) == pytest.approx(answer.v2v_s)


def test_an_answer_over_the_budget_names_its_longest_part() -> None:
    timeline = Timeline(budget_s=0.9)
    told(timeline, *a_turn())

    _, missed = timeline.heard(101.0)

    assert missed == BudgetMissed(turn=1, v2v_s=pytest.approx(1.0), budget_s=0.9, most="llm_s")


def test_the_greeting_is_no_answer() -> None:
    assert Timeline(budget_s=1.5).heard(5.0) == ()


def test_a_prompt_is_no_answer_to_an_unanswered_turn() -> None:
    timeline = Timeline(budget_s=1.5)
    stopped, _, decided, *_ = a_turn()
    told(timeline, stopped, decided, FirstSpeech(turn=1, at_s=108.0, provider="cartesia"))

    assert timeline.heard(108.1) == ()


def test_only_the_first_audible_sample_is_the_answer() -> None:
    timeline = Timeline(budget_s=1.5)
    told(timeline, *a_turn())
    timeline.heard(101.0)

    assert timeline.heard(101.04) == ()


def test_a_caller_who_goes_on_speaking_is_answered_from_the_last_stop() -> None:
    timeline = Timeline(budget_s=1.5)
    told(timeline, CallerStopped(at_s=90.0, noticed_at_s=90.2), CallerStarted(at_s=91.0), *a_turn())

    (answer,) = timeline.heard(101.0)

    assert isinstance(answer, AnswerHeard)
    assert answer.v2v_s == pytest.approx(1.0)


def test_speech_before_a_decision_is_no_answer() -> None:
    timeline = Timeline(budget_s=1.5)
    told(timeline, CallerStopped(at_s=90.0, noticed_at_s=90.2))

    assert timeline.heard(91.0) == ()


MOMENTS = st.floats(min_value=0.0, max_value=10.0)


@given(st.permutations(range(4)), st.lists(MOMENTS, min_size=4, max_size=4), MOMENTS)
def test_in_any_order_and_at_any_time_the_parts_add_up(
    order: list[int], offsets: list[float], heard: float
) -> None:
    timeline = Timeline(budget_s=100.0)
    events: list[Event] = [
        TranscriptFinal(turn=1, at_s=100 + offsets[0], provider="a", text="x"),
        TurnDecided(turn=1, at_s=100 + offsets[1]),
        FirstToken(turn=1, at_s=100 + offsets[2], provider="b"),
        FirstSpeech(turn=1, at_s=100 + offsets[3], provider="c"),
    ]
    told(timeline, CallerStopped(at_s=100.0, noticed_at_s=100.2), *(events[i] for i in order))

    (answer,) = timeline.heard(100 + heard)

    assert isinstance(answer, AnswerHeard)
    parts = astuple(answer.parts)
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(answer.v2v_s)
    assert answer.v2v_s == pytest.approx(heard)
