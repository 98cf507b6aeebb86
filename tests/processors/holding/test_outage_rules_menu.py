"""The outage menu while a whole stage is down: each event, and its actions."""

from dataclasses import replace
from math import inf

import pytest

from calls.events import CallerStarted, CallerStopped
from calls.line import CallerLine
from fallbacks.events import AttemptWon, StageExhausted, StepTaken
from processors.holding.line_rules import (
    MESSAGE_END_S,
    CallerMessage,
    ChoiceDone,
    CutLine,
    HangUp,
    KeepMessage,
    LineAction,
    RecordMessage,
    RunMenuChoice,
    SpeakFor,
    Spoken,
    Then,
)
from processors.holding.menu_rules import Choice, Consent
from processors.holding.outage_rules import REPLY_S, OutageMenu, OutageSettings, Step
from processors.holding.utterance_rules import Situation
from processors.turn.floor import Away, AwayChanged, Floor, TurnBegan

ALL = tuple(Step)
CLIPS = OutageSettings(steps=(Step.CLIP, Step.GOODBYE), clips=2)
MENU = OutageSettings(steps=(Step.WORDS, Step.KEYPAD, Step.CHOSEN, Step.GOODBYE), menus=2)


def new_menu(settings: OutageSettings | None = None) -> OutageMenu:
    return OutageMenu(Floor(CallerLine()), settings)


def speaks(menu: OutageMenu, now: float) -> None:
    menu._floor.caller_started(now)
    menu.handle(CallerStarted(at_s=now), now)


def stops(menu: OutageMenu, at: float, now: float) -> None:
    menu._floor.caller_stopped(at, now)
    menu.handle(CallerStopped(at_s=at, noticed_at_s=now), now)


def goes(menu: OutageMenu, now: float, *, away: bool) -> None:
    menu._floor.set_away(Away.PERSON, away=away)
    menu.handle(AwayChanged(Away.PERSON), now)


def exhausted(stage: str = "llm") -> StageExhausted:
    return StageExhausted(stage=stage, attempts=2)


def speak(*situations: Situation, then: Then = Then.WAIT, protected: bool = False) -> SpeakFor:
    return SpeakFor(situations=situations, then=then, protected=protected)


def at_the_menu(
    *, words: bool = False, stage: str = "llm", reads_number: bool = False
) -> OutageMenu:
    menu = new_menu(replace(MENU, reads_number=reads_number))
    menu.hears_words = words
    menu.handle(exhausted(stage), 0.0)
    return menu


def with_clip() -> tuple[OutageMenu, SpeakFor]:
    menu = new_menu(CLIPS)
    _, clip = menu.handle(exhausted(), 0.0)
    assert isinstance(clip, SpeakFor)
    return menu, clip


def carrying(digit: str) -> tuple[OutageMenu, tuple[LineAction, ...]]:
    menu = at_the_menu()
    actions = menu.press(digit, 1.0)
    assert actions[0] == CutLine()
    assert actions[1] == StepTaken(stage="llm", step=Step.CHOSEN.value)
    return menu, actions[2:]


def leaving_a_message(begins_at: float = 2.0) -> OutageMenu:
    menu, _ = carrying("2")
    message = CallerMessage(menu._floor, begins_at=begins_at, rate_hz=8000)
    menu.message = message
    return menu


@pytest.mark.parametrize(
    ("stage", "situation"),
    [("stt", Situation.STT), ("llm", Situation.LLM), ("tts", Situation.TTS)],
)
def test_a_stage_that_is_down_has_a_clip_of_its_own_or_the_general_one(
    stage: str, situation: Situation
) -> None:
    assert new_menu(CLIPS).handle(exhausted(stage), 0.0) == (
        StepTaken(stage=stage, step=Step.CLIP.value),
        speak(situation, Situation.DOWN),
    )


def test_with_several_stages_down_the_general_clip_comes_first() -> None:
    menu = new_menu(CLIPS)
    menu.handle(exhausted("llm"), 0.0)
    assert menu.handle(exhausted("tts"), 0.0) == ()  # one step is enough for one turn

    speaks(menu, 5.0)
    _, spoken = menu.handle(exhausted("tts"), 6.0)

    assert spoken == speak(Situation.DOWN, Situation.LLM)  # it is still about the first


def test_a_turn_without_a_sound_takes_the_next_step_too() -> None:
    menu = new_menu(CLIPS)
    menu.handle(exhausted(), 0.0)
    menu.handle(TurnBegan(), 5.0)  # keys, or words too soft for the VAD

    assert menu.handle(exhausted(), 6.0)[0] == StepTaken(stage="llm", step=Step.CLIP.value)


