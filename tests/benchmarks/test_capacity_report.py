"""Verdict and tables of the capacity report."""

from benchmarks.capacity_report import arithmetic, met, page, verdict
from benchmarks.figures import NEVER_S, HeardTurn, LoadRun, sum_up
from lab.drill.servers import OURS, STOCK

CIRCUMSTANCES = {"machine": "M", "commit": "abc", "began": "now", "options": "--calls 10"}


def run(side: str, calls: int, *, first_s: float = 0.9, workers: str = "") -> LoadRun:
    heard = HeardTurn(call=0, at_s=0.0, first_word_s=first_s, first_sound_s=first_s, gap_s=0.0)
    return LoadRun(
        side=side,
        workers=workers,
        calls=calls,
        figures=sum_up([heard] * 4),
        greeting_s=0.5,
        cores_a_call=0.1,
        shares={"server": 1.0, "simulators": 0.3, "callers": 0.2},
    )


RUNS = [
    run(OURS, 4, workers="auto"),
    run(OURS, 10, workers="auto"),
    run(OURS, 12, workers="auto", first_s=2.0),
    run(OURS, 12, workers="1", first_s=NEVER_S),
    run(STOCK, 4),
    run(STOCK, 10, first_s=2.1),
]


def test_the_verdict_names_both_sides_and_the_target() -> None:
    told = verdict(RUNS, cores=2)

    assert "with the default number of workers: 10 calls" in told
    assert "(stock Pipecat: 4)" in told
    assert told.endswith("target 10: met")


def test_fewer_calls_than_the_target_are_a_miss() -> None:
    runs = [run(OURS, 4), run(OURS, 10, first_s=1.6)]

    assert not met(runs)
    assert verdict(runs, cores=2).endswith("target 10: MISSED")


def test_a_run_that_stopped_short_of_the_target_misses_nothing() -> None:
    assert "no more were tried" in verdict([run(OURS, 4)], cores=2)


def test_the_target_is_for_two_cores() -> None:
    assert verdict(RUNS, cores=8).endswith("the target is for 2 cores")


def test_the_calls_of_other_machines_are_estimated_from_the_runs() -> None:
    told = arithmetic(RUNS, cores=2)

    assert "n x 0.75 / 0.100" in told
    assert "15 on 2" in told


def test_the_page_shows_every_run_and_marks_those_that_missed() -> None:
    lines = page(RUNS, circumstances=CIRCUMSTANCES, cores=2).splitlines()
    rows = [line for line in lines if line.startswith("| ") and line[2].isdigit()]

    assert len(rows) == len(RUNS)
    assert sum("✗" in line for line in rows) == 3
    assert any("never" in line for line in rows)
