"""The outage menu and its steps while a whole stage is down."""

import json

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from calls.line import CallerLine
from fallbacks.events import AttemptWon, StageExhausted, StageRecovered, StepTaken
from processors.holding.line_rules import LineAction, RecordMessage, RunMenuChoice, SpeakFor, Then
from processors.holding.menu_rules import (
    CHOICES,
    PHRASES,
    Choice,
    Consent,
    Meaning,
    is_recognised_here,
)
from processors.holding.outage_rules import (
    BURST_S,
    QUESTIONS,
    OutageMenu,
    OutageSettings,
    OutageSteps,
    Step,
)
from processors.holding.utterance_rules import Situation
from processors.turn.floor import Floor

ASKS = {entry.question: choice for choice, entry in CHOICES.items()}


def done(actions: tuple[LineAction, ...]) -> str:
    """Return what was decided, in short: a step, a question, a choice, or nothing."""
    found: list[str] = []
    for action in actions:
        match action:
            case StepTaken() if action.step != Step.CHOSEN:
                found.append(action.step)
            case SpeakFor() if action.situations[0] in ASKS:
                found.append(f"ask {ASKS[action.situations[0]]}")
            case RunMenuChoice():
                found.append(f"carry {action.choice}")
            case RecordMessage():
                found.append("carry message")
            case StageRecovered():
                found.append(f"resume {action.down_s}")
            case _:
                pass
    return " ".join(found)


class OutageCall(OutageMenu):
    """A call with an outage, whose decisions come in short."""

    def __init__(self, settings: OutageSettings | None = None) -> None:
        super().__init__(Floor(CallerLine()), settings)

    def down(self, stage: str, now: float, *, told: bool = False) -> str:
        self._stepped = told
        return done(self.handle(StageExhausted(stage=stage, attempts=2), now))

    def key(self, digit: str, now: float) -> str:
        return done(self.press(digit, now))

    def heard(self, meaning: Meaning, now: float) -> str:
        return done(self.hear(meaning, now))

    def carried(self) -> str:
        return done(self._say_goodbye())

    def recovered(self, now: float) -> str:
        stage = self._outage.stage if self._outage else "llm"
        return done(self.handle(AttemptWon(stage=stage, provider="a", attempt=1, after_s=0.1), now))

    def silence(self, now: float) -> str:
        return done(self.tick(now))


def at_the_menu() -> OutageCall:
    call = OutageCall()
    for now in (0.0, 10.0, 20.0):
        actions = call.down("llm", now)
    assert actions == "keypad"
    return call


def test_every_turn_continues_where_the_last_one_stopped() -> None:
    call = OutageCall()

    assert [call.down("tts", float(now)) for now in range(5)] == [
        "clip",
        "clip",
        "keypad",
        "keypad",
        "goodbye",
    ]


MENUS = (Step.CLIP, Step.KEYPAD, Step.GOODBYE)


@pytest.mark.parametrize(
    ("stage", "deaf", "steps", "words", "taken"),
    [
        ("stt", True, tuple(Step), False, ["keypad", "keypad", "goodbye"]),
        ("stt", True, tuple(Step), True, ["words", "words", "goodbye"]),
        ("stt", True, MENUS, True, ["keypad", "keypad", "goodbye"]),
        ("stt", False, tuple(Step), False, ["clip", "clip", "keypad"]),
        ("llm", True, tuple(Step), False, ["clip", "clip", "keypad"]),
        ("tts", True, tuple(Step), False, ["clip", "clip", "keypad"]),
        ("stt", True, (Step.CLIP, Step.GOODBYE), True, ["clip", "clip", "goodbye"]),
        ("stt", True, (Step.CLIP, Step.WORDS, Step.GOODBYE), False, ["clip", "clip", "goodbye"]),
    ],
)
def test_nobody_is_asked_to_repeat_while_all_recognisers_are_known_to_be_down(
    stage: str, *, deaf: bool, steps: tuple[Step, ...], words: bool, taken: list[str]
) -> None:
    call = OutageCall(OutageSettings(steps=steps, is_deaf=lambda _: deaf))
    call.hears_words = words

    assert [call.down(stage, 10.0 * turn) for turn in range(3)] == taken