def test_a_stage_that_answers_again_does_not_count_as_down() -> None:
    menu = new_menu(CLIPS)
    menu.handle(exhausted("llm"), 0.0)
    menu.handle(exhausted("tts"), 0.0)
    menu.handle(AttemptWon(stage="tts", provider="b", attempt=3, after_s=0.1), 1.0)
    speaks(menu, 5.0)
    _, spoken = menu.handle(exhausted("llm"), 6.0)

    assert spoken == speak(Situation.LLM, Situation.DOWN)


@pytest.mark.parametrize(
    ("again", "situations"),
    [
        ("llm", (Situation.LLM, Situation.DOWN)),
        ("tts", (Situation.TTS, Situation.DOWN)),
    ],
)
def test_a_stage_that_fails_after_an_outage_is_announced_at_the_next_silence(
    again: str, situations: tuple[Situation, ...]
) -> None:
    menu = new_menu(CLIPS)
    _, clip = menu.handle(exhausted("llm"), 1.0)
    assert isinstance(clip, SpeakFor)
    menu.handle(Spoken(action=clip, dry_at=4.0), 1.1)
    menu.handle(AttemptWon(stage="llm", provider="b", attempt=3, after_s=0.1), 2.0)

    assert menu.handle(exhausted(again), 2.5) == ()  # the clip is still heard
    assert menu.in_charge
    assert menu.wake_at == 4.0 + REPLY_S
    assert menu.tick(4.0 + REPLY_S) == (
        StepTaken(stage=again, step=Step.CLIP.value),
        speak(*situations),
    )


def test_silence_counts_from_the_end_of_the_clip_between_two_outages() -> None:
    menu = new_menu(CLIPS)
    menu.handle(exhausted(), 1.0)
    menu.handle(AttemptWon(stage="llm", provider="b", attempt=3, after_s=0.1), 2.0)
    held = speak(Situation.LLM, Situation.DOWN, then=Then.HOLD)
    menu.handle(Spoken(action=held, dry_at=9.0), 6.0)

    menu.handle(exhausted(), 6.5)

    assert menu.wake_at == 9.0 + REPLY_S


@pytest.mark.parametrize(
    ("ear", "steps", "step", "offered"),
    [
        (False, ALL, Step.KEYPAD, Situation.MENU),
        (True, ALL, Step.WORDS, Situation.MENU_EITHER),
        (True, (Step.WORDS, Step.CHOSEN, Step.GOODBYE), Step.WORDS, Situation.MENU_WORDS),
    ],
)
def test_the_menu_offers_the_possible_choices(
    ear: bool,  # noqa: FBT001 - a table
    steps: tuple[Step, ...],
    step: Step,
    offered: Situation,
) -> None:
    menu = new_menu(OutageSettings(steps=steps, clips=0))
    menu.hears_words = ear

    assert menu.handle(exhausted(), 0.0) == (
        StepTaken(stage="llm", step=step.value),
        speak(offered),
    )


@pytest.mark.parametrize(
    ("digit", "expected"),
    [
        ("1", (RunMenuChoice(choice=Choice.CALLBACK, stage="llm"),)),
        ("0", (RunMenuChoice(choice=Choice.PERSON, stage="llm"),)),
        ("2", (speak(Situation.MESSAGE, then=Then.NOTHING, protected=True), RecordMessage())),
    ],
)
def test_a_key_is_carried_out(digit: str, expected: tuple[LineAction, ...]) -> None:
    menu, actions = carrying(digit)

    assert actions == expected
    assert menu.has_the_line
    assert menu.in_charge


def test_a_key_for_a_callback_reads_out_the_number_and_counts_when_pressed_again() -> None:
    menu = at_the_menu(reads_number=True)

    first = menu.press("1", 1.0)
    second = menu.press("1", 9.0)

    assert first == (CutLine(), speak(Situation.CONFIRM_NUMBER))
    assert second[-1] == RunMenuChoice(choice=Choice.CALLBACK, stage="llm")


@pytest.mark.parametrize("between", ["another key", "silence"])
def test_a_callback_that_is_not_confirmed_is_not_noted(between: str) -> None:
    menu = at_the_menu(reads_number=True)
    menu.press("1", 1.0)

    if between == "silence":
        actions = menu.tick(1.0 + REPLY_S)
        again = menu.press("1", 9.0)
        assert again == (CutLine(), speak(Situation.CONFIRM_NUMBER))
    else:
        actions = menu.press("2", 5.0)

    assert not [action for action in actions if action == CALLED_BACK]


