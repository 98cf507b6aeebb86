"""The last 15 minutes of every rung, by minute, summed over processes."""

from dataclasses import replace

import pytest

from calls.entry import Entry
from calls.events import AnswerHeard, Event, TurnParts
from fallbacks.events import AttemptFailed, AttemptWon, RungChosen
from fallbacks.failure import Kind, Scope
from operations.telemetry.live import (
    MAX_TURNS,
    WINDOW_S,
    ConsoleSums,
    merge_recent,
    merge_turns,
    seconds_of,
)

NOON = seconds_of("2026-11-21T12:00:00.000+00:00")
PARTS = TurnParts(
    vad_s=0.2, transcript_s=0.1, decision_s=0.0, llm_s=0.3, tts_s=0.2, transport_s=0.1
)


def moment(after_s: float) -> str:
    whole = int(after_s)
    return f"2026-11-21T12:{whole // 60:02d}:{whole % 60:02d}.000+00:00"


async def heard(work: ConsoleSums, *facts: tuple[float, str, Event]) -> None:
    for number, (after_s, call, event) in enumerate(facts, 1):
        await work.hear(Entry(call_id=call, number=number, at=moment(after_s), event=event))


def won(after_s: float, provider: str = "cartesia") -> AttemptWon:
    return AttemptWon(stage="tts", provider=provider, attempt=1, after_s=after_s)


def failed(provider: str = "cartesia", kind: Kind = Kind.NETWORK) -> AttemptFailed:
    return AttemptFailed(
        stage="tts", provider=provider, kind=kind, scope=Scope.ENDPOINT, after_s=0.1, reason="gone"
    )


def merged(work: ConsoleSums, now: float, name: str = "cartesia") -> dict[str, object]:
    return merge_recent(rung for rung in work.recent.rungs(now) if rung["name"] == name)


async def test_percentiles_are_right_to_a_step() -> None:
    work = ConsoleSums()
    await heard(work, *((float(index), "c1", won(0.01 * index)) for index in range(1, 101)))

    found = merged(work, NOON + 120)

    assert found["answers"] == 100
    assert found["p50_s"] == pytest.approx(0.5, rel=0.03)
    assert found["p95_s"] == pytest.approx(0.95, rel=0.03)


async def test_counts_of_two_processes_are_one_window() -> None:
    one, other = ConsoleSums(), ConsoleSums()
    await heard(one, *((float(index), "c1", won(0.1)) for index in range(10)))
    await heard(
        other, *((float(index), "c2", won(1.0)) for index in range(10)), (11, "c2", failed())
    )

    found = merge_recent([*one.recent.rungs(NOON + 60), *other.recent.rungs(NOON + 60)])

    assert found["answers"] == 20
    assert found["p50_s"] == pytest.approx(0.1, rel=0.03)
    assert found["p95_s"] == pytest.approx(1.0, rel=0.03)
    assert found["failures"] == 1


async def test_failures_and_failovers_of_a_rung_are_counted() -> None:
    work = ConsoleSums()
    moved = RungChosen(stage="tts", before="cartesia", after="elevenlabs", cause="failover")
    facts = [(float(index), f"c{index % 3}", failed()) for index in range(10)]
    await heard(work, *facts, (12, "c0", moved), (13, "c4", moved))

    found = merged(work, NOON + 20)

    assert found["failures"] == 10
    assert found["failovers"] == 2


async def test_counts_older_than_the_window_are_forgotten_except_the_last_failure() -> None:
    work = ConsoleSums()
    await heard(work, (0, "c1", won(0.2)), (1, "c1", failed(kind=Kind.AUTH)))

    assert merged(work, NOON + 800)["answers"] == 1
    found = merged(work, NOON + WINDOW_S + 61)

    assert (found["answers"], found["failures"]) == (0, 0)
    assert found["p50_s"] is None
    assert found["last_failure"] == {
        "at": moment(1),
        "kind": "auth",
        "reason": "gone",
        "says": "cartesia rejects its key",
    }


async def test_a_probe_is_no_callers_request() -> None:
    work = ConsoleSums()
    await heard(work, (0, "", won(0.2)), (1, "", failed()))

    found = merged(work, NOON + 2)

    assert (found["answers"], found["failures"]) == (0, 0)
    assert found["last_failure"]


async def test_turns_of_two_processes_are_in_order_and_bounded() -> None:
    one, other = ConsoleSums(), ConsoleSums()
    for work, start in ((one, 0), (other, 1)):
        answers = [
            (float(at % 900), "c", AnswerHeard(turn=1, at_s=0.0, v2v_s=at / 1000, parts=PARTS))
            for at in range(start, 1_400, 2)
        ]
        await heard(work, *answers)

    found = merge_turns([one.recent.turns(NOON + 900), other.recent.turns(NOON + 900)])

    assert len(found) == MAX_TURNS
    assert [merge_turn[0] for merge_turn in found] == sorted(merge_turn[0] for merge_turn in found)


async def test_a_request_that_every_rung_would_reject_is_no_failure_of_this_one() -> None:
    work = ConsoleSums()
    rejected = replace(failed(kind=Kind.BAD_REQUEST), scope=Scope.PAYLOAD)
    await heard(work, (0, "c1", rejected))

    found = merged(work, NOON + 2)

    assert found["failures"] == 0
    assert found["last_failure"]
