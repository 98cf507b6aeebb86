"""Whether to speak because an answer is late."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.holding.late_answer_rules import AT_ONCE_S, Holding, Say


def turn(line: Holding, at: float = 100.0) -> Holding:
    line.caller_stopped(at)
    return line


def test_a_late_answer_gets_one_filler() -> None:
    line = turn(Holding())

    assert line.tick(101.04) == ()
    assert line.tick(101.05) == (Say.FILLER,)
    assert line.tick(101.06) == ()
    assert line.tick(102.9) == ()  # the end of the filler is not known yet


@pytest.mark.parametrize(
    ("expected_at", "filler_at"),
    [
        (100.9, 101.05),  # it should have been heard by now
        (101.15, 101.25),
        (101.3, 101.4),
        (101.43, 101.43),  # just in time
        (101.42, 101.43),  # the caller does not wait for an answer that may be late
        (101.5, 101.05),  # too late to wait for
    ],
)
def test_an_answer_that_is_expected_soon_is_waited_for_a_little(
    expected_at: float, filler_at: float
) -> None:
    line = turn(Holding())
    line.expected(expected_at)

    assert line.wake_at == pytest.approx(filler_at)


@pytest.mark.parametrize("steps", [("taken", "decided"), ("decided", "taken")], ids="-".join)
def test_a_tool_call_after_a_late_decision_gets_a_filler_at_once(
    steps: tuple[str, str],
) -> None:
    line = turn(Holding())
    line.paused()
    line.expected(100.8)
    for step in steps:
        line.decided(101.2) if step == "decided" else line.taken(101.33, calls_tool=True)
    line.expected(101.4)  # the next request, after the tool: its words are no nearer

    assert line.tick(101.2 + AT_ONCE_S) == (Say.FILLER,)


def test_an_early_tool_call_is_waited_for_as_usual() -> None:
    line = turn(Holding())
    line.taken(100.9, calls_tool=True)
    line.expected(101.2)

    assert line.wake_at == pytest.approx(101.3)


def test_the_next_turn_is_independent_of_that_tool() -> None:
    line = turn(Holding())
    line.taken(100.9, calls_tool=True)
    line.caller_stopped(110.0)
    line.paused()
    line.decided(111.2)
    line.expected(111.33)

    assert line.wake_at == pytest.approx(111.43)


@pytest.mark.parametrize(
    ("expected_at", "else_at", "filler_at"),
    [
        (100.9, 101.25, 101.35),  # the follower would be in time
        (101.15, 101.5, 101.25),  # only the first would
        (101.5, 101.8, 101.05),
    ],
)
def test_the_next_model_is_waited_for_if_it_would_be_in_time(
    expected_at: float, else_at: float, filler_at: float
) -> None:
    line = turn(Holding())
    line.expected(expected_at, else_at=else_at)

    assert line.wake_at == pytest.approx(filler_at)


def test_the_two_turns_after_a_filler_get_a_clip_instead_and_then_a_filler_is_due_again() -> None:
    line = Holding()
    said: list[tuple[float, Say]] = []
    for n in range(4):
        turn(line, 100.0 * n)
        assert line.wake_at is not None
        at = line.wake_at
        said += [(at - 100.0 * n, action) for action in line.tick(at)]
        line.answered()

    assert [action for _, action in said] == [Say.FILLER, Say.CLIP, Say.CLIP, Say.FILLER]
    assert all(after_s <= 1.43 + 1e-9 for after_s, _ in said)


def test_a_clip_in_place_of_a_filler_comes_a_moment_later() -> None:
    line = turn(Holding())
    line.tick(101.05)
    turn(line, 110.0)

    assert line.wake_at == pytest.approx(111.4)


def test_a_caller_who_interrupts_a_filler_has_had_a_turn() -> None:
    line = Holding()
    said: list[Say] = []
    for n in range(4):
        turn(line, 100.0 * n)
        said += line.tick(100.0 * n + 1.43)
        line.expect_nothing()

    assert said == [Say.FILLER, Say.CLIP, Say.CLIP, Say.FILLER]


def test_a_line_is_held_from_the_callers_words_until_the_answer() -> None:
    line = turn(Holding())
    before = line.held
    line.tick(101.05)
    during = line.held
    line.answered()

    assert [before, during, line.held] == [False, True, False]


def test_before_the_caller_speaks_no_answer_is_pending() -> None:
    line = Holding()
    line.decided(100.0)

    assert line.wake_at is None
    assert line.tick(200.0) == ()


def test_a_line_that_ran_dry_again_is_held_before_two_seconds_of_silence() -> None:
    line = turn(Holding())
    line.tick(101.2)
    line.said(101.8)

    assert line.tick(103.6) == ()
    assert line.tick(103.7) == (Say.CLIP,)


def test_without_fillers_a_turn_with_a_tool_call_has_its_time_before_a_clip() -> None:
    line = turn(Holding())
    line.tick(101.2)
    turn(line, 110.0)
    line.paused()
    line.decided(111.25)

    assert line.wake_at == pytest.approx(112.3)


def test_a_caller_who_stops_twice_before_the_answer_has_one_turn() -> None:
    line = turn(Holding())
    line.tick(101.2)
    for at in (110.0, 111.0, 112.0, 113.0):
        line.expect_nothing()
        turn(line, at)

    assert line.tick(115.0) == (Say.CLIP,)


@given(st.data())
def test_no_caller_waits_in_silence_or_hears_a_filler_too_often(
    data: st.DataObject,
) -> None:
    line, now = Holding(), 0.0
    fillers: list[int] = []
    for number in range(data.draw(st.integers(1, 8))):
        now += 10.0
        turn(line, now)
        heard_at = now + data.draw(st.sampled_from([0.5, 0.95, 1.15, 1.4, 6.0]))
        if data.draw(st.booleans()):
            line.expected(heard_at)
        quiet_since, limit_s = now, 1.5
        while line.wake_at is not None and line.wake_at < heard_at:
            at = line.wake_at
            assert at - quiet_since <= limit_s
            (said,) = line.tick(at)
            if said is Say.FILLER:
                fillers.append(number)
            quiet_since, limit_s = at + 0.8, 4.0
            line.said(quiet_since)
        assert heard_at - quiet_since <= limit_s
        now = heard_at
        line.answered()

    assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(fillers))


@pytest.mark.parametrize(
    ("decided_at", "filler_at"),
    [(101.2, 101.43), (102.5, 102.73)],
    ids=["when silence decides", "long after"],
)
def test_a_prepared_answer_gets_no_filler_when_a_pause_was_the_end_after_all(
    decided_at: float, filler_at: float
) -> None:
    line = turn(Holding())
    line.paused()
    line.expected(100.8)  # known in the pause
    line.decided(decided_at)
    line.expected(decided_at + 0.13)

    assert line.wake_at == pytest.approx(filler_at)


def test_without_fillers_an_early_tool_call_gets_a_clip_within_the_budget() -> None:
    line = turn(Holding())
    assert line.tick(101.05) == (Say.FILLER,)
    line.answered()
    turn(line, 110.0)
    line.paused()
    line.decided(111.2)
    line.taken(111.33, calls_tool=True)

    assert line.wake_at == pytest.approx(111.4)
    assert line.tick(111.4) == (Say.CLIP,)


def test_an_answer_that_becomes_expected_is_waited_for_after_the_clip() -> None:
    line = turn(Holding())
    line.answered()

    line.answered(pending_from=104.0)

    assert line.held
    assert line.wake_at == 104.0 + line.settings.silence_s
    assert line.tick(104.0 + line.settings.silence_s) == (Say.CLIP,)
    line.answered()
    assert line.wake_at is None