CALLED_BACK = RunMenuChoice(choice=Choice.CALLBACK, stage="llm")


def test_a_spoken_callback_request_reads_out_the_number() -> None:
    menu = at_the_menu(words=True, reads_number=True)

    asked = menu.hear(Choice.CALLBACK, 1.0)

    assert asked == (CutLine(), speak(Situation.ASK_NUMBER))
    assert menu.hear(Consent.YES, 6.0)[-1] == CALLED_BACK


def test_an_unknown_key_repeats_the_menu() -> None:
    assert at_the_menu().press("7", 1.0) == (
        CutLine(),
        StepTaken(stage="llm", step=Step.KEYPAD.value),
        speak(Situation.MENU),
    )


def test_a_key_before_the_menu_does_not_interrupt_the_line() -> None:
    assert new_menu(CLIPS).press("1", 1.0) == ()


def test_without_keys_the_caller_is_told_how_a_message_ends() -> None:
    steps = (Step.WORDS, Step.CHOSEN, Step.GOODBYE)
    menu = new_menu(OutageSettings(steps=steps))
    menu.hears_words = True
    menu.handle(exhausted(), 0.0)
    menu.hear(Choice.MESSAGE, 1.0)

    assert menu.hear(Consent.YES, 2.0)[2:] == (
        speak(Situation.MESSAGE_WORDS, Situation.MESSAGE, then=Then.NOTHING, protected=True),
        RecordMessage(),
    )


def test_the_turn_of_a_spoken_choice_takes_no_step_of_its_own() -> None:
    menu = at_the_menu(words=True)
    speaks(menu, 1.0)
    menu.hear(Choice.PERSON, 2.0)

    assert menu.handle(exhausted(), 2.5) == ()


def test_a_word_that_is_no_choice_leaves_the_step_to_the_turn() -> None:
    menu = at_the_menu(words=True)
    speaks(menu, 1.0)

    assert menu.hear(Consent.YES, 2.0) == ()  # to what?
    assert menu.handle(exhausted(), 2.5) != ()


GOODBYE = (
    StepTaken(stage="llm", step=Step.GOODBYE.value),
    speak(Situation.GOODBYE, then=Then.HANG_UP, protected=True),
)


@pytest.mark.parametrize(
    ("digit", "result", "said"),
    [
        ("1", ChoiceDone(choice=Choice.CALLBACK, done=True), Situation.CALLBACK),
        ("0", ChoiceDone(choice=Choice.PERSON, done=True), None),  # the caller has been with them
        ("2", ChoiceDone(choice=Choice.MESSAGE, done=False), None),
        ("2", ChoiceDone(choice=Choice.MESSAGE, done=True, lost=True), Situation.NOT_KEPT),
    ],
)
def test_the_result_is_announced_and_then_goodbye(
    digit: str, result: ChoiceDone, said: Situation | None
) -> None:
    menu, _ = carrying(digit)

    told = (speak(said, then=Then.NOTHING, protected=True),) if said else ()
    assert menu.handle(result, 2.0) == (*told, *GOODBYE)


def test_an_impossible_step_is_replaced_by_the_next_best() -> None:
    menu, _ = carrying("0")

    assert menu.handle(ChoiceDone(choice=Choice.PERSON, done=False), 2.0) == (
        RunMenuChoice(choice=Choice.CALLBACK, stage="llm"),
    )
    assert menu.handle(ChoiceDone(choice=Choice.CALLBACK, done=False), 3.0) == (
        speak(Situation.MESSAGE, then=Then.NOTHING, protected=True),
        RecordMessage(),
    )


def test_another_stage_ends_nothing_by_answering() -> None:
    menu = new_menu(CLIPS)
    menu.handle(exhausted("llm"), 1.0)

    assert menu.handle(AttemptWon(stage="tts", provider="b", attempt=3, after_s=0.1), 4.0) == ()
    assert menu.in_charge


def test_keys_are_accepted_only_at_the_menu_and_in_a_message() -> None:
    assert not new_menu(MENU).takes_keys
    assert at_the_menu().takes_keys
    assert leaving_a_message().takes_keys