def test_an_outage_that_becomes_known_after_the_first_question_leads_to_the_menu() -> None:
    call = OutageCall(OutageSettings(is_deaf=lambda now: now >= 1.0))

    assert call.down("stt", 0.0) == "clip"
    call.quiet_since = 2.0
    assert call.silence(10.0) == "keypad"


def test_the_menu_says_once_that_speech_recognition_is_down() -> None:
    menu = OutageMenu(Floor(CallerLine()), OutageSettings(is_deaf=lambda _: True))

    _, why, choices = menu.handle(StageExhausted(stage="stt", attempts=0), 0.0)

    assert why == SpeakFor(situations=(Situation.DEAF, Situation.DOWN), then=Then.NOTHING)
    assert choices == SpeakFor(situations=(Situation.MENU,), then=Then.WAIT)
    assert menu.tick(3.5) == (StepTaken(stage="stt", step="keypad"), choices)


def test_the_silence_after_a_message_causes_no_goodbye_before_it_is_kept() -> None:
    call = at_the_menu()
    call.key("2", 21.0)
    call.quiet_since = 30.0  # the caller stops

    assert call.silence(40.0) == ""
    assert call.carried() == "goodbye"


def test_a_typed_number_repeats_the_menu_once() -> None:
    call = at_the_menu()

    assert call.key("7", 21.0) == "keypad"
    assert [call.key("7", 21.0 + BURST_S / 2 * at) for at in (1, 2, 3)] == ["", "", ""]
    assert call.key("7", 30.0) == "goodbye"


def test_when_the_stage_answers_again_the_conversation_continues() -> None:
    call = OutageCall()
    call.down("llm", 1.0)

    assert call.recovered(8.0) == "resume 7.0"
    assert call.step is None
    assert call.wake_at is None
    assert call.down("llm", 20.0) == "clip"


def test_another_stage_down_after_an_outage_takes_the_step_after_it() -> None:
    call = OutageCall()
    call.down("stt", 1.0)
    call.recovered(5.0)

    call.down("llm", 6.0, told=True)

    assert call.silence(6.0) == "clip"  # it was silent since 1.0
    assert call.recovered(8.0) == "resume 2.0"


def test_a_stage_is_down_once_and_never_after_the_goodbye() -> None:
    call = OutageCall()
    call.down("llm", 1.0)
    call.down("tts", 2.0, told=True)
    going_on = call.recovered(3.0)
    ended = OutageCall(OutageSettings(steps=()))
    ended.down("llm", 1.0)

    ended.down("llm", 2.0, told=True)

    assert going_on == "resume 2.0"
    assert ended.wake_at is None


def test_the_steps_are_the_owners_to_choose() -> None:
    call = OutageCall(OutageSettings(steps=(Step.KEYPAD, Step.GOODBYE), menus=1))

    assert call.down("llm", 0.0) == "keypad"
    assert call.key("1", 1.0) == "goodbye"


def test_a_step_before_the_menu_carries_out_no_choice() -> None:
    steps = (Step.CLIP, Step.CHOSEN, Step.KEYPAD, Step.GOODBYE)
    call = OutageCall(OutageSettings(steps=steps, clips=0))
    call.down("llm", 0.0)

    assert call.key("1", 1.0) == "goodbye"


def test_a_spoken_menu_after_the_keypad_menu_is_read_as_often_as_is_left() -> None:
    call = OutageCall(OutageSettings(steps=(Step.KEYPAD, Step.WORDS, Step.GOODBYE), menus=2))
    call.hears_words = True

    assert [call.down("llm", float(now)) for now in range(3)] == [
        "keypad",
        "keypad",
        "goodbye",
    ]


