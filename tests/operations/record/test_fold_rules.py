"""Entries folded into rows of the record."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import pytest

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallEnded,
    CallerStarted,
    CallRefused,
    CallStarted,
    Event,
    InputRefused,
    ProviderFailed,
    TurnCosted,
    TurnDecided,
    TurnJudged,
    TurnParts,
    UsageMeasured,
)
from calls.leg_events import LegEnded
from calls.state import TURNS_KEPT
from fallbacks.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    BreakerMoved,
    EarlyAnswerAsked,
    EarlyAnswerDropped,
    RungChosen,
)
from fallbacks.failure import Kind, Scope, Severity
from operations.record.fold_rules import (
    ENDED_CALLS,
    MAX_REFUSALS,
    WITH_TURNS,
    RecordBatch,
    RecordFold,
)

STARTED = CallStarted(
    transport="twilio", agent="desk", caller="+15550101", called="+15550100", call_ref="CA1"
)
ENDED = CallEnded(reason="caller_hung_up", length_s=12.5)
PARTS = TurnParts(
    vad_s=0.2, transcript_s=0.1, decision_s=0.0, llm_s=0.3, tts_s=0.1, transport_s=0.0
)
FAILED = AttemptFailed(
    stage="tts",
    provider="cartesia",
    kind=Kind.NETWORK,
    scope=Scope.CONFIGURATION,
    after_s=0.4,
    attempt=3,
    heard_words=2,
    reason="reset",
)
ASKED, ASKED_ANOTHER = (
    AttemptStarted(stage="tts", provider=name, attempt=1, extra=False, left_s=1.0)
    for name in ("cartesia", "elevenlabs")
)
SERVED = AttemptWon(stage="tts", provider="cartesia", attempt=1, after_s=0.1)
MOVED = RungChosen(stage="tts", before="cartesia", after="elevenlabs", cause="failover")


def fold() -> RecordFold:
    return RecordFold(holder="one", messages="logs/messages")


def told(folded: RecordFold, *events: Event, call_id: str = "c1") -> RecordBatch:
    for number, event in enumerate(events, start=1):
        at = f"2026-03-01T12:00:{number:02}.000+00:00"
        folded.add(Entry(call_id=call_id, number=number, at=at, event=event))
    return folded.take()


def used(provider: str, *, turn: int, stage: str = "tts", **amounts: Any) -> UsageMeasured:
    return UsageMeasured(turn=turn, stage=stage, provider=provider, model="m", **amounts)


def only(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    (row,) = rows
    return row


def test_a_call_is_one_row_from_its_start_to_its_end() -> None:
    folded = fold()
    began = only(told(folded, STARTED).calls)
    ended = only(told(folded, ENDED).calls)

    assert (began["state"], began["caller"], began["agent"]) == ("live", "+15550101", "desk")
    assert began["holder"] == "one"
    assert (ended["state"], ended["reason"], ended["length_s"]) == ("ended", "caller_hung_up", 12.5)
    assert ended["started_at"] == began["started_at"] == "2026-03-01T12:00:01.000+00:00"
    assert ended["ended_at"] == "2026-03-01T12:00:01.000+00:00"


def test_a_resumed_call_keeps_its_beginning_and_its_turns() -> None:
    began_at = "2026-11-21T10:00:00.000+00:00"
    batch = told(fold(), replace(STARTED, gap_s=1.2, began_at=began_at, turn=3))

    row = only(batch.calls)
    assert (row["started_at"], row["turns"], row["state"]) == (began_at, 3, "live")


def test_events_outside_calls_make_no_call() -> None:
    moved = BreakerMoved(
        stage="tts", provider="cartesia", before="closed", after="open", cause="failures", after_s=9
    )
    batch = told(fold(), moved, FAILED, call_id="")

    assert batch.calls == []
    assert only(batch.breaker_moves)["holder"] == "one"
    assert only(batch.failures)["turn"] is None


def test_an_unknown_price_leaves_the_sum_unknown() -> None:
    batch = told(
        fold(),
        used("a", turn=0, cost=0.5),
        used("b", turn=0, cost=None),
        used("a", turn=0, cost=0.5),
        TurnCosted(turn=0, cost=None, currency="EUR"),
    )

    assert only(batch.turns)["cost"] is None
    assert (only(batch.calls)["cost"], only(batch.calls)["currency"]) == (None, "EUR")


def test_words_are_stored_with_their_voice() -> None:
    batch = told(
        fold(),
        TurnDecided(turn=1, at_s=2.1),
        used("cartesia", turn=1, characters=60),
        FAILED,
        used("elevenlabs", turn=1, characters=40),
        AgentSaid(turn=1, text="one two three four five six"),
    )

    said = only(batch.messages)
    assert (said["role"], said["turn"]) == ("agent", 1)
    assert said["spans"] == [
        {"provider": "cartesia", "words": 2},
        {"provider": "elevenlabs", "words": 4},
    ]


def test_a_failure_is_kept_with_its_turn() -> None:
    hears = AttemptFailed(
        stage="stt", provider="deepgram", kind=Kind.TIMEOUT, scope=Scope.CONFIGURATION, after_s=1.0
    )
    batch = told(
        fold(),
        TurnDecided(turn=1, at_s=2.1),
        FAILED,
        CallerStarted(at_s=3.0),
        hears,
        ProviderFailed(stage="llm", provider="openai", error="RuntimeError"),
    )

    assert [(failure["stage"], failure["turn"], failure["kind"]) for failure in batch.failures] == [
        ("tts", 1, "network"),
        ("stt", 2, "timeout"),
        ("llm", 1, "error"),
    ]
    assert only(batch.calls)["failures"] == 3
    assert batch.failures[0]["severity"] == Severity.LOW


EARLY = EarlyAnswerAsked(turn=2)
DROPPED = EarlyAnswerDropped(turn=2, because="caller", after_s=0.1, requests=1, extra_share=0.0)
MODEL_FAILED = replace(FAILED, stage="llm", provider="openai")


@pytest.mark.parametrize(
    ("before", "turn"),
    [
        ([], 1),
        ([EARLY], 2),
        ([EARLY, DROPPED], 1),
        ([EARLY, DROPPED, EARLY], 2),
        ([EARLY, TurnDecided(turn=2, at_s=2.0)], 2),
        ([EARLY, TurnDecided(turn=2, at_s=2.0), TurnDecided(turn=3, at_s=2.0)], 3),
    ],
)
def test_a_failure_of_an_early_answer_belongs_to_the_turn_that_it_prepares(
    before: list[Event], turn: int
) -> None:
    batch = told(fold(), STARTED, TurnDecided(turn=1, at_s=2.0), *before, MODEL_FAILED, FAILED)

    model, voice = batch.failures
    assert model["turn"] == turn
    assert voice["turn"] == max([1, *[e.turn for e in before if isinstance(e, TurnDecided)]])


def test_a_failover_is_counted() -> None:
    assert only(told(fold(), STARTED, MOVED).calls)["failovers"] == 1


def test_a_verdict_is_in_the_row_of_its_turn_and_the_worst_one_in_the_row_of_its_call() -> None:
    hurt = TurnJudged(turn=1, verdict="hurt", why="menu")
    fine = TurnJudged(turn=2, verdict="served")
    folded = fold()
    batch = told(folded, STARTED, TurnDecided(turn=1, at_s=1.0), hurt, fine)
    over = told(folded, replace(ENDED, verdict="lost", why="shutdown"))

    assert [(row["turn"], row["verdict"]) for row in batch.turns] == [(1, "hurt"), (2, "served")]
    row = only(batch.calls)
    assert (row["verdict"], row["why"]) == ("hurt", "menu")
    assert row["hurt_at"] == batch.turns[0]["began_at"]
    last = only(over.calls)
    assert (last["verdict"], last["why"], last["hurt_at"]) == ("lost", "shutdown", row["hurt_at"])


def test_a_carriers_callback_finds_its_call_whichever_worker_received_it() -> None:
    folded = fold()
    told(folded, STARTED, ENDED)
    ended = LegEnded(call_ref="CA1", outcome="completed")

    assert told(folded, ended, call_id="").outcomes == {"CA1": "completed"}
    assert only(told(folded, ended).calls)["outcome"] == "completed"


def test_unchanged_rows_are_not_written_again() -> None:
    folded = fold()
    told(folded, STARTED, TurnDecided(turn=1, at_s=1.0))

    assert folded.take() == RecordBatch()
    assert folded.live == {"c1"}


def test_a_model_request_after_the_end_is_in_the_calls_cost_and_in_no_turn() -> None:
    folded = fold()
    told(folded, STARTED, used("a", turn=1, characters=9, cost=0.5), ENDED)

    asked = replace(used("b", turn=0, characters=9, cost=0.25), behind_call="c1")
    late = told(folded, asked, call_id="")

    assert only(late.calls)["cost"] == 0.75
    assert only(late.calls)["state"] == "ended"
    assert late.turns == []
    assert told(folded, replace(asked, cost=None), call_id="").calls[0]["cost"] is None


def test_a_turn_billed_after_many_other_calls_is_only_in_its_own_calls_cost() -> None:
    folded = fold()
    told(folded, STARTED, used("a", turn=1, cost=0.5), ENDED)
    soon = told(folded, used("a", turn=1, cost=0.25))
    for number in range(WITH_TURNS):
        told(folded, STARTED, used("a", turn=1, cost=0.5), ENDED, call_id=str(number))

    late = told(folded, used("a", turn=1, cost=0.25))

    assert only(soon.turns)["cost"] == 0.75
    assert late.turns == []  # its row is not overwritten by a part of it
    assert only(late.calls)["cost"] == 1.0


def test_a_turn_is_written_before_it_is_forgotten() -> None:
    folded = fold()
    for number in range(2 * WITH_TURNS):
        for at, event in enumerate((STARTED, used("a", turn=1, cost=0.5), ENDED), start=1):
            when = f"2026-03-01T12:00:0{at}.000+00:00"
            folded.add(Entry(call_id=str(number), number=at, at=when, event=event))

    assert len(folded.take().turns) == 2 * WITH_TURNS


def test_memory_does_not_grow_with_past_calls_and_turns() -> None:
    folded = fold()
    for number in range(3 * ENDED_CALLS):
        told(folded, STARTED, ENDED, call_id=str(number))
    told(folded, *(TurnDecided(turn=index, at_s=1.0) for index in range(5 * TURNS_KEPT)))

    late = told(folded, used("a", turn=0, characters=9, cost=0.5))

    assert folded.live == {"c1"}
    assert len(folded._calls.ended) == ENDED_CALLS
    assert sum(bool(call.turns) for call in folded._calls.ended.values()) <= WITH_TURNS
    assert late.turns == []  # too long ago
    assert only(late.calls)["cost"] == 0.5


REFUSED: Final = (
    *(
        InputRefused(transport=carrier, reason=reason)
        for carrier in ("twilio", "webrtc")
        for reason in ("wrong_signature", "webhook_too_old")
    ),
    CallRefused(transport="twilio", reason="full"),
    CallRefused(transport="webrtc", reason="busy"),
)


def test_refusals_are_counted_and_not_stored_one_by_one() -> None:
    fold = RecordFold(holder="w1", messages="messages")
    for second in range(0, 1_800, 3):
        at = f"2026-01-01T10:{second // 60:02}:{second % 60:02}.000000+00:00"
        for refused in REFUSED:
            fold.add(Entry(call_id="", number=1, at=at, event=refused))

    rows = fold.take().happenings
    assert len(rows) == 3 * len(REFUSED)
    assert [row["data"]["times"] for row in rows[:: len(REFUSED)]] == [1, 200, 200]
    assert {(row["kind"], row["data"]["transport"], row["data"]["reason"]) for row in rows} == {
        (type(refused).__name__, refused.transport, refused.reason) for refused in REFUSED
    }


def test_refusals_of_a_call_are_counted_for_that_call() -> None:
    fold = RecordFold(holder="w1", messages="messages")
    for number in range(1, 101):
        for call_id in ("c1", "c2"):
            at = "2026-01-01T10:00:00.000000+00:00"
            refused = InputRefused(transport="livekit", reason="keys_faster_than_fingers")
            fold.add(Entry(call_id=call_id, number=number, at=at, event=refused))

    assert [row["call_id"] for row in fold.take().happenings] == ["c1", "c2"]


def test_the_memory_of_refusals_is_bounded() -> None:
    fold = RecordFold(holder="w1", messages="messages")
    for number in range(5_000):
        refused = InputRefused(transport="stt", reason="transcript_too_long")
        at = "2026-01-01T10:00:00.000000+00:00"
        fold.add(Entry(call_id=f"c{number}", number=1, at=at, event=refused))

    assert len(fold._refused) == MAX_REFUSALS
