"""One turn in the record: its providers, its cost, and the words of each voice."""

from typing import Any

import pytest

from calls.events import (
    AgentSaid,
    AnswerHeard,
    Event,
    FirstSpeech,
    FirstToken,
    TranscriptFinal,
    TurnDecided,
    TurnEnded,
    TurnJudged,
    TurnParts,
    UsageMeasured,
)
from calls.state import CallState
from fallbacks.events import AttemptFailed, AttemptWon
from fallbacks.failure import Kind, Scope
from operations.record.fold_rules import turn_row

PARTS = TurnParts(
    vad_s=0.2, transcript_s=0.1, decision_s=0.0, llm_s=0.3, tts_s=0.1, transport_s=0.0
)
HEARD = AnswerHeard(turn=2, at_s=3.0, v2v_s=0.7, parts=PARTS)
EMPTY: dict[str, Any] = {
    "call_id": "c1",
    "turn": 2,
    "began_at": "12:00",
    "v2v_s": None,
    "parts": {},
    "stt": "",
    "llm": "",
    "tts": "",
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "characters": 0,
    "cost": 0.0,
    "interrupted": False,
    "verdict": "",
    "why": "",
}
TIMES = {
    "vad_s": 0.2,
    "transcript_s": 0.1,
    "decision_s": 0.0,
    "llm_s": 0.3,
    "tts_s": 0.1,
    "transport_s": 0.0,
}


def call_after(*events: Event) -> CallState:
    call = CallState("c1")
    for event in (TurnDecided(turn=2, at_s=1.0), *events):
        call.add(event, "12:00")
    return call


def used(stage: str, provider: str, **amounts: Any) -> UsageMeasured:
    return UsageMeasured(turn=2, stage=stage, provider=provider, model="m", **amounts)


def spoke(provider: str, words: int) -> UsageMeasured:
    """Return a voice's usage for some words."""
    return used("tts", provider, characters=6 * words)


def failed_behind(provider: str, words: int, *, stage: str = "tts") -> AttemptFailed:
    return AttemptFailed(
        stage=stage,
        provider=provider,
        kind=Kind.CUT,
        scope=Scope.ENDPOINT,
        after_s=0.4,
        heard_words=words,
    )


def said(words: int) -> AgentSaid:
    return AgentSaid(turn=2, text="word " * words)


def span(provider: str, words: int) -> dict[str, Any]:
    return {"provider": provider, "words": words}


@pytest.mark.parametrize(
    ("events", "row"),
    [
        ((), {}),
        ((HEARD,), {"v2v_s": 0.7, "parts": TIMES}),
        ((TurnJudged(turn=2, verdict="hurt", why="clip"),), {"verdict": "hurt", "why": "clip"}),
        ((TurnEnded(turn=2, at_s=5.0, interrupted=True),), {"interrupted": True}),
        ((TurnEnded(turn=2, at_s=5.0, interrupted=False),), {}),
        (
            (TranscriptFinal(turn=2, at_s=2.0, provider="deepgram", text="yes"),),
            {"stt": "deepgram"},
        ),
        ((FirstToken(turn=2, at_s=2.5, provider="openai"),), {"llm": "openai"}),
        ((FirstSpeech(turn=2, at_s=2.8, provider="cartesia"),), {"tts": "cartesia"}),
        (
            (
                FirstSpeech(turn=2, at_s=2.8, provider="cartesia"),
                AttemptWon(stage="tts", provider="elevenlabs", attempt=2, after_s=0.2),
                AttemptWon(stage="llm", provider="anthropic", attempt=3, after_s=0.2),
            ),
            {"tts": "elevenlabs", "llm": "anthropic"},
        ),
        (
            (
                used("llm", "openai", prompt_tokens=100, completion_tokens=7, cost=0.25),
                used("llm", "openai", prompt_tokens=20, completion_tokens=5, cost=0.5),
                used("tts", "cartesia", characters=40, cost=0.125),
                used("tts", "cartesia", characters=2, cost=0.0),
            ),
            {
                "prompt_tokens": 120,
                "completion_tokens": 12,
                "characters": 42,
                "cost": 0.875,
            },
        ),
        ((used("llm", "openai", cost=0.25), used("tts", "cartesia")), {"cost": None}),
        ((used("tts", "cartesia"), used("llm", "openai", cost=0.25)), {"cost": None}),
    ],
    ids=[
        "no event",
        "the times of an answer",
        "a verdict",
        "interrupted",
        "not interrupted",
        "its recogniser",
        "its model",
        "its voice",
        "the last model and voice",
        "summed usage and cost",
        "an unknown price",
        "an unknown price stays unknown",
    ],
)
def test_a_turn_is_one_row(events: tuple[Event, ...], row: dict[str, Any]) -> None:
    assert turn_row(call_after(*events), 2) == EMPTY | row


@pytest.mark.parametrize(
    ("events", "words", "spans"),
    [
        ((), 3, [span("", 3)]),
        ((FirstSpeech(turn=2, at_s=2.8, provider="clips"),), 3, [span("clips", 3)]),
        ((spoke("a", 2),), 5, [span("a", 5)]),
        ((spoke("a", 2), spoke("b", 1)), 6, [span("a", 2), span("b", 4)]),
        ((spoke("a", 2), spoke("b", 1)), 1, [span("a", 1)]),
        ((spoke("a", 2), spoke("a", 3), spoke("b", 1)), 6, [span("a", 5), span("b", 1)]),
        (
            (spoke("a", 2), spoke("b", 1), spoke("a", 1)),
            6,
            [span("a", 2), span("b", 1), span("a", 3)],
        ),
        ((spoke("a", 9), failed_behind("a", 4), spoke("b", 5)), 7, [span("a", 4), span("b", 3)]),
        (
            (spoke("a", 9), spoke("b", 1), failed_behind("a", 4), spoke("c", 5)),
            7,
            [span("a", 4), span("b", 1), span("c", 2)],
        ),
        ((failed_behind("a", 4), spoke("b", 5)), 7, [span("a", 4), span("b", 3)]),
        ((spoke("a", 2), failed_behind("a", 0), spoke("b", 5)), 7, [span("a", 2), span("b", 5)]),
        ((spoke("a", 2), failed_behind("llm", 9, stage="llm")), 7, [span("a", 7)]),
        ((spoke("a", 2), used("llm", "llm", characters=60)), 7, [span("a", 7)]),
        ((spoke("a", 2), used("tts", "b")), 7, [span("a", 7)]),
    ],
    ids=[
        "no voice is known",
        "a voice that bills nothing",
        "one voice spoke everything",
        "the last voice spoke the rest",
        "the caller heard only the first voice",
        "consecutive bills of one voice are one span",
        "a voice that returned",
        "a failed voice spoke the words that were heard",
        "a voice that failed while another spoke",
        "a voice that failed before it was billed",
        "a voice that failed unheard",
        "a model's failure is ignored",
        "a model's usage is ignored",
        "a voice billed for nothing spoke nothing",
    ],
)
def test_heard_words_are_split_among_the_voices(
    events: tuple[Event, ...], words: int, spans: list[dict[str, Any]]
) -> None:
    call = call_after(*events, said(words))

    assert call.turns[2].spans == spans


def test_words_are_split_once() -> None:
    call = call_after(spoke("a", 2), spoke("b", 1), FirstSpeech(turn=2, at_s=2.8, provider="b"))

    for spans in ([span("a", 2), span("b", 1)], [span("b", 3)]):
        call.add(said(3))
        assert call.turns[2].spans == spans