def test_no_silence_is_too_long_without_an_outage_or_after_the_goodbye() -> None:
    call = OutageCall(OutageSettings(steps=(Step.GOODBYE,)))
    call.quiet_since = 5.0
    before = call.wake_at
    call.down("llm", 10.0)
    call.quiet_since = 12.0

    assert (before, call.wake_at) == (None, None)


def test_a_key_after_the_outage_chooses_nothing() -> None:
    call = at_the_menu()
    call.recovered(21.0)

    assert call.key("1", 22.0) == ""


def at_the_menu_of_words(*, steps: tuple[Step, ...] = tuple(Step), menus: int = 2) -> OutageCall:
    call = OutageCall(OutageSettings(steps=steps, clips=0, menus=menus))
    call.hears_words = True
    call.down("stt", 0.0)
    assert call.listens
    return call


def test_a_line_without_keys_is_offered_only_words() -> None:
    call = OutageCall(OutageSettings(steps=(Step.WORDS, Step.CHOSEN, Step.GOODBYE)))
    call.hears_words = True

    assert call.down("stt", 0.0) == "words"
    assert call.key("1", 1.0) == ""


def test_a_machine_that_loses_its_recogniser_offers_only_keys_from_then_on() -> None:
    call = at_the_menu_of_words()
    call.hears_words = False

    assert call.down("stt", 5.0) == "keypad"
    assert not call.listens
    assert call.key("1", 6.0) == "carry callback"


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        (Choice.CALLBACK, Choice.CALLBACK),
        (Choice.MESSAGE, Choice.MESSAGE),
        (Choice.PERSON, Choice.PERSON),
        ("1", Choice.CALLBACK),
        ("2", Choice.MESSAGE),
        ("0", Choice.PERSON),
    ],
)
def test_a_spoken_choice_is_confirmed_and_then_done(said: Meaning, choice: Choice) -> None:
    call = at_the_menu_of_words()

    assert call.heard(said, 5.0) == f"ask {choice}"
    assert call.heard(Consent.YES, 9.0) == f"carry {choice}"
    assert call.step is Step.CHOSEN


@pytest.mark.parametrize("said", [Consent.NO, "7"], ids=["no", "a digit that is not offered"])
def test_after_a_no_or_an_unknown_digit_the_menu_is_read_again(
    said: Meaning,
) -> None:
    call = at_the_menu_of_words()
    call.heard(Choice.CALLBACK, 5.0)

    assert call.heard(said, 9.0) == "words"
    assert call.heard(Consent.YES, 15.0) == ""


def test_another_choice_instead_of_a_yes_is_confirmed_too() -> None:
    call = at_the_menu_of_words()
    call.heard(Choice.CALLBACK, 5.0)

    assert call.heard("2", 9.0) == "ask message"
    assert call.heard(Consent.YES, 12.0) == "carry message"


def test_words_after_a_misunderstood_question_are_no_confirmation() -> None:
    call = at_the_menu_of_words()
    call.heard(Choice.CALLBACK, 5.0)
    call.down("stt", 9.0)  # the caller said something else

    assert call.heard(Consent.YES, 12.0) == ""


def test_a_key_needs_no_confirmation_even_while_one_is_awaited() -> None:
    call = at_the_menu_of_words()
    call.heard(Choice.CALLBACK, 5.0)

    assert call.key("2", 6.0) == "carry message"


def test_the_number_of_questions_is_bounded() -> None:
    call = at_the_menu_of_words(menus=1)
    asked = [call.heard(Choice.CALLBACK, float(now)) for now in range(QUESTIONS + 1)]

    assert asked[-1] == "goodbye"


def test_an_unanswered_question_is_followed_by_the_menu_after_a_long_silence() -> None:
    call = at_the_menu_of_words()
    call.heard(Choice.CALLBACK, 5.0)
    call.quiet_since = 8.0

    assert call.silence(11.5) == "words"


