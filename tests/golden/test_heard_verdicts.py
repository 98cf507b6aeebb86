"""In the golden calls, each verdict is what the drill has found in the recording of the line.

Of a greeting the drill has no recording: the lab's record shows which voice spoke it. Moments are
not in a trace, so a verdict that an answer was late, and nothing else, is not compared.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from calls.verdict import severity_of
from tests.golden.trace import TRACES

PREFERRED = "cartesia"
GREETING = "Hello, this is Holdline."
SIGN = "+"  # of a number that is read back: a voice speaks it, and it is no word in a recording
# The drill judges only the last turn; the filler was in the turn before.
FILLER_BEFORE = {"barge-in-clip"}
# A sound that was played again is heard in a turn, and is judged for the call.
JUDGED_AS_A_CALL = {"line-lost"}
JUDGED = [
    path for path in sorted(TRACES.glob("*.jsonl")) if "TurnJudged" in path.read_text("utf-8")
]


def parts_of(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def heard_in(parts: list[list[Any]]) -> list[str]:
    """Return what the recording of each judged turn shows."""
    sign = any(SIGN in text for text in spoken_by(PREFERRED, parts))
    found: list[str] = []
    for words, more in (part[2:4] for part in parts if part[0] == "heard"):
        if not words:
            found.append("hurt" if more.get("missing") else "served")
        elif {voice for voice, _ in words} - {PREFERRED} or (more.get("other") and not sign):
            found.append("degraded")
        else:
            found.append("served")
    return found


def greeted_in(parts: list[list[Any]]) -> list[str]:
    """Return what the lab's record shows of the greetings, the worst first."""
    calls = sum(part[1] == "CallEnded" for part in parts)
    well = sum(GREETING in text for text in spoken_by(PREFERRED, parts))
    return ["degraded"] * (calls - well) + ["served"] * well


def spoken_by(voice: str, parts: list[list[Any]]) -> list[str]:
    """Return the texts that a voice of the lab has spoken whole."""
    asked = [part[1:] for part in parts if part[0] == "request"]
    return [
        more.get("text", "")
        for name, _, outcome, more in asked
        if name == voice and outcome == "done" and "fault" not in more
    ]


def judged_in(parts: list[list[Any]], *, greetings: bool) -> list[str]:
    """Return the verdicts on the greetings or on the answers."""
    judged = [part[2] for part in parts if part[1] == "TurnJudged"]
    return [turn["verdict"] for turn in judged if ("turn" not in turn) is greetings]


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", JUDGED, ids=name_of)
def test_a_verdict_is_what_was_heard(path: Path) -> None:
    parts = parts_of(path)
    ended = [part[2] for part in parts if part[1] == "CallEnded"]
    rows = [part[3] for part in parts if part[:2] == ["row", "calls"]]
    told = max(ended, key=lambda end: severity_of(end["verdict"]))

    assert sorted(row["verdict"] for row in rows) == sorted(end["verdict"] for end in ended)
    if path.stem not in FILLER_BEFORE:
        heard = [*heard_in(parts), *greeted_in(parts)]
        assert told["verdict"] == max(heard, key=severity_of)


@pytest.mark.parametrize("path", JUDGED, ids=name_of)
def test_the_verdict_on_each_turn_is_what_was_heard(path: Path) -> None:
    parts = parts_of(path)
    heard, judged = heard_in(parts), judged_in(parts, greetings=False)
    if path.stem.startswith("barge-in"):  # the drill judges the turn after it
        judged = judged[-len(heard) :]

    if len(heard) != len(judged):  # one recording of several turns, or of sentences in turn 0
        judged = [max([*judged, *judged_in(parts, greetings=True)], key=severity_of)]
        heard = [max(heard, key=severity_of)]
    if path.stem not in JUDGED_AS_A_CALL:
        assert judged == heard


@pytest.mark.parametrize("path", JUDGED, ids=name_of)
def test_the_verdict_on_a_greeting_is_how_it_was_spoken(path: Path) -> None:
    parts = parts_of(path)

    if judged_in(parts, greetings=False):  # else other sentences belong to turn 0, too
        assert sorted(judged_in(parts, greetings=True)) == sorted(greeted_in(parts))
