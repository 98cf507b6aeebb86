"""The way down while a whole stage is down, and up again."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fallbacks.descent import (
    Carry,
    Choice,
    Descending,
    Descent,
    DescentSettings,
    GoOn,
    PlayClip,
    ReadMenu,
    SayGoodbye,
    Step,
    UseLocal,
)


def at_the_menu() -> Descent:
    call = Descent()
    for now in (0.0, 10.0, 20.0):
        actions = call.down("llm", now)
    assert actions == (ReadMenu(),)
    return call


def test_every_turn_goes_on_from_where_the_last_one_stopped() -> None:
    call = Descent(local=frozenset({"tts"}))

    assert [call.down("tts", float(now)) for now in range(6)] == [
        (PlayClip(stage="tts", number=0),),
        (PlayClip(stage="tts", number=1),),
        (UseLocal(stage="tts"),),
        (ReadMenu(),),
        (ReadMenu(),),
        (SayGoodbye(carried=None),),
    ]


def test_a_stage_without_a_local_rung_passes_that_step() -> None:
    call = at_the_menu()

    assert call.step is Step.KEYPAD


def test_silence_goes_down_as_well() -> None:
    call = Descent()
    call.down("llm", 0.0)
    call.spoken(2.0)

    assert call.tick(5.4) == ()
    assert call.tick(5.5) == (PlayClip(stage="llm", number=1),)


def test_there_is_no_silence_while_the_caller_speaks() -> None:
    call = Descent()
    call.down("llm", 0.0)
    call.spoken(2.0)
    call.caller_started()

    assert call.wake_at is None


def test_what_the_caller_chose_is_done_and_ends_with_a_goodbye() -> None:
    call = at_the_menu()

    assert call.key("1", 21.0) == (Carry(choice=Choice.CALLBACK),)
    assert call.wake_at is None
    assert call.carried(Choice.CALLBACK, done=True) == (SayGoodbye(carried=Choice.CALLBACK),)
    assert call.over


def test_what_could_not_be_done_still_ends_with_a_goodbye() -> None:
    call = at_the_menu()
    call.key("0", 21.0)

    assert call.carried(Choice.PERSON, done=False) == (SayGoodbye(carried=None),)


def test_a_key_that_means_nothing_gets_the_menu_again_and_then_a_goodbye() -> None:
    call = at_the_menu()

    assert call.key("7", 21.0) == (ReadMenu(),)
    assert call.key("7", 22.0) == (SayGoodbye(carried=None),)


def test_keys_before_the_menu_are_not_meant_for_it() -> None:
    call = Descent()
    call.down("llm", 0.0)

    assert call.key("1", 1.0) == ()


def test_when_the_stage_answers_again_the_conversation_goes_on() -> None:
    call = Descent()
    call.down("llm", 0.0)

    assert call.recovered(7.0) == (GoOn(stage="llm", down_s=7.0),)
    assert call.step is None
    assert call.wake_at is None
    assert call.down("llm", 20.0) == (PlayClip(stage="llm", number=0),)


def test_the_steps_are_the_owners_to_choose() -> None:
    call = Descent(DescentSettings(steps=(Step.KEYPAD, Step.GOODBYE), menus=1))

    assert call.down("llm", 0.0) == (ReadMenu(),)
    assert call.key("1", 1.0) == (SayGoodbye(carried=None),)


class Machine(RuleBasedStateMachine):
    """A call never ends in silence, never loops, and says goodbye once."""

    @initialize(local=st.booleans(), steps=st.permutations(list(Step)), length=st.integers(0, 5))
    def begin(self, local: bool, steps: list[Step], length: int) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        self.call = Descent(
            DescentSettings(steps=tuple(steps[:length])),
            local=frozenset({"llm"}) if local else frozenset(),
        )
        self.now = 0.0
        self.said = 0
        self.goodbyes = 0
        self.carrying: Choice | None = None

    def _do(self, actions: tuple[Descending, ...]) -> None:
        assert len(actions) <= 1
        for action in actions:
            assert not self.goodbyes, "nothing is said after the goodbye"
            match action:
                case Carry():
                    self.carrying = action.choice
                case SayGoodbye():
                    self.goodbyes += 1
                case GoOn():
                    self.said = 0
                case _:
                    self.said += 1
                    self.call.spoken(self.now + 1.0)
        assert self.call.over == bool(self.goodbyes)
        assert self.said <= 5

    @rule()
    def turn(self) -> None:
        self._do(self.call.down("llm", self.now))

    @rule(digit=st.sampled_from("01279#"))
    def press(self, digit: str) -> None:
        self._do(self.call.key(digit, self.now))

    @precondition(lambda self: self.carrying is not None)
    @rule(done=st.booleans())
    def carry(self, done: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        choice, self.carrying = self.carrying, None
        assert choice is not None
        self._do(self.call.carried(choice, done=done))
        assert self.goodbyes == 1

    @rule(after_s=st.sampled_from([0.1, 3.6, 20.0]))
    def wait(self, after_s: float) -> None:
        self.now += after_s
        self._do(self.call.tick(self.now))

    @rule()
    def speak(self) -> None:
        self.call.caller_started()

    @rule()
    def recover(self) -> None:
        self._do(self.call.recovered(self.now))

    def teardown(self) -> None:
        """Left alone, a call whose stage stays down ends with a goodbye."""
        if not hasattr(self, "call") or self.call.over:
            return
        if self.carrying is not None:
            self._do(self.call.carried(self.carrying, done=False))
        self._do(self.call.down("llm", self.now))
        while not self.call.over:
            assert self.call.wake_at is not None
            assert self.call.wake_at - self.now <= 1.0 + 4.0
            self.now = self.call.wake_at
            self._do(self.call.tick(self.now))
        assert self.goodbyes == 1


TestDescent = Machine.TestCase
TestDescent.settings = settings(max_examples=200, deadline=None)