def test_every_repetition_of_the_menu_restarts_the_silence() -> None:
    call = at_the_menu_of_words(menus=6)
    begun = [call.wake_at]
    call.key("7", 1.0)
    begun.append(call.wake_at)
    call.heard("7", 2.0)
    begun.append(call.wake_at)
    call.heard(Choice.CALLBACK, 2.5)
    call.heard(Consent.NO, 3.0)
    begun.append(call.wake_at)
    call.silence(8.0)

    assert [*begun, call.wake_at] == [3.5, 4.5, 5.5, 6.5, 11.5]


def test_words_before_the_menu_and_after_a_choice_are_ignored() -> None:
    call = OutageCall()
    call.hears_words = True
    call.down("stt", 0.0)
    before = call.heard(Choice.CALLBACK, 1.0)
    chosen = at_the_menu_of_words()
    chosen.key("2", 1.0)

    assert before == ""
    assert chosen.heard(Choice.CALLBACK, 2.0) == ""


def test_a_stage_that_answers_again_clears_the_pending_question() -> None:
    call = at_the_menu_of_words()
    call.heard(Choice.CALLBACK, 5.0)
    call.recovered(6.0)
    call.down("stt", 20.0)

    assert call.heard(Consent.YES, 21.0) == ""


def test_the_phrases_have_all_digits_all_choices_yes_and_no() -> None:
    assert set(PHRASES.values()) == {*"0123456789", *Choice, *Consent}


@pytest.mark.parametrize(
    ("language", "heard"), [("en", True), ("en-GB", True), ("es", False), ("ru", False)]
)
def test_the_phrases_are_recognised_only_in_english(language: str, *, heard: bool) -> None:
    assert is_recognised_here(language) is heard


def test_the_menu_is_read_a_fixed_number_of_times_in_any_form() -> None:
    outage = OutageSteps("llm", OutageSettings(clips=0), now=0.0)

    assert outage.go(words=True) == Step.WORDS
    assert outage.go(words=False) == Step.KEYPAD
    assert outage.go(words=True) is None
    assert outage.step is Step.GOODBYE


@pytest.mark.parametrize("below", [False, True])
def test_a_choice_leads_forward_and_never_back(*, below: bool) -> None:
    steps = (Step.KEYPAD, Step.CHOSEN) if below else (Step.CHOSEN, Step.KEYPAD)
    outage = OutageSteps("llm", OutageSettings(steps=steps), now=0.0)
    outage.go(words=False)

    assert outage.choose() is below
    assert outage.step is (Step.CHOSEN if below else None)


