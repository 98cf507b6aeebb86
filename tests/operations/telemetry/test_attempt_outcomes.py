"""Each attempt of a call is counted once, by its outcome."""

import pytest

from fallbacks.facts import AttemptDropped, AttemptFailed, AttemptWon
from fallbacks.failure import Kind, Scope
from operations.telemetry.meters import KEPT, OUTCOMES, AttemptOutcomes

TOLD = AttemptWon | AttemptFailed | AttemptDropped


def won(attempt: int = 1, stage: str = "tts") -> AttemptWon:
    return AttemptWon(stage=stage, provider="cartesia", attempt=attempt, after_s=0.1)


def failed(attempt: int = 1) -> AttemptFailed:
    return AttemptFailed(
        stage="tts", provider="cartesia", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.4,
        attempt=attempt,
    )  # fmt: skip


def dropped(attempt: int = 1) -> AttemptDropped:
    return AttemptDropped(stage="tts", provider="cartesia", attempt=attempt, because="caller")


@pytest.mark.parametrize(
    ("facts", "outcomes"),
    [
        ([won()], ["won"]),
        ([failed()], ["failed"]),
        ([dropped()], ["dropped"]),
        ([won(), failed()], ["won", "broke_off"]),
        ([won(), dropped()], ["won", None]),
        ([won(1), failed(2)], ["won", "failed"]),
        ([won(stage="llm"), failed()], ["won", "failed"]),
        ([failed(0)], [None]),
    ],
    ids=[
        "it gave something",
        "it gave nothing",
        "it was in nobody's way any more",
        "it gave something and then failed",
        "the caller spoke over what it gave",
        "another one had won",
        "one of another stage had won",
        "it was none of a stage's work in a call",
    ],
)
def test_an_attempt_has_one_outcome(facts: list[TOLD], outcomes: list[str | None]) -> None:
    attempts = AttemptOutcomes()

    assert [attempts.outcome("c", fact) for fact in facts] == outcomes
    assert {*outcomes} - {None} <= {*OUTCOMES}


def test_calls_are_kept_apart_and_events_outside_calls_are_not_counted() -> None:
    attempts = AttemptOutcomes()

    assert attempts.outcome("one", won()) == "won"
    assert attempts.outcome("other", failed()) == "failed"
    assert attempts.outcome("", won()) is None
    assert attempts.outcome("", failed()) is None


def test_the_last_attempts_of_a_long_call_are_kept_and_none_of_an_ended_one() -> None:
    attempts = AttemptOutcomes()
    for number in range(1, KEPT + 2):
        attempts.outcome("c", won(number))

    assert attempts.outcome("c", failed(1)) == "failed"  # forgotten by now
    assert attempts.outcome("c", failed(2)) == "broke_off"

    attempts.forget("c")
    assert attempts.outcome("c", failed(2)) == "failed"
