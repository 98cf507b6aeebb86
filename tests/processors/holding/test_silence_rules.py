"""The rule for a silent caller."""

import pytest

from calls.line import CallerLine
from processors.holding.silence_rules import CallLength, Goodbye, Prompt, Silence
from processors.turn.floor import Floor

GREETING_S = 4.0
BOTH = ("One?", "Two?")


class Quiet(Silence):
    """The rule in a call that is answered at 90 s; the greeting ends at 100 s."""

    def __init__(self, *prompts: str, greeted: bool = True) -> None:
        self.line = CallerLine()
        self.floor = Floor(self.line)
        super().__init__(
            self.floor, prompt_after_s=8.0, prompts=prompts, goodbye="Bye.", work_limit_s=15.0
        )
        self.start(90.0)
        if greeted:
            self.line.add(GREETING_S, 100.0 - GREETING_S)

    def caller_begins(self, now: float) -> None:
        self.floor.caller_started(now)
        self.sound_began(now)

    def caller_says(self, text: str, now: float) -> None:
        self.floor.words(text, final=True)
        self.caller_spoke(now)


def test_before_the_call_is_answered_nothing_is_due() -> None:
    silence = Silence(Floor(CallerLine()), prompt_after_s=8.0, prompts=(), goodbye="Bye.")
    silence.restart(100.0)

    assert silence.wake_at is None


def test_a_call_without_events_is_not_silent_forever() -> None:
    silence = Quiet(*BOTH, greeted=False)

    assert silence.tick(112.9) == ()
    assert silence.tick(113.0) == (Prompt(words="One?", prompts=1),)


def test_the_greeting_ends_its_own_grace_period() -> None:
    assert Quiet().wake_at == 108.0


def test_a_silent_caller_is_prompted_twice_and_then_told_goodbye_once() -> None:
    silence = Quiet(*BOTH)

    assert silence.tick(107.9) == ()
    assert silence.tick(108.0) == (Prompt(words="One?", prompts=1),)
    assert silence.tick(116.0) == (Prompt(words="Two?", prompts=2),)
    assert silence.tick(124.0) == (Goodbye(reason="silence", words="Bye."),)
    assert silence.wake_at is None
    assert silence.tick(1_000.0) == ()


def test_the_callers_time_does_not_run_while_the_agent_speaks() -> None:
    silence = Quiet(*BOTH)
    silence.line.add(100.0, 100.0)

    assert silence.tick(199.0) == ()
    assert silence.wake_at == 208.0


@pytest.mark.parametrize("open_turn", [False, True])
def test_the_callers_time_does_not_run_during_a_turn_with_words(open_turn: bool) -> None:  # noqa: FBT001 - a table
    silence = Quiet(*BOTH)
    silence.caller_begins(101.0)
    silence.floor.turn_began()
    silence.caller_says("Hello", 101.5)
    if open_turn:
        silence.floor.caller_stopped(102.0, now=102.2)

    assert silence.wake_at is None


def test_words_of_the_caller_reset_the_count() -> None:
    silence = Quiet(*BOTH)
    silence.tick(108.0)
    silence.caller_says("Hello", 111.0)

    assert silence.tick(119.0) == (Prompt(words="One?", prompts=1),)


@pytest.mark.parametrize(
    ("sounds", "prompted_at"),
    [
        ([], 108.0),
        ([(101.0, 102.0)], 108.0),  # a cough
        ([(107.0, 107.8)], 108.8),  # perhaps with a word
        ([(107.0, 120.0)], 110.0),
        ([(101.0, 120.0)], 108.0),  # a television
        ([(101.0, 107.7), (107.9, 120.0)], 108.0),
        ([(106.0, 106.3), (106.6, 107.0), (107.5, 107.9)], 108.9),
        ([(102.0, 102.5), (107.5, 120.0)], 110.5),
    ],
)
def test_a_line_with_sound_and_no_words_is_prompted_like_a_silent_one(
    sounds: list[tuple[float, float]], prompted_at: float
) -> None:
    silence = Quiet(*BOTH)
    for begun_at, ended_at in sounds:
        silence.caller_begins(begun_at)
        silence.floor.turn_began()
        if ended_at < prompted_at:
            silence.floor.caller_stopped(ended_at, now=ended_at)

    assert silence.wake_at == pytest.approx(prompted_at)
    assert silence.tick(prompted_at + 0.001) == (Prompt(words="One?", prompts=1),)


def test_a_line_with_sound_and_no_words_is_hung_up_in_the_end() -> None:
    silence = Quiet()
    silence.caller_begins(101.0)
    assert silence.tick(108.0) == (Goodbye(reason="silence", words="Bye."),)

    silence.floor.caller_stopped(108.0, now=108.0)
    silence.caller_begins(109.0)  # during the goodbye

    assert silence.tick(117.0) == (Goodbye(reason="silence", words="Bye.", final=True),)


def test_the_timer_restarts_for_a_caller_who_is_back_even_while_the_agent_speaks() -> None:
    silence = Quiet(*BOTH)
    silence.line.add(10.0, 150.0)
    silence.restart(155.0)
    speaks = silence.wake_at
    silence.restart(165.0)

    assert (speaks, silence.wake_at) == (168.0, 173.0)


def test_running_tools_excuse_silence() -> None:
    silence = Quiet(*BOTH)
    silence.floor.tool_runs("a", 100.0, runs=True)

    assert silence.tick(110.0) == ()

    silence.floor.tool_runs("a", 110.0, runs=False)
    assert silence.wake_at == 118.0


def test_a_tool_that_never_ends_does_not_excuse_silence_forever() -> None:
    silence = Quiet(*BOTH)
    silence.floor.tool_runs("a", 100.0, runs=True)

    assert silence.tick(122.9) == ()
    assert silence.tick(123.0) == (Prompt(words="One?", prompts=1),)
    assert silence.wake_at == 131.0


def test_the_second_of_two_tools_excuses_silence_after_the_first() -> None:
    silence = Quiet(*BOTH)
    silence.floor.tool_runs("a", 100.0, runs=True)
    silence.floor.tool_runs("b", 101.0, runs=True)
    silence.floor.tool_runs("a", 102.0, runs=False)
    assert silence.wake_at == 125.0

    silence.floor.tool_runs("b", 103.0, runs=False)
    assert silence.wake_at == 111.0


def test_a_tool_dropped_by_a_barge_in_excuses_nothing() -> None:
    silence = Quiet(*BOTH)
    silence.floor.tool_runs("a", 100.0, runs=True)
    silence.floor.tools.clear()
    silence.floor.tool_runs("a", 101.0, runs=False)

    assert silence.wake_at == 109.0


def test_a_caller_who_speaks_into_the_goodbye_is_waited_for_again() -> None:
    silence = Quiet()
    silence.tick(108.0)
    silence.caller_begins(109.0)
    silence.floor.caller_stopped(109.8, now=110.0)

    assert silence.wake_at == 117.0


def test_a_call_is_ended_once_when_its_time_is_over() -> None:
    length = CallLength(max_call_s=60.0, words="Time is over.")
    assert length.tick(1_000.0) == ()

    length.start(100.0)

    assert length.tick(159.9) == ()
    assert length.tick(160.0) == (Goodbye(reason="max_length", words="Time is over.", final=True),)
    assert length.tick(161.0) == ()
