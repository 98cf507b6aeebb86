"""Verdicts of runs against targets, in numbers."""

import pytest

from lab.drill.rows import EVERY_WORD, HEALTHY, LOST, NEVER_SILENT, Row, Target, extra, gap
from lab.drill.table import number
from lab.drill.verdicts import Measured, extra_requests, findings, passed

OURS, STOCK = "holdline", "stock-pipecat"


def run(row: str, number: int, *, side: str = OURS, error: str = "", **measures: float) -> Measured:
    return Measured(row=row, side=side, run=number, measures=measures, error=error)


def row(*targets: Target) -> Row:
    return Row(name="broken", title="Broken", targets=targets)


def healthy(*first_words: float, side: str = OURS) -> list[Measured]:
    return [run(HEALTHY, n, side=side, first_word_s=v) for n, v in enumerate(first_words, start=1)]


def test_extra_time_is_time_beyond_the_median_of_the_healthy_runs() -> None:
    runs = [
        *healthy(1.0, 0.9, 2.0),
        run("broken", 1, first_word_s=1.2),
        run("broken", 2, first_word_s=1.1),
    ]
    (found,) = findings(row(extra(0.3)), OURS, runs)

    assert found.values == pytest.approx((0.2, 0.1))
    assert found.worst == pytest.approx(0.2)
    assert found.p50 == pytest.approx(0.15)
    assert found.met


def test_one_run_over_the_bound_misses() -> None:
    runs = [run("broken", n, gap_s=g) for n, g in enumerate((0.1, 0.1, 0.31))]

    assert not passed(row(gap(0.3)), OURS, runs)
    assert passed(row(gap(0.3)), OURS, runs[:2])


def test_a_median_over_its_own_bound_misses_although_no_run_is_too_bad() -> None:
    quiet = Target(measure="quiet_s", p50=0.35, worst=0.45)
    runs = [run("broken", n, quiet_s=q) for n, q in enumerate((0.3, 0.4, 0.4))]

    assert not passed(row(quiet), OURS, runs)
    assert passed(row(quiet), OURS, runs[:1])


def test_a_lower_bound_is_missed_from_below() -> None:
    share = Target(measure="in_budget", worst=0.95, least=True)

    assert passed(row(share), OURS, [run("broken", 1, in_budget=0.95)])
    assert not passed(row(share), OURS, [run("broken", 1, in_budget=0.94)])


@pytest.mark.parametrize(
    "target", [EVERY_WORD, NEVER_SILENT, Target(measure="in_budget", worst=0.9, least=True)]
)
def test_a_failed_run_misses_every_target(target: Target) -> None:
    runs = [run("broken", 1, error="ConnectionError: gone")]

    assert not passed(row(target), OURS, runs)


def test_a_reply_that_never_came_misses_its_bound() -> None:
    runs = [*healthy(1.0), run("broken", 1, first_word_s=LOST)]

    assert not passed(row(extra(0.3)), OURS, runs)


@pytest.mark.parametrize(
    ("target", "value", "told"),
    [
        (NEVER_SILENT, LOST, "never"),
        (extra(0.3), LOST, "never"),
        (NEVER_SILENT, 98.5, "98.5"),
        (extra(0.3), 95.0, "94"),
        (Target(measure="fillers", worst=3), 120.0, "120"),
        (Target(measure="reply_s", worst=65), 180.0, "180"),
    ],
)
def test_only_a_missing_value_is_printed_as_never(target: Target, value: float, told: str) -> None:
    broken = Measured(row="broken", side=OURS, run=1, measures={target.measure: value})
    (found,) = findings(row(target), OURS, [*healthy(1.0), broken])

    assert number(found.worst) == told


def test_a_row_that_was_not_run_has_not_passed() -> None:
    assert not passed(row(EVERY_WORD), OURS, healthy(1.0))


def test_an_incomparable_measure_is_not_judged_and_does_not_decide() -> None:
    over = Target(measure="first_word_s", worst=0.04, over=(HEALTHY, "first_word_s"), side=STOCK)
    runs = [run("broken", 1, first_word_s=9.0, lost_turns=0)]
    (found, _) = findings(row(over, EVERY_WORD), OURS, runs)

    assert found.met is None
    assert passed(row(over, EVERY_WORD), OURS, runs)


def test_ours_can_be_compared_with_stock_pipelines_own_healthy_turns() -> None:
    over = Target(measure="first_word_s", worst=0.04, over=(HEALTHY, "first_word_s"), side=STOCK)
    mine = Row(name=HEALTHY, title="Nothing", targets=(over,))
    runs = [*healthy(1.03, 1.05), *healthy(1.0, 1.0, side=STOCK)]
    (found,) = findings(mine, OURS, runs)

    assert found.values == pytest.approx((0.03, 0.05))
    assert found.met is False


def test_the_other_sides_runs_do_not_affect_ours() -> None:
    runs = [run("broken", 1, side=STOCK, gap_s=9.0), run("broken", 1, gap_s=0.1)]

    assert passed(row(gap(0.3)), OURS, runs)
    assert not passed(row(gap(0.3)), STOCK, runs)


def test_extra_requests_are_counted_for_a_turn_beyond_a_healthy_one() -> None:
    runs = [
        run(HEALTHY, 1, requests=6.0, turns=3.0),
        run("broken", 1, requests=3.0, turns=1.0),
        run("broken", 2, requests=4.0, turns=1.0),
    ]

    assert extra_requests(row(), OURS, runs) == pytest.approx(1.5)
    assert extra_requests(row(), STOCK, runs) is None
