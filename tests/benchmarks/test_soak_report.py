"""The report of a soak with faults."""

from typing import Any

import pytest

from benchmarks.figures import Slope
from benchmarks.soak_report import AFTER_S, common_slope, lines, verdict

FAULT = {"what": "fault", "name": "tts dead", "at_s": 100.0, "until_s": 110.0, "wrong": ""}


def turn(began_s: float, *, whole: bool, first_word_s: float = 0.7) -> dict[str, Any]:
    return {
        "what": "turn", "at_s": began_s + 1.0, "began_s": began_s, "end_s": began_s + 8.0,
        "whole": whole, "first_word_s": first_word_s, "summary": f"caller 0 at {began_s}",
    }  # fmt: skip


def call(began_s: float, end_s: float, error: str) -> dict[str, Any]:
    return {
        "what": "call", "at_s": end_s, "began_s": began_s, "end_s": end_s, "error": error,
        "streams": 1,
    }  # fmt: skip


def process(at_s: float, memory_mb: float, pid: int = 7) -> dict[str, Any]:
    return {
        "what": "process", "at_s": at_s, "machine": "a", "role": "worker", "pid": pid,
        "memory_mb": memory_mb, "descriptors": 40, "threads": 5,
    }  # fmt: skip


def size(at_s: float, calls: int, logs_mb: float) -> dict[str, Any]:
    return {"what": "size", "at_s": at_s, "calls": calls, "logs_mb": logs_mb, "database_mb": 9.0}


@pytest.mark.parametrize(
    ("began_s", "counts_in_fault"),
    [(91.0, False), (93.0, True), (105.0, True), (110.0 + AFTER_S - 1.0, True), (126.0, False)],
)
def test_only_turns_that_a_fault_may_have_touched_may_be_broken(
    *, began_s: float, counts_in_fault: bool
) -> None:
    told = list(lines([FAULT, turn(began_s, whole=False)]))

    assert ("turns in faults: 1, not whole 1" in told) == counts_in_fault
    assert ("turns outside faults: 1, not whole 1: MISSED" in told) != counts_in_fault


def test_a_long_call_that_ends_early_counts_where_it_ended() -> None:
    told = list(lines([FAULT, call(20.0, 112.0, "gone"), call(90.0, 190.0, "gone later")]))

    assert "calls that ended early or were refused, outside faults: 1: MISSED" in told
    assert "    1 gone later" in told
    assert "calls that ended early or were refused, in faults: 1" in told


def test_a_fault_that_went_wrong_fails_the_run() -> None:
    told = "\n".join(lines([FAULT | {"wrong": "TimeoutError: "}]))

    assert "went wrong, MISSED" in told


@pytest.mark.parametrize(
    ("a_minute", "give_or_take", "allowed", "word"),
    [
        (0.010, 0.005, 1.0, "met"),
        (0.015, 0.005, 1.0, "cannot tell"),
        (0.030, 0.005, 1.0, "MISSED"),
        (0.010, 0.015, 0.0, "met"),
        (-0.010, 0.005, 0.0, "met"),
        (0.010, 0.005, 0.0, "MISSED"),
    ],
)
def test_the_whole_interval_decides(
    a_minute: float, give_or_take: float, allowed: float, word: str
) -> None:
    found = Slope(a_minute=a_minute, give_or_take=give_or_take, start=0.0)

    assert verdict(found, 1.0, allowed).endswith(f": {word}")


def test_a_replaced_process_with_more_memory_is_no_growth() -> None:
    first = [(60.0 * at, 100.0) for at in range(10)]
    second = [(60.0 * at, 150.0) for at in range(12, 22)]

    found = common_slope([first, second])

    assert found
    assert found.a_minute == pytest.approx(0.0)


def test_processes_that_grow_alike_have_their_common_slope() -> None:
    first = [(60.0 * at, 100.0 + 2.0 * at) for at in range(10)]
    second = [(60.0 * at, 50.0 + 2.0 * at) for at in range(12, 22)]

    found = common_slope([first, second])

    assert found
    assert found.a_minute == pytest.approx(2.0)


def test_a_new_process_may_grow_for_ten_minutes() -> None:
    early = [process(10.0 * at, 100.0) for at in range(200)]
    young = [process(1000.0 + 10.0 * at, 50.0 + min(at, 59), pid=8) for at in range(99)]

    told = list(lines(early + young))

    assert "  memory_mb, last 100: +0.000 ± 0.000 (limit 1): met" in told


def test_a_process_of_the_spared_machine_that_ends_fails_the_run() -> None:
    ended = [process(0.0, 100.0), process(10.0, 100.0, pid=8)]
    killed = [sample | {"machine": "b"} for sample in ended]

    assert "machine a, worker: 2 processes, MISSED: one ended without a fault; in an hour" in list(
        lines(ended)
    )
    assert "machine b, worker: 2 processes; in an hour" in list(lines(killed))


def test_a_call_may_not_add_more_and_more_to_the_logs() -> None:
    told = list(lines([size(0.0, 0, 0.0), size(60.0, 10, 1.0), size(120.0, 20, 3.0)]))

    assert "logs_mb, last 3.0: 100.0, then 200.0 kB a call: MISSED" in told
    assert "database_mb, last 9.0: 0.0, then 0.0 kB a call: met" in told


def test_a_first_word_that_comes_later_and_later_fails_the_run() -> None:
    turns = [turn(60.0 * at, whole=True, first_word_s=0.7 + 0.001 * at) for at in range(60)]

    (told,) = (line for line in lines(turns) if line.startswith("first word over the run"))

    assert told.endswith("MISSED")
