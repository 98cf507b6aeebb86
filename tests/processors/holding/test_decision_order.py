"""Which rule speaks first if several are due, and what each does."""

from collections.abc import Callable
from itertools import combinations
from math import inf
from typing import Final, TypeAlias

import pytest

from calls.events import CallerStarted
from fallbacks.events import StageExhausted, StepTaken
from processors.holding.decision import HoldRules
from processors.holding.hold_rhythm_rules import HoldSound
from processors.holding.line_rules import DeliverResults, LineAction, SpeakFor, Spoken, Then
from processors.holding.outage_rules import OutageSettings
from processors.holding.silence_rules import CallLength, Goodbye, Prompt, Silence
from processors.turn.floor import Away, AwayChanged, Floor, KeyGiven, WordsCame
from tests.processors.holding.held_caller import HeldCaller, silent_worded

NOW: Final = 1000.0
PROMPT_S: Final = 8.0


class CallWithLimits(HeldCaller):
    """A held caller whose silence is noticed, and whose call may have a limit."""

    def __init__(self, *, max_s: float = inf, prompt_s: float = PROMPT_S) -> None:
        def rules(floor: Floor) -> HoldRules:
            silence = Silence(
                floor, prompt_after_s=prompt_s, prompts=["Hello?"], goodbye="Bye.", work_limit_s=0.0
            )
            return HoldRules(silence=silence, length=CallLength(max_call_s=max_s, words="Bye."))

        super().__init__(rules=rules)


def too_long(caller: HeldCaller) -> None:
    caller.picked_up(0.0)


def outage(caller: HeldCaller) -> None:
    caller.handle(StageExhausted(stage="tts", attempts=2), NOW - 1.0)


def menu(caller: HeldCaller) -> None:
    """Have a clip of the menu end long ago."""
    caller.handle(StageExhausted(stage="llm", attempts=2), NOW - 300.0)
    said = next(item for item in caller.tick(NOW - 299.0) if isinstance(item, SpeakFor))
    caller.handle(Spoken(action=said, dry_at=NOW - 290.0), NOW - 299.0)


def late(caller: HeldCaller) -> None:
    caller.handle(CallerStarted(at_s=NOW - 502.0), NOW - 502.0)
    caller.handle(silent_worded(NOW - 500.0), NOW - 499.8)


def waiting(caller: HeldCaller) -> None:
    caller.rhythm.start(NOW - 1.0)


def result(caller: HeldCaller) -> None:
    caller.result_since = NOW - 100.0


def silence(caller: HeldCaller) -> None:
    caller.picked_up(NOW - 200.0)


Setup: TypeAlias = Callable[[HeldCaller], None]
IN_ORDER: Final[dict[Setup, Callable[[LineAction], bool]]] = {
    too_long: lambda item: item == Goodbye(reason="max_length", words="Bye.", final=True),
    outage: lambda item: isinstance(item, StepTaken) and item.stage == "tts",
    menu: lambda item: isinstance(item, StepTaken) and item.stage == "llm",
    late: lambda item: isinstance(item, SpeakFor) and item.then is Then.HOLD,
    waiting: lambda item: item is HoldSound.TONE,
    result: lambda item: item == DeliverResults(),
    silence: lambda item: item == Prompt(words="Hello?", prompts=1),
}
NEVER_BOTH: Final = {
    (too_long, silence),  # two moments at which the call began
    (late, result),  # a result waits for the answer
    (outage, menu),  # a further stage is announced with the menu's next step
}
PAIRS: Final = [pair for pair in combinations(IN_ORDER, 2) if pair not in NEVER_BOTH]


@pytest.mark.parametrize("setup", IN_ORDER)
def test_each_rule_acts_when_it_is_due(setup: Setup) -> None:
    caller = CallWithLimits(max_s=NOW - 10.0 if setup is too_long else inf)
    setup(caller)

    assert caller.wake_at is not None
    assert caller.wake_at <= NOW
    assert any(IN_ORDER[setup](item) for item in caller.tick(NOW))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_two_rules_that_are_due_only_the_first_acts(first: Setup, second: Setup) -> None:
    caller = CallWithLimits(max_s=NOW - 10.0 if first is too_long else inf)
    for setup in sorted((first, second), key=lambda each: each is not late):
        setup(caller)

    acted = caller.tick(NOW)

    assert any(IN_ORDER[first](item) for item in acted)
    assert not any(IN_ORDER[second](item) for item in acted)


def test_the_next_rule_is_asked_once_the_first_one_has_acted() -> None:
    caller = CallWithLimits()
    waiting(caller)
    result(caller)
    caller.tick(NOW)
    caller.line.add(1.6, NOW)  # the tone

    assert caller.wake_at == pytest.approx(NOW + 1.5)  # just before the tone ends
    assert caller.tick(NOW + 1.51) == (HoldSound.TONE,)
    caller.rhythm.stop()
    assert caller.tick(NOW + 2.1) == (DeliverResults(),)


def test_in_an_outage_its_menu_and_no_prompt_breaks_a_silence() -> None:
    caller = CallWithLimits(prompt_s=2.0)
    caller.picked_up(NOW - 400.0)
    menu(caller)

    assert caller.wake_at == NOW - 290.0 + OutageSettings().silence_s
    assert caller.tick(NOW - 287.5) == ()


@pytest.mark.parametrize(
    "sign",
    [WordsCame(text="Yes", final=True), KeyGiven("1", "entry"), AwayChanged(Away.PERSON)],
    ids=["words", "key", "back from a person"],
)
def test_a_sign_of_the_caller_restarts_their_time(sign: WordsCame | KeyGiven | AwayChanged) -> None:
    caller = CallWithLimits()
    caller.picked_up(0.0)

    caller.handle(sign, 5.0)

    assert caller.wake_at == 5.0 + PROMPT_S


@pytest.mark.parametrize("why", Away)
def test_nothing_limits_the_time_of_a_caller_who_is_away(why: Away) -> None:
    caller = CallWithLimits(max_s=100.0)
    caller.picked_up(0.0)
    caller.floor.set_away(why, away=True)

    assert caller.wake_at is None
    assert caller.tick(NOW) == ()
