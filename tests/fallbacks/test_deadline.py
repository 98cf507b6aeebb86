"""One deadline a turn."""

from fallbacks.deadline import Deadline, TurnDeadline


def test_a_deadline_says_what_is_left_and_never_less_than_nothing() -> None:
    until = Deadline(at=100.0)

    assert until.left_s(99.5) == 0.5
    assert until.left_s(101.0) == 0.0
    assert not until.passed(99.9)
    assert until.passed(100.0)


def test_the_budget_runs_from_the_moment_the_caller_stopped() -> None:
    assert TurnDeadline(stopped_at=100.0, budget_s=1.5).until.at == 101.5


def test_once_the_answer_is_heard_the_line_must_not_run_dry() -> None:
    turn = TurnDeadline(stopped_at=100.0, budget_s=1.5)

    assert turn.queued(101.0).at == 101.0
    assert turn.queued(103.0).at == 103.0
    assert turn.queued(102.0).at == 103.0


def test_a_flushed_line_is_dry_at_once() -> None:
    turn = TurnDeadline(stopped_at=100.0, budget_s=1.5)
    turn.queued(105.0)

    assert turn.flushed(102.0).at == 102.0