class Machine(RuleBasedStateMachine):
    """A call never ends in silence, never loops, and says goodbye once."""

    @initialize(steps=st.permutations(list(Step)), length=st.integers(0, 5))
    def begin(self, steps: list[Step], length: int) -> None:
        self.call = OutageCall(OutageSettings(steps=tuple(steps[:length])))
        self.now = 0.0
        self.said = 0
        self.goodbyes = 0
        self.asked: Choice | None = None
        self.carrying = False

    def _do(self, decided: str) -> None:
        if decided:
            assert not self.goodbyes, "nothing is said after the goodbye"
        verb, _, choice = decided.partition(" ")
        match verb:
            case "carry":
                self.carrying = True
            case "goodbye":
                self.goodbyes += 1
            case "resume":
                self.said = 0
            case "":
                pass
            case _:
                self.said += 1
                self.asked = Choice(choice) if verb == "ask" else self.asked
                self.call.quiet_since = self.now + 1.0
        assert self.call.over == bool(self.goodbyes)
        assert self.said <= 5 + QUESTIONS

    @rule()
    def turn(self) -> None:
        self._do(self.call.down("llm", self.now))

    @rule()
    def turn_again(self) -> None:
        self.call.down("llm", self.now, told=True)

    @rule(digit=st.sampled_from("01279#"))
    def press(self, digit: str) -> None:
        self._do(self.call.key(digit, self.now))

    @rule(words=st.booleans())
    def hear(self, words: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        self.call.hears_words = words

    @rule(meaning=st.sampled_from([*Choice, *Consent, "1", "7"]))
    def say(self, meaning: Meaning) -> None:
        asked, self.asked = self.asked, None
        decided = self.call.heard(meaning, self.now)
        self._do(decided)
        if decided.startswith("carry"):
            assert (meaning, decided) == (Consent.YES, f"carry {asked}"), "only what was asked back"

    @precondition(lambda self: self.carrying)
    @rule()
    def carry(self) -> None:
        self.carrying = False
        self._do(self.call.carried())
        assert self.goodbyes == 1

    @rule(after_s=st.sampled_from([0.1, 3.6, 20.0]))
    def wait(self, after_s: float) -> None:
        self.now += after_s
        self._do(self.call.silence(self.now))

    @rule()
    def recover(self) -> None:
        self._do(self.call.recovered(self.now))

    def teardown(self) -> None:
        """Left alone, a call whose stage stays down ends with a goodbye."""
        if not hasattr(self, "call") or self.call.over:
            return
        if self.carrying is not None:
            self._do(self.call.carried())
        self._do(self.call.down("llm", self.now))
        while not self.call.over:
            assert self.call.wake_at is not None
            assert self.call.wake_at - self.now <= 1.0 + 4.0
            self.now = self.call.wake_at
            self._do(self.call.silence(self.now))
        assert self.goodbyes == 1


TestDescent = Machine.TestCase


@pytest.mark.parametrize("taken", range(1, 5))
def test_an_outage_goes_on_in_another_process_where_it_was(taken: int) -> None:
    call, other = OutageCall(), OutageCall()
    for turn in range(taken):
        call.down("llm", 10.0 * turn)
    other.restore(json.loads(json.dumps(call.kept)), 50.0)

    assert other.step is call.step
    for turn in range(5, 10):
        assert other.down("llm", 10.0 * turn) == call.down("llm", 10.0 * turn)


def test_a_choice_that_was_under_way_is_offered_again_in_another_process() -> None:
    call, other = OutageCall(), OutageCall()
    for turn in range(3):
        call.down("llm", 10.0 * turn)
    assert call.key("2", 35.0) == "carry message"
    other.restore(call.kept, 50.0)

    assert not other.has_the_line
    assert other.key("2", 55.0) == "carry message"


@pytest.mark.parametrize(
    ("steps", "menu"),
    [
        (tuple(Step), Step.WORDS),
        ((Step.WORDS, Step.CHOSEN, Step.GOODBYE), Step.WORDS),
        ((Step.KEYPAD, Step.WORDS, Step.CHOSEN, Step.GOODBYE), Step.KEYPAD),
    ],
)
def test_the_menu_that_led_to_a_choice_is_offered_again_in_another_process(
    steps: tuple[Step, ...], menu: Step
) -> None:
    call = OutageCall(OutageSettings(steps=steps, clips=0))
    other = OutageCall(OutageSettings(steps=steps, clips=0))
    call.hears_words = other.hears_words = True
    assert call.down("stt", 0.0) == menu
    call.quiet_since = 5.0
    if menu is Step.WORDS:
        call.heard(Choice.MESSAGE, 5.0)
        assert call.heard(Consent.YES, 6.0) == "carry message"
    else:
        assert call.key("2", 6.0) == "carry message"
    other.restore(json.loads(json.dumps(call.kept)), 50.0)

    assert other.step is menu
    assert other.listens is (menu is Step.WORDS)


def test_without_an_outage_there_is_nothing_to_go_on_with() -> None:
    call = OutageCall()
    call.down("llm", 10.0)
    call.handle(AttemptWon(stage="llm", provider="openai", attempt=1, after_s=0.1), 20.0)

    assert not call.kept
