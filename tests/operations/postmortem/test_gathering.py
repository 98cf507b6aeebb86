from collections.abc import Sequence

import pytest

from operations.postmortem.gathering import (
    breaker_states,
    close_for_dead_processes,
    find_outages,
    latency_around,
    latency_of,
)
from operations.record.reader import BreakerMoveRow, FailureRow
from tests.operations.postmortem.rows import at, failure, move, turn


@pytest.mark.parametrize(
    ("failures", "moves", "expected"),
    [
        ([], [], []),
        ([failure(10)], [], [(10, 10)]),
        ([failure(10), failure(11.9)], [], [(10, 11.9)]),
        ([failure(10), failure(12.1)], [], [(10, 10), (12.1, 12.1)]),
        ([failure(10)], [move(10, "open"), move(30, "closed")], [(10, 30)]),
        ([failure(10), failure(20)], [move(10, "open"), move(30, "closed")], [(10, 30)]),
        ([], [move(10, "open"), move(12, "half_open")], [(10, None)]),
        ([], [move(10, "closed")], []),
        (
            [],
            [
                *(move(10, "open"), move(11, "open", holder="two")),
                *(move(12, "closed"), move(20, "closed", holder="two")),
            ],
            [(10, 20)],
        ),
        ([failure(10), failure(10, provider="elevenlabs")], [], [(10, 10), (10, 10)]),
        ([failure(-9)], [], []),
    ],
    ids=[
        *("nothing", "one failure", "two in a row", "two apart", "as long as a breaker is open"),
        *("a failure meanwhile is of it", "it is not over", "a breaker that closes begins none"),
        *("until the last process is well", "each rung has its own", "over before the span"),
    ],
)
def test_an_outage_lasts_from_the_first_failure_until_recovery(
    failures: Sequence[FailureRow],
    moves: Sequence[BreakerMoveRow],
    expected: list[tuple[float, float | None]],
) -> None:
    found = find_outages(failures, moves, at(0))

    assert [(outage.began, outage.ended) for outage in found] == [
        (at(began), None if ended is None else at(ended)) for began, ended in expected
    ]


def test_a_lost_process_does_not_keep_an_outage_open() -> None:
    moves = [move(10, "open"), move(10, "open", holder="two")]
    seen = {"one": at(14), "two": at(59.75)}

    ended = close_for_dead_processes(moves, seen, at(60))

    assert [
        (breaker_move_row.holder, breaker_move_row.after, breaker_move_row.at)
        for breaker_move_row in ended[2:]
    ] == [("one", "closed", at(14))]
    assert find_outages([], ended, at(0))[0].ended is None
    assert find_outages([], close_for_dead_processes(moves[:1], seen, at(60)), at(0))[
        0
    ].ended == at(14)


def test_waits_before_during_and_after_have_the_same_length_and_at_least_five_minutes() -> None:
    (outage,) = find_outages([failure(10), failure(11)], [], at(0))
    turns = [
        turn(4.9, 9.0),
        turn(5, 0.5),
        turn(10, 2.0),
        turn(11, 0.7),
        turn(15.9, 0.8),
        turn(16, 9),
    ]

    found = latency_around(outage, turns, at(60), budget_s=1.5)

    assert {name: (each.turns, each.max_s) for name, each in found.items()} == {
        "before": (1, 0.5),
        "during": (1, 2.0),
        "after": (2, 0.8),
    }


def test_an_ongoing_outage_has_no_figures_after_it_yet() -> None:
    (outage,) = find_outages([], [move(10, "open")], at(0))

    assert latency_around(outage, [turn(20, 1.0)], at(30), budget_s=1.5)["after"].turns == 0


def test_a_greeting_is_no_answer_and_only_an_answer_over_budget_is_late() -> None:
    turns = [turn(0, None, number=0), turn(1, 1.0), turn(2, None), turn(3, 2.0)]
    found = latency_of(turns, budget_s=1.5)

    assert (found.turns, found.answered, found.late) == (3, 2, 1)
    assert (found.p50_s, found.p95_s, found.max_s) == (1.0, 2.0, 2.0)


def test_a_rungs_line_shows_the_worst_of_all_processes() -> None:
    moves = [
        *(move(1, "open"), move(2, "half_open", holder="two"), move(3, "half_open")),
        *(move(4, "closed"), move(5, "closed", holder="two")),
    ]

    assert breaker_states(moves) == {
        ("tts", "cartesia"): [(at(1), "open"), (at(3), "half_open"), (at(5), "closed")]
    }
