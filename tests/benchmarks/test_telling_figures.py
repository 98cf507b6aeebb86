"""Figures from time windows with and without the emission of events."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.telling_figures import (
    CANNOT_TELL,
    MET,
    MISSED,
    Estimate,
    counted_lag_s,
    counted_share,
    cpu_share,
    estimate,
    figures_of,
    lag_more_s,
    pairs_of,
    slowest,
)
from benchmarks.telling_windows import EmittedEvent, Window


def window(*, told: bool, cores: float, lag_s: float = 0.009) -> Window:
    return Window(told=told, cores=cores, lags_s=[lag_s] * 20, entries=100)


def fact_of(
    wall_s: float, cpu_s: float, *, collected: bool = False, control_s: float = 1e-5
) -> EmittedEvent:
    return EmittedEvent(wall_s=wall_s, cpu_s=cpu_s, collected=collected, control_s=control_s)


def run_of(seed: int, *, costs: float, pairs: int = 22) -> list[Window]:
    """Return windows of a process that takes a core, with the noise of a machine."""
    dice = np.random.default_rng(seed)
    return [
        window(told=told, cores=1.0 + costs * told + dice.normal(0, 0.02))
        for _ in range(pairs)
        for told in (True, False)
    ]


def found(windows: list[Window], **said: Any) -> Any:
    fact = fact_of(1e-5, 1e-5)
    plain = {"facts": [fact] * 300, "in_calls_s": [1e-5] * 300, "windows": windows, "lost": 0}
    return SimpleNamespace(**{**plain, "recorded": 9, "shown": 9, "on_the_line": True, **said})


def test_two_windows_that_follow_each_other_are_a_pair_whichever_came_first() -> None:
    order = [True, False, False, True]

    pairs = pairs_of([window(told=told, cores=float(at)) for at, told in enumerate(order)])

    assert [(pair.told.cores, pair.untold.cores) for pair in pairs] == [(0.0, 1.0), (3.0, 2.0)]


def test_the_share_is_of_all_windows_so_that_rare_expensive_work_counts() -> None:
    windows = [window(told=number, cores=1.0) for number in (True, False) * 3]
    windows[0] = window(told=True, cores=1.3)

    assert cpu_share(pairs_of(windows)) == pytest.approx(0.3 / 3.3)


def test_the_lag_is_of_all_ticks_of_a_kind_together() -> None:
    windows = [window(told=number, cores=1.0, lag_s=0.001) for number in (True, False) * 30]
    windows[0] = window(told=True, cores=1.0, lag_s=0.5)  # one in thirty is under p95
    windows[2] = window(told=True, cores=1.0, lag_s=0.004)

    assert lag_more_s(pairs_of(windows)) == pytest.approx(0.003)


def test_nineteen_of_twenty_intervals_hold_the_true_cost() -> None:
    shares = [
        estimate(pairs_of(run_of(seed, costs=0.02)), cpu_share, seed=seed) for seed in range(60)
    ]

    held = [share for share in shares if share.least <= 0.02 / 1.02 <= share.most]
    assert len(held) >= 53  # 57 of 60 are expected


@pytest.mark.parametrize(
    ("costs", "verdict"), [(0.0, MET), (0.03, CANNOT_TELL), (0.06, MISSED)], ids=str
)
def test_noise_makes_a_result_uncertain(costs: float, verdict: str) -> None:
    figures = figures_of(found(run_of(5, costs=costs)))

    assert figures.verdicts()["processor"] == verdict


@pytest.mark.parametrize(
    ("costs", "counted", "verdict"),
    [(0.03, 0.02, MET), (0.03, 0.05, MISSED), (0.06, 0.02, MISSED), (0.0, 0.05, MISSED)],
    ids=str,
)
def test_the_count_decides_unless_the_comparison_surely_fails(
    costs: float, counted: float, verdict: str
) -> None:
    windows = [replace(item, counted_cores=counted * item.told) for item in run_of(5, costs=costs)]

    assert figures_of(found(windows)).verdicts()["processor"] == verdict


def test_extra_garbage_collection_is_counted() -> None:
    told, untold = (window(told=number, cores=1.0) for number in (True, False))
    told = replace(told, counted_cores=0.01, collecting_s=0.003)  # of 20 ticks: 0.2 s
    untold = replace(untold, collecting_s=0.001)

    assert counted_share(pairs_of([told, untold])) == pytest.approx(0.01 + 0.01)


def test_p95_is_lower_by_the_counted_lag() -> None:
    lags, owed = [0.001] * 18 + [0.010, 0.014], [0.0] * 19 + [0.004]
    told = replace(window(told=True, cores=1.0), lags_s=lags, owed_s=owed)

    assert counted_lag_s(pairs_of([told, window(told=False, cores=1.0)])) == pytest.approx(0.004)


def test_an_interval_across_the_target_is_uncertain() -> None:
    assert Estimate(value=1.0, least=0.5, most=2.0).verdict(2.0) == MET
    assert Estimate(value=1.0, least=0.5, most=2.1).verdict(2.0) == CANNOT_TELL
    assert Estimate(value=3.0, least=2.1, most=4.0).verdict(2.0) == MISSED


def test_the_slowest_events_show_whether_the_processor_was_lost() -> None:
    facts = [fact_of(1e-5, 1e-5)] * 297
    facts += [
        fact_of(9e-5, 1e-5),
        fact_of(8e-5, 8e-5, collected=True),
        fact_of(7e-5, 7e-5),
    ]

    why = slowest(facts)

    assert (why.facts, why.without_processor, why.with_collection) == (3, 1, 1)


@pytest.mark.parametrize(("control_s", "verdict"), [(2e-5, MISSED), (8e-5, CANNOT_TELL)], ids=str)
def test_a_slow_event_proves_nothing_on_a_slow_machine(control_s: float, verdict: str) -> None:
    facts = [fact_of(9e-5, 1e-5, control_s=control_s)] * 300

    assert (
        figures_of(found(run_of(3, costs=0.0), facts=facts)).verdicts()["emit() alone"] == verdict
    )


@pytest.mark.parametrize(
    "said", [{"recorded": 0}, {"shown": 0}, {"lost": 1}, {"on_the_line": False}], ids=str
)
def test_no_target_is_met_without_calls_record_and_console(said: dict[str, int]) -> None:
    windows = run_of(3, costs=0.0)

    assert figures_of(found(windows)).verdicts()["everyone was told"] == MET
    assert figures_of(found(windows, **said)).verdicts()["everyone was told"] == MISSED
