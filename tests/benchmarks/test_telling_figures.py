"""What is made of the windows in which was told, and in which was not."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.telling import figures_of, met


def window(*, told: bool, cores: float, lag_s: float) -> SimpleNamespace:
    return SimpleNamespace(told=told, cores=cores, lag_p95_s=lag_s, entries=100)


def found(**said: Any) -> Any:
    windows = [
        window(told=True, cores=0.82, lag_s=0.010),
        window(told=False, cores=0.80, lag_s=0.009),
        window(told=False, cores=0.90, lag_s=0.011),
        window(told=True, cores=0.92, lag_s=0.013),
        window(told=True, cores=0.99, lag_s=0.200),  # somebody else had the machine
        window(told=False, cores=0.79, lag_s=0.009),
    ]
    tells = [1e-5] * 100
    plain = {"tell_s": tells, "in_calls_s": tells, "windows": windows, "lost": 0}
    return SimpleNamespace(**{**plain, "recorded": 9, "shown": 9, **said})


def test_what_counts_is_the_pair_in_the_middle() -> None:
    figures = figures_of(found())

    assert figures["lag_more_ms"] == pytest.approx(2.0)
    assert figures["cpu_share"] == pytest.approx(0.02 / 0.82, abs=1e-4)
    assert [each["lag_more_ms"] for each in figures["pairs"]] == pytest.approx([1.0, 2.0, 191.0])


@pytest.mark.parametrize("missing", ["recorded", "shown"])
def test_without_a_record_or_a_console_nothing_is_met(missing: str) -> None:
    figures = figures_of(found())
    figures["lag_more_ms"] = 1.9

    assert met(figures)
    assert not met(figures | {missing: 0})
