"""Verdicts against stock Pipecat, and on recordings of readers."""

from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.beside import SideFigures
from benchmarks.figures import HeardTurn, sum_up
from benchmarks.latency_report import as_json, met, ratios, show, show_clips
from benchmarks.read_clips import ClipVerdict
from lab.drill.servers import OURS, STOCK

CLIP = ClipVerdict(name="001.wav", length_s=0.8, first_word_s=1.2, split=False, requests=1)


def side(first_s: float, *, requests: int = 4, lost: int = 0) -> SideFigures:
    heard = HeardTurn(call=0, at_s=0.0, first_word_s=first_s, first_sound_s=first_s, gap_s=0.0)
    return SideFigures(figures=sum_up([heard] * 4, expected=4 + lost), requests=requests)


def test_ours_is_compared_with_stock_of_the_same_run() -> None:
    assert ratios({OURS: side(0.6), STOCK: side(0.8)}) == pytest.approx((0.75, 0.75))


@pytest.mark.parametrize(
    ("ours", "good"),
    [
        (side(0.6), True),
        (side(0.6, requests=5), True),
        (side(0.6, requests=6), False),
        (side(0.7), False),
        (side(0.6, lost=1), False),
    ],
    ids=["sooner", "a quarter more", "half as many more", "hardly sooner", "a turn lost"],
)
def test_the_target_is_faster_complete_and_no_more_expensive(
    ours: SideFigures, *, good: bool
) -> None:
    assert met({OURS: ours, STOCK: side(0.8)}) is good


def test_requests_beyond_one_a_turn_are_extra() -> None:
    assert side(0.6, requests=5).extra_requests == pytest.approx(0.25)
    assert as_json({OURS: side(0.6), STOCK: side(0.8)})["p50_ratio"] == pytest.approx(0.75)


def test_both_sides_and_the_verdict_are_printed() -> None:
    console = Console(record=True, width=150, quiet=False)

    show(console, {OURS: side(0.6), STOCK: side(0.8)}, delays="quick")

    told = console.export_text()
    assert "stock-pipecat" in told
    assert "p50 0.75 (target 0.80)" in told
    assert told.strip().endswith("met")


def test_a_clip_that_was_late_or_split_is_not_answered() -> None:
    console = Console(record=True, width=150)
    late = replace(CLIP, first_word_s=1.6)

    assert show_clips(console, {OURS: [CLIP, CLIP]})
    assert not show_clips(console, {OURS: [CLIP, late]})
    assert not show_clips(console, {OURS: [CLIP, replace(CLIP, split=True)]})
    assert "1 of 2 clips answered within 1.5 s with no turn split (1 split)" in (
        console.export_text()
    )
