"""The outcome of a call."""

import json
from dataclasses import asdict

import pytest

from calls.entry import Entry
from calls.events import (
    AnswerHeard,
    BargedIn,
    BudgetMissed,
    CallEnded,
    Event,
    PhaseRefused,
    ProviderFailed,
    TurnParts,
    UsageMeasured,
)
from calls.outcome import Outcome, call_outcome_of, spread
from calls.state import state_of
from fallbacks.events import AttemptFailed, EarlyAnswerDropped, EarlyAnswerTaken, StageExhausted
from fallbacks.failure import Kind, Scope


def answer(turn: int, v2v_s: float) -> AnswerHeard:
    parts = TurnParts(
        vad_s=0.2, transcript_s=0.0, decision_s=0.0, llm_s=v2v_s - 0.2, tts_s=0.0, transport_s=0.0
    )
    return AnswerHeard(turn=turn, at_s=0.0, v2v_s=v2v_s, parts=parts)


def attempt_failed(stage: str, provider: str, kind: Kind, scope: Scope) -> AttemptFailed:
    return AttemptFailed(stage=stage, provider=provider, kind=kind, scope=scope, after_s=0.1)


def outcome(events: list[Event]) -> Outcome:
    return call_outcome_of(state_of(events))


def test_percentiles_are_measured_values() -> None:
    found = spread([float(index) for index in range(1, 101)])

    assert (found.p50_s, found.p95_s) == (50.0, 95.0)
    assert spread([0.7]).p50_s == spread([0.7]).p95_s == 0.7


def test_the_figures_of_a_call_are_added_up() -> None:
    events: list[Event] = [
        answer(1, 0.8),
        answer(2, 1.7),
        BudgetMissed(turn=2, v2v_s=1.7, budget_s=1.5, most="llm_s"),
        BargedIn(turn=2, at_s=5.0),
        ProviderFailed(stage="transport", provider="twilio", error="hang-up answered 401"),
        attempt_failed("tts", "cartesia", Kind.CUT, Scope.ENDPOINT),
        UsageMeasured(turn=1, stage="llm", provider="openai", model="m", prompt_tokens=100,
                      completion_tokens=20, cost=0.01),
        UsageMeasured(turn=1, stage="tts", provider="cartesia", model="v", characters=80,
                      cost=0.02),
        CallEnded(reason="caller_hung_up", length_s=31.5),
    ]  # fmt: skip

    found = outcome(events)

    assert found.turns == 2
    assert found.within_budget == pytest.approx(0.5)
    assert found.v2v is not None
    assert found.v2v.p95_s == 1.7
    assert found.parts["llm_s"].p50_s == pytest.approx(0.6)
    assert (found.barge_ins, found.provider_failures) == (1, 2)
    assert found.failures == {"twilio": 1, "cartesia": 1}
    assert (found.prompt_tokens, found.completion_tokens, found.characters) == (100, 20, 80)
    assert (found.reason, found.length_s) == ("caller_hung_up", 31.5)
    assert found.cost == pytest.approx(0.03)
    assert found.costs.stages == {"llm": 0.01, "tts": 0.02}


@pytest.mark.parametrize(
    ("event", "failures"),
    [
        (attempt_failed("llm", "openai", Kind.AUTH, Scope.CREDENTIAL), 1),
        (attempt_failed("tts", "cartesia", Kind.CUT, Scope.ENDPOINT), 1),
        (attempt_failed("stt", "deepgram", Kind.RATE_LIMITED, Scope.CAPACITY), 1),
        (ProviderFailed(stage="llm", provider="openai", error="unknown: error"), 1),
        (attempt_failed("llm", "openai", Kind.BAD_REQUEST, Scope.PAYLOAD), 0),
    ],
    ids=[
        "a key refused",
        "a voice cut",
        "too many requests",
        "an error",
        "our request is too long",
    ],
)
def test_provider_failures_are_counted_and_our_own_are_not(event: Event, failures: int) -> None:
    assert outcome([event]).provider_failures == failures


def test_a_call_without_turns_has_no_percentiles() -> None:
    assert outcome([]) == Outcome(turns=0, within_budget=None, v2v=None, cost=0.0)


def test_repeated_events_are_counted_each_time() -> None:
    taken = EarlyAnswerTaken(turn=1, asked_s=0.2, gained_s=0.2, extra_share=0.1)
    dropped = EarlyAnswerDropped(turn=1, because="words", after_s=0.1, requests=1, extra_share=0.1)
    refused = PhaseRefused(phase="listening", target="speaking", cause="caller_speaks")
    failed = attempt_failed("tts", "cartesia", Kind.CUT, Scope.ENDPOINT)
    heard = UsageMeasured(turn=1, stage="stt", provider="p", model="ear", audio_s=1.5, cost=0.25)
    events: list[Event] = [
        *[taken] * 2,
        *[dropped] * 3,
        *[StageExhausted(stage="llm", attempts=2)] * 4,
        *[refused] * 5,
        *[failed] * 6,
        *[heard] * 2,
    ]

    found = outcome(events)

    assert found == Outcome(
        turns=0,
        within_budget=None,
        v2v=None,
        early_answers=2,
        early_dropped=3,
        exhausted=4,
        surprises=5,
        provider_failures=6,
        failures={"cartesia": 6},
        heard_by_stt_s=3.0,
        cost=0.5,
        costs=found.costs,
    )


def test_a_call_ends_once() -> None:
    first = CallEnded(reason="caller_hung_up", length_s=31.5)

    found = outcome([first, CallEnded(reason="error", length_s=99.0)])

    assert (found.reason, found.length_s) == ("caller_hung_up", 31.5)


def test_an_entry_is_plain_json() -> None:
    entry = Entry(call_id="c1", number=3, at="2026-01-01T00:00:00.000+00:00", event=answer(1, 0.8))

    line = json.loads(json.dumps(entry.as_json()))

    assert line["event"] == "AnswerHeard"
    assert line["parts"] == asdict(answer(1, 0.8).parts)
    assert (line["call_id"], line["number"]) == ("c1", 3)
