"""When a caller's line is held, from what is known of the turn."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.descent import Descent
from fallbacks.facts import AttemptFailed, AttemptStarted, AttemptWon, PauseJudged, StageExhausted
from fallbacks.failure import Kind, Scope
from fallbacks.holding import Holding
from fallbacks.line_events import (
    AnswerDue,
    AnswerSounded,
    CallerBegan,
    CallerFellSilent,
    HearWords,
    LineEvent,
    SpeakFor,
    Spoken,
    Then,
    WordsCame,
)
from fallbacks.line_keeper import LineKeeper
from fallbacks.utterances import Situation
from tests.thoroughness import promised

STOP = 100.0
FIRST_S = 1.05
BEGAN, DUE, CAME = CallerBegan(), AnswerDue(), WordsCame()
SILENT = CallerFellSilent(stopped_at=STOP)
SILENT_WORDED = CallerFellSilent(stopped_at=STOP, worded=True)
SOUNDED = AnswerSounded(dry_at=102.0, audible=True)
STT_FAILED = AttemptFailed(
    stage="stt", provider="a", kind=Kind.NETWORK, scope=Scope.ENDPOINT, after_s=0.4
)
MODEL_ASKED = AttemptStarted(stage="llm", provider="a", attempt=1, extra=False, left_s=1.0)
MODEL_WON = AttemptWon(stage="llm", provider="a", attempt=1, after_s=0.3)


def judged(*, finished: bool) -> PauseJudged:
    return PauseJudged(
        finished=finished,
        by="detector",
        early=True,
        waited_s=0.0,
        took_s=0.07,
        dropped=0,
        dropped_s=0.0,
    )


ENDED, THINKS = judged(finished=True), judged(finished=False)


def keeper_after(events: Sequence[tuple[LineEvent, float]]) -> LineKeeper:
    keeper = LineKeeper(Holding(), Descent())
    for event, after_s in events:
        keeper.handle(event, STOP + after_s)
    return keeper


def due_after_s(*events: tuple[LineEvent, float]) -> float | None:
    at = keeper_after(((BEGAN, -1.0), *events)).wake_at
    return None if at is None else round(at - STOP, 6)


@pytest.mark.parametrize(
    ("events", "due_s"),
    [
        ([(SILENT_WORDED, 0.2)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (ENDED, 0.2)], FIRST_S),
        ([(ENDED, 0.2), (SILENT_WORDED, 0.2)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (ENDED, 0.2), (DUE, 0.3)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (DUE, 0.9)], FIRST_S),
        ([(SILENT, 0.2), (CAME, 0.5)], FIRST_S),
        ([(SILENT, 0.2), (DUE, 0.3)], FIRST_S),
        ([(SILENT, 0.2)], None),
        ([(SILENT, 0.2), (ENDED, 0.45)], None),
        ([(SILENT_WORDED, 0.2), (THINKS, 0.2)], None),
        ([(THINKS, 0.2), (SILENT_WORDED, 0.2)], None),
        ([(SILENT, 0.2), (THINKS, 0.2), (CAME, 0.4)], None),
        ([(SILENT_WORDED, 0.2), (THINKS, 0.2), (THINKS, 0.3), (DUE, 1.4)], FIRST_S),
        ([(THINKS, 0.2), (SILENT_WORDED, 0.2), (DUE, 1.4), (CAME, 1.41)], FIRST_S),
        ([(STT_FAILED, 0.0), (SILENT, 0.2)], FIRST_S),
        ([(SILENT, 0.2), (STT_FAILED, 0.6)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.8)], None),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.8), (THINKS, 0.9), (CAME, 0.9)], None),
        ([(SILENT_WORDED, 0.2), (BEGAN, 0.6)], None),
        ([(THINKS, 0.2), (SILENT_WORDED, 0.2), (BEGAN, 0.6), (SILENT_WORDED, 0.7)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (MODEL_ASKED, 0.6)], 1.29),
        ([(SILENT_WORDED, 0.2), (MODEL_ASKED, 0.6), (MODEL_WON, 1.0)], 1.32),
        ([(SILENT_WORDED, 0.2), (MODEL_ASKED, 1.0)], FIRST_S),
    ],
    ids=[
        "the decision hangs",
        "decided, and words are owed",
        "decided before the stop is read",
        "a healthy turn",
        "a late decision",
        "the words come behind the stop",
        "a turn without words that was decided",
        "a cough, as far as anybody knows",
        "a cough that sounds like an end",
        "a caller who thinks",
        "a caller who thinks, known before the stop is read",
        "a caller who thinks, whose words come later",
        "silence ends what looked like a pause",
        "words that are read behind the decision",
        "the recogniser died while he spoke",
        "the recogniser died behind the stop",
        "the answer is heard",
        "what is told behind the answer owes nothing",
        "the caller speaks on",
        "he thought before, and stops now",
        "the model was asked, and will be in time",
        "the model has answered, and its voice will be in time",
        "the model was asked too late to be waited for",
    ],
)
def test_the_line_is_held_when_something_is_owed(
    events: list[tuple[LineEvent, float]], due_s: float | None
) -> None:
    assert due_after_s(*events) == due_s


def test_what_holds_the_line_is_a_filler_and_then_clips_until_the_answer() -> None:
    keeper = keeper_after([(BEGAN, -1.0), (SILENT_WORDED, 0.2)])
    filler = SpeakFor(situations=(Situation.FILLER,), then=Then.HOLD)

    assert keeper.tick(STOP + 1.04) == ()
    assert keeper.tick(STOP + 1.05) == (filler,)
    assert keeper.holding
    keeper.handle(Spoken(action=filler, dry_at=STOP + 1.5), STOP + 1.06)
    (clip,) = keeper.tick(STOP + 5.0)
    assert clip == SpeakFor(situations=(Situation.LLM, Situation.DOWN), then=Then.HOLD)
    keeper.handle(SOUNDED, STOP + 5.1)
    assert keeper.wake_at is None


def test_a_stage_with_nobody_left_is_spoken_of_in_place_of_a_filler() -> None:
    keeper = keeper_after([(BEGAN, -1.0), (SILENT_WORDED, 0.2)])
    keeper.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)

    actions = keeper.tick(STOP + 0.5)

    assert actions[0] == HearWords()
    assert [each for each in actions if isinstance(each, SpeakFor)]
    assert not keeper.holding


EVENTS = st.sampled_from([BEGAN, SILENT, SILENT_WORDED, DUE, CAME, ENDED, THINKS, SOUNDED])


@promised
@given(st.lists(EVENTS, max_size=12))
def test_nothing_is_ever_due_while_the_caller_speaks_or_thinks(events: list[LineEvent]) -> None:
    keeper = keeper_after([(each, 0.0) for each in events])

    keeper.handle(BEGAN, STOP)
    speaks = keeper.wake_at
    keeper.handle(THINKS, STOP)
    keeper.handle(SILENT_WORDED, STOP)

    assert (speaks, keeper.wake_at) == (None, None)


@promised
@given(st.lists(EVENTS, max_size=12), st.booleans())
def test_a_turn_that_is_over_is_always_owed_an_answer(
    events: list[LineEvent],
    thought: bool,  # noqa: FBT001 - drawn
) -> None:
    keeper = keeper_after([(each, 0.0) for each in events])

    keeper.handle(BEGAN, STOP)
    keeper.handle(SILENT, STOP)
    keeper.handle(judged(finished=not thought), STOP)
    keeper.handle(DUE, STOP)
    keeper.handle(CAME, STOP)

    assert keeper.wake_at is not None
    assert keeper.wake_at <= STOP + 1.43
