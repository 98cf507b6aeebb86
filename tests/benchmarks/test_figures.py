"""Percentiles, slopes and verdicts over many turns."""

import pytest

from benchmarks.figures import (
    NEVER_S,
    HeardTurn,
    LoadRun,
    most_calls,
    percentile,
    reach,
    slope,
    sum_up,
)


def turn(first_s: float, *, missing: tuple[str, ...] = (), gap_s: float = 0.0) -> HeardTurn:
    return HeardTurn(
        call=0,
        at_s=0.0,
        first_word_s=first_s,
        first_sound_s=first_s,
        gap_s=gap_s,
        missing=missing,
    )


def run(calls: int, *, p95_s: float = 1.0, workers: str = "auto", refused: int = 0) -> LoadRun:
    return LoadRun(
        side="holdline",
        workers=workers,
        calls=calls,
        refused=refused,
        figures=sum_up([turn(p95_s)] * 4),
        cores_a_call=0.1,
        shares={"server": 1.0, "simulators": 0.3, "callers": 0.2, "others": 0.1},
    )


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.5, 2.0), (0.51, 3.0), (0.95, 4.0), (0.75, 3.0), (0.0, 1.0), (1.0, 4.0)],
)
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value


def test_the_95th_of_twenty_is_the_nineteenth() -> None:
    assert percentile([float(index) for index in range(1, 21)], 0.95) == 19.0


def test_a_percentile_needs_a_value() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_turns_that_never_took_place_count_as_unanswered() -> None:
    found = sum_up([turn(0.8), turn(0.9)], expected=4)

    assert (found.turns, found.not_whole) == (4, 2)
    assert found.first_word_p95_s == NEVER_S
    assert found.in_budget == 0.5


def test_a_turn_with_a_lost_word_is_not_whole_and_one_with_a_gap_is_torn() -> None:
    found = sum_up([turn(0.8, missing=("euros",)), turn(0.9, gap_s=0.5), turn(1.6)])

    assert (found.not_whole, found.torn) == (1, 1)
    assert found.in_budget == pytest.approx(2 / 3)


def test_a_turn_without_a_first_word_is_not_whole() -> None:
    assert not turn(NEVER_S).whole


def test_the_problems_of_a_turn_are_named() -> None:
    assert "first word 0.80 s" in turn(0.8, missing=("euros",)).summary
    assert "missing: euros, too much: -" in turn(0.8, missing=("euros",)).summary


def test_the_capacity_is_the_highest_load_below_the_first_miss() -> None:
    runs = [run(1), run(4), run(6, p95_s=1.7), run(8)]

    best = most_calls(runs, side="holdline", workers="auto")

    assert best is not None
    assert best.calls == 4


def test_a_load_that_missed_once_does_not_count_as_held() -> None:
    runs = [run(1), run(4), run(4, p95_s=1.7)]

    best = most_calls(runs, side="holdline", workers="auto")

    assert best is not None
    assert best.calls == 1


def test_a_run_with_a_refused_caller_does_not_hold() -> None:
    assert most_calls([run(1, refused=1)], side="holdline", workers="auto") is None


def test_a_verdict_counts_only_runs_with_the_same_workers() -> None:
    runs = [run(1), run(8, workers="1")]

    best = most_calls(runs, side="holdline", workers="auto")

    assert best is not None
    assert best.calls == 1


@pytest.mark.parametrize(("cores", "calls"), [(1, 8), (2, 16), (8, 64)])
def test_another_machine_is_estimated_at_the_load_of_this_one(cores: int, calls: int) -> None:
    assert reach(run(10), cores=cores, machine_cores=2) == calls


def test_the_slope_of_an_exact_line_has_no_uncertainty() -> None:
    found = slope([(0.0, 5.0), (60.0, 7.0), (120.0, 9.0), (180.0, 11.0)])

    assert found.a_minute == pytest.approx(2.0)
    assert found.give_or_take == pytest.approx(0.0, abs=1e-9)
    assert found.start == pytest.approx(5.0)


def test_a_slope_within_its_uncertainty_is_no_drift() -> None:
    found = slope([(0.0, 5.0), (60.0, 9.0), (120.0, 4.0), (180.0, 8.0), (240.0, 6.0)])

    assert not found.drifts(1000.0, allowed=0.1)


def test_a_significant_slope_beyond_the_limit_is_drift() -> None:
    found = slope([(60.0 * index, 2.0 * index + 0.01 * (index % 2)) for index in range(10)])

    assert found.drifts(30.0, allowed=50.0)
    assert not found.drifts(30.0, allowed=70.0)


def test_a_falling_measure_is_no_drift() -> None:
    found = slope([(60.0 * index, -2.0 * index + 0.01 * (index % 2)) for index in range(10)])

    assert not found.drifts(30.0, allowed=1.0)


def test_two_points_make_no_slope() -> None:
    with pytest.raises(ValueError, match="three points"):
        slope([(0.0, 1.0), (60.0, 2.0)])