@pytest.mark.parametrize("dry_at", [5.0, None], ids=["after the last word", "without a text"])
def test_the_call_ends_after_the_goodbye(dry_at: float | None) -> None:
    menu, _ = carrying("0")
    *_, goodbye = menu.handle(ChoiceDone(choice=Choice.PERSON, done=True), 2.0)
    assert isinstance(goodbye, SpeakFor)
    menu.handle(Spoken(action=goodbye, dry_at=dry_at), 2.1)

    assert menu.tick(4.9) == (() if dry_at else (HangUp(),))
    assert menu.tick(5.0) == ((HangUp(),) if dry_at else ())
    assert menu.tick(6.0) == ()


def test_silence_counts_from_the_end_of_the_speech() -> None:
    menu, clip = with_clip()
    menu.handle(Spoken(action=clip, dry_at=3.0), 0.1)

    assert menu.wake_at == 3.0 + REPLY_S
    assert menu.tick(3.0 + REPLY_S) != ()


def test_a_step_without_a_text_left_is_followed_by_the_next_at_once() -> None:
    menu, clip = with_clip()

    assert menu.handle(Spoken(action=clip, dry_at=None), 0.1) == (
        StepTaken(stage="llm", step=Step.CLIP.value),
        speak(Situation.LLM, Situation.DOWN),
    )


def test_a_caller_who_speaks_first_is_not_interrupted_by_the_next_step() -> None:
    menu, clip = with_clip()
    menu.handle(Spoken(action=clip, dry_at=inf), 0.1)

    assert menu.tick(1000.0) == ()


def test_a_cough_without_a_turn_causes_no_endless_silence() -> None:
    menu = new_menu(CLIPS)
    menu.handle(exhausted(), 0.0)
    speaks(menu, 1.0)
    assert menu.wake_at is None

    stops(menu, 1.5, 1.7)

    assert menu.wake_at == 1.7 + REPLY_S


def test_no_step_is_taken_while_the_caller_is_with_a_person() -> None:
    menu = new_menu(CLIPS)
    menu.handle(exhausted(), 0.0)
    goes(menu, 1.0, away=True)
    stops(menu, 2.0, 2.2)

    assert menu.wake_at is None
    assert menu.tick(1000.0) == ()
    assert menu.handle(exhausted(), 1000.0) == ()

    goes(menu, 1001.0, away=False)

    assert menu.wake_at == 1001.0 + REPLY_S
    assert menu.tick(1001.0 + REPLY_S) != ()


def test_the_menu_takes_no_key_and_no_word_of_a_caller_who_is_with_a_person() -> None:
    menu = at_the_menu(words=True)
    goes(menu, 0.9, away=True)

    assert menu.press("1", 1.0) == ()
    assert menu.hear(Choice.MESSAGE, 1.0) == ()
    assert (menu.takes_keys, menu.listens) == (True, False)


def test_a_step_of_the_local_voice_says_nothing_by_itself() -> None:
    steps = (Step.LOCAL, Step.GOODBYE)
    menu = new_menu(OutageSettings(steps=steps))

    assert menu.handle(exhausted("tts"), 0.0) == (
        StepTaken(stage="tts", step=Step.GOODBYE.value),
        GOODBYE[1],
    )


def test_a_message_ends_by_silence_and_is_kept() -> None:
    menu = leaving_a_message(2.0)
    message = menu.message

    assert menu.wake_at == 2.0 + MESSAGE_END_S
    assert message is not None
    assert menu.tick(2.0 + MESSAGE_END_S) == (KeepMessage(message=message),)
    assert menu.message is None
    assert menu.tick(100.0) == ()


def test_a_key_ends_a_message() -> None:
    menu = leaving_a_message(2.0)
    message = menu.message
    assert message is not None

    assert menu.press("5", 3.0) == (CutLine(),)
    assert menu.tick(3.0) == (KeepMessage(message=message),)


def test_a_message_is_kept_when_the_caller_hangs_up() -> None:
    menu = leaving_a_message()
    message = menu.message
    assert message is not None

    assert menu.give_up_message() == (KeepMessage(message=message),)
    assert menu.give_up_message() == ()


def test_a_stage_that_recovers_does_not_interrupt_a_message() -> None:
    menu = leaving_a_message()
    won = AttemptWon(stage="llm", provider="b", attempt=3, after_s=0.1)

    assert menu.handle(won, 3.0) == ()
    assert menu.has_the_line


def test_nothing_is_said_after_the_goodbye() -> None:
    menu = new_menu(OutageSettings(steps=(Step.GOODBYE,)))
    menu.handle(exhausted(), 0.0)
    speaks(menu, 1.0)

    assert menu.has_the_line
    assert menu.handle(exhausted("tts"), 2.0) == ()
    assert menu.press("1", 3.0) == ()
