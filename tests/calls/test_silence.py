"""The rule for a silent caller."""

from processors.holding.silence_rules import CallLength, Goodbye, Prompt, Silence, SilenceSign


def rule(*, prompts: tuple[str, ...] = ("One?", "Two?")) -> Silence:
    return Silence(prompt_after_s=8.0, prompts=prompts, goodbye="Bye.", work_limit_s=15.0)


def test_an_eventless_call_is_not_silent_for_ever() -> None:
    silence = rule()
    assert silence.wake_at is None

    silence.start(100.0)

    assert silence.tick(122.9) == ()
    assert silence.tick(123.0) == (Prompt(words="One?", prompts=1),)


def test_the_greeting_ends_its_own_grace_period() -> None:
    silence = rule()
    silence.start(100.0)
    silence.handle(SilenceSign.AGENT, 101.0)
    silence.handle(SilenceSign.AGENT_STOPPED, 104.0)

    assert silence.wake_at == 112.0


def test_a_silent_caller_is_prompted_twice_and_then_told_goodbye_once() -> None:
    silence = rule()
    silence.handle(SilenceSign.AGENT_STOPPED, 100.0)

    assert silence.tick(107.9) == ()
    assert silence.tick(108.0) == (Prompt(words="One?", prompts=1),)
    assert silence.tick(116.0) == (Prompt(words="Two?", prompts=2),)
    assert silence.tick(124.0) == (Goodbye(reason="silence", words="Bye."),)
    assert silence.wake_at is None
    assert silence.tick(1_000.0) == ()


def test_the_callers_time_does_not_run_while_the_agent_speaks() -> None:
    silence = rule()
    silence.handle(SilenceSign.AGENT, 100.0)

    assert silence.tick(200.0) == ()

    silence.handle(SilenceSign.AGENT_STOPPED, 200.0)
    assert silence.wake_at == 208.0


def test_the_callers_time_does_not_run_while_they_speak() -> None:
    silence = rule()
    silence.handle(SilenceSign.CALLER, 100.0)

    assert silence.wake_at is None


def test_a_sound_of_the_caller_resets_the_count() -> None:
    silence = rule()
    silence.handle(SilenceSign.AGENT_STOPPED, 100.0)
    silence.tick(108.0)
    silence.handle(SilenceSign.CALLER, 110.0)
    silence.handle(SilenceSign.CALLER_STOPPED, 111.0)

    assert silence.tick(119.0) == (Prompt(words="One?", prompts=1),)


def test_running_tools_excuse_silence() -> None:
    silence = rule()
    silence.handle(SilenceSign.CALLER_STOPPED, 100.0)
    silence.handle(SilenceSign.WORK, 100.0)

    assert silence.tick(110.0) == ()

    silence.handle(SilenceSign.WORK_DONE, 110.0)
    assert silence.wake_at == 118.0


def test_a_tool_that_never_ends_does_not_excuse_silence_for_ever() -> None:
    silence = rule()
    silence.handle(SilenceSign.WORK, 100.0)

    assert silence.tick(122.9) == ()
    assert silence.tick(123.0) == (Prompt(words="One?", prompts=1),)
    assert silence.wake_at == 131.0


def test_of_two_tools_the_second_excuses_silence_after_the_first() -> None:
    silence = rule()
    silence.handle(SilenceSign.WORK, 100.0)
    silence.handle(SilenceSign.WORK, 101.0)
    silence.handle(SilenceSign.WORK_DONE, 102.0)
    assert silence.wake_at == 125.0

    silence.handle(SilenceSign.WORK_DONE, 103.0)
    assert silence.wake_at == 111.0


def test_a_forgotten_tool_excuses_nothing_before_it_is_done() -> None:
    silence = rule()
    silence.handle(SilenceSign.WORK, 100.0)
    silence.forget_work()

    assert silence.wake_at == 108.0


def test_a_tool_dropped_by_a_barge_in_excuses_nothing() -> None:
    silence = rule()
    silence.handle(SilenceSign.WORK, 100.0)
    silence.forget_work()
    silence.handle(SilenceSign.WORK_DONE, 101.0)

    assert silence.wake_at == 109.0


def test_an_unspoken_prompt_is_followed_by_the_next() -> None:
    silence = rule()
    silence.handle(SilenceSign.AGENT_STOPPED, 100.0)
    silence.tick(108.0)

    assert silence.wake_at == 116.0


def test_a_caller_who_speaks_into_the_goodbye_is_waited_for_again() -> None:
    silence = rule(prompts=())
    silence.handle(SilenceSign.AGENT_STOPPED, 100.0)
    silence.tick(108.0)
    silence.handle(SilenceSign.CALLER, 109.0)
    silence.handle(SilenceSign.CALLER_STOPPED, 110.0)

    assert silence.wake_at == 118.0


def test_a_call_is_ended_once_when_its_time_is_over() -> None:
    length = CallLength(max_call_s=60.0, words="Time is over.")
    assert length.tick(1_000.0) == ()

    length.start(100.0)

    assert length.tick(159.9) == ()
    assert length.tick(160.0) == (Goodbye(reason="max_length", words="Time is over."),)
    assert length.tick(161.0) == ()
