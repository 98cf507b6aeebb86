"""How the time of an answer is split up."""

import dataclasses
import io
from collections import Counter

import pytest
from rich.console import Console

from benchmarks.accounting import Account, BusyPeriod, Moments, clip, compare, covered_s, split_time
from benchmarks.report import show
from calls.outcome import Spread

TURN = Moments(
    began_s=98.5,
    stopped_s=100.0,
    noticed_s=100.2,
    transcript_s=100.3,
    decided_s=100.31,
    first_token_s=100.7,
    first_speech_s=100.85,
    played_s=100.86,
    heard_s=100.88,
)
OTHERS = (
    BusyPeriod(who="vad", begin_s=100.0, end_s=100.2),
    BusyPeriod(who="turn detector", begin_s=100.2, end_s=100.26),
    BusyPeriod(who="stt", begin_s=100.205, end_s=100.295),
    BusyPeriod(who="llm", begin_s=100.32, end_s=100.71),
    BusyPeriod(who="tts", begin_s=100.73, end_s=100.845),
    BusyPeriod(who="voice's lead-in", begin_s=100.86, end_s=100.88),
)


def account(own_s: float) -> Account:
    own = {"tts_s": own_s}
    return Account(v2v_s=1.0, parts={}, own=own, others={}, moments=TURN, busy=())


@pytest.mark.parametrize(
    ("busy", "covered"),
    [
        ((), 0.0),
        (((1.0, 2.0),), 1.0),
        (((0.0, 1.5), (3.5, 9.0)), 1.0),
        (((1.0, 3.0), (1.5, 2.5)), 2.0),
        (((1.5, 2.5), (1.0, 2.0), (2.25, 3.0)), 2.0),
        (((5.0, 6.0), (-1.0, 0.5)), 0.0),
    ],
    ids=["nobody", "inside", "reaching out", "within another", "a chain", "elsewhere"],
)
def test_time_shared_by_several_providers_is_subtracted_once(
    busy: tuple[tuple[float, float], ...], covered: float
) -> None:
    each = [BusyPeriod(who="x", begin_s=begin_s, end_s=end_s) for begin_s, end_s in busy]

    assert covered_s(each, 1.0, 4.0) == pytest.approx(covered)


def test_busy_time_outside_the_span_is_clipped_to_nothing() -> None:
    begin_s, end_s = clip(BusyPeriod(who="x", begin_s=5.0, end_s=6.0), 1.0, 4.0)

    assert begin_s == end_s


def test_the_parts_add_up_to_the_whole_answer() -> None:
    found = split_time(TURN, OTHERS)

    assert found.v2v_s == pytest.approx(0.88)
    assert sum(found.parts.values()) == pytest.approx(found.v2v_s)


def test_time_with_no_provider_busy_counts_as_ours() -> None:
    found = split_time(TURN, OTHERS)

    assert found.own == pytest.approx(
        {
            "vad_s": 0.0,
            "transcript_s": 0.005,
            "decision_s": 0.01,
            "llm_s": 0.01,
            "tts_s": 0.025,
            "transport_s": 0.01,
        }
    )
    assert found.own_s == pytest.approx(0.06)


def test_a_wait_that_is_shown_but_not_excused_stays_ours() -> None:
    wait = BusyPeriod(who="the word after", begin_s=100.71, end_s=100.725, excused=False)

    found = split_time(TURN, (*OTHERS, wait))

    assert found.others["the word after"] == pytest.approx(0.015)
    assert found.own_s == pytest.approx(split_time(TURN, OTHERS).own_s)
    assert found.unwaited_s == pytest.approx(found.own_s - 0.015)


def test_a_transcript_that_arrived_before_the_vad_decided_adds_no_time() -> None:
    early = dataclasses.replace(TURN, transcript_s=100.1)

    found = split_time(early, ())

    assert found.parts["transcript_s"] == 0.0
    assert found.parts["decision_s"] == pytest.approx(0.11)


def test_a_recogniser_asked_twice_is_counted_with_both_its_times() -> None:
    twice = (
        BusyPeriod(who="stt", begin_s=100.2, end_s=100.22),
        BusyPeriod(who="stt", begin_s=100.25, end_s=100.3),
    )

    assert split_time(TURN, twice).others["stt"] == pytest.approx(0.07)


def test_the_difference_is_taken_pair_by_pair() -> None:
    ours = [account(number) for number in (0.030, 0.050, 0.020)]
    theirs = [account(number) for number in (0.025, 0.040, 0.030)]

    found = compare(ours, theirs)

    assert found.ratio == pytest.approx(1.0)
    assert found.difference.p50_s == pytest.approx(0.005)
    assert found.difference.p95_s == pytest.approx(0.010)


@pytest.mark.parametrize(
    ("p50_s", "p95_s", "met"),
    [(0.040, 0.090, True), (0.041, 0.090, False), (0.040, 0.091, False)],
    ids=["just", "median over", "tail over"],
)
def test_the_target_holds_for_the_median_and_the_tail(
    p50_s: float, p95_s: float, *, met: bool
) -> None:
    found = compare([account(0.01)], [account(0.01)])

    target = dataclasses.replace(found, ours=Spread(p50_s=p50_s, p95_s=p95_s))

    assert target.within_target is met


def test_a_part_used_in_only_some_turns_counts_as_idle_in_the_others() -> None:
    console = Console(record=True, width=150, file=io.StringIO())
    judged = split_time(TURN, OTHERS)
    early = split_time(TURN, [item for item in OTHERS if item.who != "turn detector"])

    show(console, [judged, early], [early, early], aside=Counter())

    told = console.export_text().splitlines()
    assert any("turn detector" in line and "0.0 / 0.0" in line for line in told)
