"""A model's question about a call, and the reading of its answer."""

import json
from typing import Any

import pytest

from operations.after_call.asking import ReadAnswer, local_time, question_of, read_answer
from operations.after_call.outcome_rules import codes_of

ENDED = local_time(1_795_280_400.0, "Europe/Berlin")  # Saturday, 21 November 2026, 18:00 there
QUESTION = question_of(codes_of(("confirmed",)), ("Have them confirm.",), ENDED)
GOOD: dict[str, Any] = {
    "summary": "Wants another date.",
    "outcome": "callback",
    "callback_at": "2026-11-22T09:00:00+01:00",
    "notes": "Prefers mornings.",
}


def answer(**changes: Any) -> str:
    return json.dumps(GOOD | changes)


@pytest.mark.parametrize("zone", ["Asia/Nowhere", "Europe", "../zone", ""])
def test_a_zone_unknown_to_this_machine_is_utc(zone: str) -> None:
    assert local_time(1_795_280_400.0, zone).isoformat() == "2026-11-21T17:00:00+00:00"


def test_a_good_answer_is_read() -> None:
    assert read_answer(answer(), QUESTION, ENDED) == ReadAnswer(
        summary="Wants another date.",
        outcome="callback",
        callback_at_s=ENDED.timestamp() + 15 * 3600.0,
        notes="Prefers mornings.",
    )


@pytest.mark.parametrize(
    "text",
    [f"```json\n{answer()}\n```", f"Here it is: {answer()} I hope it helps."],
    ids=["fences", "words around it"],
)
def test_text_around_the_answer_does_no_harm(text: str) -> None:
    assert isinstance(read_answer(text, QUESTION, ENDED), ReadAnswer)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("The caller wants another date.", "one JSON object"),
        ("", "one JSON object"),
        ("[1, 2]", "one JSON object"),
        ('{"summary": "x", "outcome": "call', "one JSON object"),
        ("{" * 5000 + "}" * 5000, "one JSON object"),
        ("{" + " " * 30_000 + "}", "one JSON object"),
        (json.dumps({"summary": "x"}), "answer.outcome is missing"),
        (answer(outcome="sold"), "answer.outcome is none of"),
        (answer(summary=""), "shorter than 1"),
        (answer(summary="\u200b\u0007"), "no words"),
        (answer(summary=["x"]), "must be string"),
        (answer(callback_at="tomorrow at nine"), "ISO 8601"),
        (answer(callback_at="2026-11-20T09:00:00+01:00"), "after the call's end"),
        (answer(callback_at="2999-01-01T00:00:00Z"), "after the call's end"),
        (answer(callback_at=7), "must be string or null"),
    ],
)
def test_a_mistake_is_described_in_words(text: str, wrong: str) -> None:
    said = read_answer(text, QUESTION, ENDED)

    assert isinstance(said, str)
    assert wrong in said


@pytest.mark.parametrize(
    ("moment", "hours"),
    [("2026-11-22T09:00:00", 15.0), ("2026-11-22T09:00:00Z", 16.0), ("2026-11-21T17:30:00", 0.0)],
    ids=["by the person's clock", "with an offset", "a moment before the end is now"],
)
def test_a_moment_without_an_offset_is_by_the_persons_clock(moment: str, hours: float) -> None:
    read = read_answer(answer(callback_at=moment), QUESTION, ENDED)

    assert isinstance(read, ReadAnswer)
    assert read.callback_at_s == ENDED.timestamp() + hours * 3600.0


def test_a_long_answer_is_cut() -> None:
    read = read_answer(answer(summary="word " * 1000, notes="note " * 1000), QUESTION, ENDED)

    assert isinstance(read, ReadAnswer)
    assert len(read.summary) <= 600
    assert len(read.notes) <= 600
