"""When the simulated providers worked for a turn."""

from typing import Any

import pytest

from benchmarks.accounting import Moments
from benchmarks.ear import UnhealthyTurnError
from benchmarks.lab_times import FURTHER_WORDS, busy_times

LAB_S = 50.0  # the lab started then
TURN = Moments(
    began_s=98.5,
    stopped_s=100.0,
    noticed_s=100.2,
    transcript_s=100.3,
    decided_s=100.3,
    first_token_s=100.6,
    first_speech_s=100.8,
    played_s=100.8,
    heard_s=100.8,
)


def mark(what: str, at_s: float, words: int = 0) -> dict[str, Any]:
    return {"what": what, "at_s": at_s - LAB_S, "words": words}


def asked(at_s: float, *marks: dict[str, Any]) -> dict[str, Any]:
    return {"at_s": at_s - LAB_S, "marks": list(marks)}


def recorded() -> dict[str, list[dict[str, Any]]]:
    return {
        "deepgram": [
            asked(90.0, mark("flush", 95.0), mark("flushed", 95.1)),  # another turn's
            asked(91.0, mark("flush", 100.201), mark("flushed", 100.29)),
        ],
        "openai": [
            asked(95.2, mark("sentence", 95.5, 1), mark("next", 95.6, 2)),
            asked(
                100.31,
                mark("sentence", 100.6, 1),
                mark("next", 100.62, 2),
                mark("sentence", 100.68, 4),
                mark("next", 100.69, 5),
                mark("next", 100.7, 6),
                mark("next", 100.72, 7),
            ),
        ],
        "cartesia": [asked(100.71, mark("text", 100.71, 4), mark("audio", 100.79))],
    }


def test_each_provider_is_busy_from_its_request_to_the_needed_part_of_its_answer() -> None:
    found = busy_times(recorded(), TURN, lab_started_at_s=LAB_S)

    assert [(busy.who, busy.begin_s, busy.end_s, busy.excused) for busy in found] == [
        ("stt", pytest.approx(100.201), pytest.approx(100.29), True),
        ("llm", pytest.approx(100.31), pytest.approx(100.68), True),
        (FURTHER_WORDS, pytest.approx(100.68), pytest.approx(100.7), False),
        ("tts", pytest.approx(100.71), pytest.approx(100.79), True),
    ]


@pytest.mark.parametrize(
    ("instance", "change", "reason"),
    [
        ("deepgram", [], "the recogniser was not asked"),
        ("openai", [], "the model was asked 0 times"),
        ("cartesia", [], "the voice was asked 0 times"),
        ("openai", recorded()["openai"][1:] * 2, "the model was asked 2 times"),
    ],
    ids=["no recogniser", "no model", "no voice", "two requests"],
)
def test_a_turn_that_differs_from_a_healthy_one_is_set_aside(
    instance: str, change: list[dict[str, Any]], reason: str
) -> None:
    requests = recorded() | {instance: change}

    with pytest.raises(UnhealthyTurnError, match=reason):
        busy_times(requests, TURN, lab_started_at_s=LAB_S)


def test_a_request_before_the_vad_was_sure_counts_for_this_turn() -> None:
    requests = recorded()
    requests["deepgram"] = [asked(91.0, mark("flush", 99.98), mark("flushed", 100.07))]
    requests["openai"][1]["at_s"] = 100.08 - LAB_S

    found = busy_times(requests, TURN, lab_started_at_s=LAB_S)

    assert [(busy.who, busy.begin_s) for busy in found[:2]] == [
        ("stt", pytest.approx(99.98)),
        ("llm", pytest.approx(100.08)),
    ]


def test_a_model_whose_first_clause_was_spoken_is_busy_until_that_was_sent() -> None:
    requests = recorded()
    requests["cartesia"] = [
        asked(100.65, mark("text", 100.65, 3), mark("text", 100.7, 1), mark("audio", 100.73))
    ]

    found = busy_times(requests, TURN, lab_started_at_s=LAB_S)

    model, waiting = found[1:3]
    assert (model.who, model.begin_s) == ("llm", pytest.approx(100.31))
    assert model.end_s == waiting.begin_s == waiting.end_s == pytest.approx(100.65)
