"""How a call's line is kept while a stage has nobody left: what is told, when, and who has it."""

import pytest

from fallbacks.descent import Descent, DescentSettings, Step
from fallbacks.facts import AttemptWon, StageExhausted, StageRecovered, StepTaken
from fallbacks.holding import Holding
from fallbacks.line_events import (
    AnswerDue,
    AnswerSounded,
    CallerBegan,
    CallerFellSilent,
    EarChecked,
    HearWords,
    LineEvent,
    MenuKeyPressed,
    MenuWordOwed,
    RestTaken,
    SpeakFor,
    Then,
)
from fallbacks.line_keeper import LineKeeper
from fallbacks.utterances import Situation

STOP = 100.0
FIRST_S = 1.05
BEGAN, DUE = CallerBegan(), AnswerDue()
SILENT_WORDED = CallerFellSilent(stopped_at=STOP, worded=True)
SOUNDED = AnswerSounded(dry_at=102.0, audible=True)
MODEL_WON = AttemptWon(stage="llm", provider="a", attempt=1, after_s=0.3)


def owing_keeper(*steps: Step) -> LineKeeper:
    """Return one whose caller has just finished."""
    settings = DescentSettings(steps=steps) if steps else DescentSettings()
    keeper = LineKeeper(Holding(), Descent(settings))
    keeper.handle(BEGAN, STOP - 1.0)
    keeper.handle(SILENT_WORDED, STOP + 0.2)
    return keeper


def test_a_stage_with_nobody_left_is_spoken_of_in_place_of_a_filler() -> None:
    keeper = owing_keeper()
    keeper.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)

    actions = keeper.tick(STOP + 0.5)

    assert actions == (
        HearWords(),
        StepTaken(stage="llm", step="clip"),
        SpeakFor(situations=(Situation.LLM, Situation.DOWN), then=Then.WAIT),
    )
    assert not keeper.holding


def test_a_stage_is_down_from_when_that_was_spoken_of_until_it_answers() -> None:
    keeper = owing_keeper()
    keeper.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)
    keeper.tick(STOP + 0.5)

    assert keeper.wake_at == STOP + 4.0  # the way down has the line: no filler, but the next step
    (recovered,) = keeper.handle(MODEL_WON, STOP + 8.5)

    assert recovered == StageRecovered(stage="llm", down_s=8.0)


@pytest.mark.parametrize(
    ("stage", "event", "due_s"),
    [
        ("tts", DUE, 0.6),
        ("tts", RestTaken(spoken=True), None),
        ("llm", RestTaken(spoken=True), 0.5),
        ("llm", MenuWordOwed(until=STOP + 0.9), 0.9),
        ("stt", DUE, FIRST_S),
    ],
    ids=[
        "a voice's last words may be on their way",
        "the local voice takes over",
        "the local voice thinks no answers up",
        "a word of the menu is waited for",
        "a recogniser's end is told behind a pause",
    ],
)
def test_the_news_of_a_stage_is_told_when_it_may_be(
    stage: str, event: LineEvent, due_s: float | None
) -> None:
    keeper = owing_keeper()
    keeper.handle(SOUNDED, STOP + 0.3)

    keeper.handle(StageExhausted(stage=stage, attempts=2), STOP + 0.5)
    keeper.handle(event, STOP + 0.5)

    at = keeper.wake_at
    assert (None if at is None else round(at - STOP, 6)) == due_s


def test_the_menus_words_are_listened_for_once_the_menu_is_read() -> None:
    keeper = owing_keeper(Step.WORDS, Step.GOODBYE)
    keeper.handle(EarChecked(usable=True), STOP + 0.3)
    before = keeper.listens

    keeper.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)
    keeper.tick(STOP + 0.5)

    assert (before, keeper.listens) == (False, True)


def test_nothing_is_said_into_a_message_that_the_caller_leaves() -> None:
    keeper = owing_keeper(Step.KEYPAD, Step.CHOSEN, Step.GOODBYE)
    keeper.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)
    keeper.tick(STOP + 0.5)
    keeper.handle(MenuKeyPressed(digit="2"), STOP + 5.0)

    keeper.handle(BEGAN, STOP + 9.0)
    keeper.handle(CallerFellSilent(stopped_at=STOP + 12.0, worded=True), STOP + 12.2)

    assert keeper.wake_at is None
    assert keeper.tick(STOP + 13.5) == ()
