"""One deadline for each turn."""

from calls.turn import HOLD_S, Turn


def test_the_budget_runs_from_the_moment_the_caller_stopped() -> None:
    turn = Turn(budget_s=1.5)
    turn.caller_stopped(100.0)

    assert turn.until(100.7).at == 101.5
    assert turn.patient_until(100.7).at == 101.5 + HOLD_S


def test_work_prepared_in_a_pause_has_its_own_budget_until_the_caller_stops() -> None:
    turn = Turn(budget_s=1.5)
    turn.caller_stopped(90.0)
    turn.queued(95.0)
    turn.may_have_stopped(100.0)

    assert turn.until(100.1).at == 101.5

    turn.caller_stopped(100.05)

    assert turn.until(100.3).at == 101.55


def test_speech_without_a_waiting_caller_has_its_own_budget() -> None:
    turn = Turn(budget_s=1.5)
    turn.queued(103.0)
    turn.flushed(99.0)

    assert turn.until(100.0).at == 101.5
    assert turn.patient_until(100.0).at == 101.5 + HOLD_S


def test_work_without_a_waiting_caller_has_its_own_time() -> None:
    turn = Turn(budget_s=1.5)

    assert turn.unhurried_until(100.0).at == 100.0 + HOLD_S
    assert turn.unhurried_until(100.0, 0.5).at == 100.5


def test_once_the_answer_is_heard_the_line_must_not_run_dry() -> None:
    turn = Turn(budget_s=1.5)
    turn.caller_stopped(100.0)
    untils = list[float]()
    for dry_at in (101.0, 103.0, 102.0):
        turn.queued(dry_at)
        untils.append(turn.until(100.5).at)

    assert untils == [101.0, 103.0, 103.0]


def test_a_flushed_line_is_dry_at_once() -> None:
    turn = Turn(budget_s=1.5)
    turn.caller_stopped(100.0)
    turn.queued(105.0)
    turn.flushed(102.0)

    assert turn.until(102.0).at == 102.0


def test_the_next_stop_opens_another_budget() -> None:
    turn = Turn(budget_s=1.5)
    turn.caller_stopped(100.0)
    turn.queued(105.0)
    turn.caller_stopped(110.0)
    turn.queued(110.9)

    assert turn.until(110.2).at == 110.9


def test_a_turn_that_stays_open_has_its_budget_after_the_expected_words() -> None:
    turn = Turn(budget_s=1.5)
    turn.caller_stopped(100.0)
    turn.queued(101.0)
    turn.stays_open(103.0)

    assert turn.until(101.0).at == 104.5
    turn.queued(104.0)  # the first audio since then
    assert turn.until(103.5).at == 104.0
