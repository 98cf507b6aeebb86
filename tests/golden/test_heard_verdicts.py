"""In the golden calls, each verdict is what the drill has found in the recording of the line."""

import json
from pathlib import Path
from typing import Any

import pytest

from calls.verdict import severity_of
from tests.golden.trace import TRACES

PREFERRED = {"cartesia"}
# Reasons that the words in a recording do not show; a filler comes before the answer.
UNHEARD = {"filler", "late", "resumed", "shutdown"}
READS_BACK = {"CallbackWanted", "PersonWanted"}  # the agent says a number that no model wrote
JUDGED = [
    path for path in sorted(TRACES.glob("*.jsonl")) if "TurnJudged" in path.read_text("utf-8")
]


def parts_of(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def heard_in(parts: list[list[Any]]) -> str:
    """Return the worst that the recordings of a trace show."""
    reads_back = any(part[1] in READS_BACK for part in parts)
    found = ["served"]
    for words, more in (part[2:4] for part in parts if part[0] == "heard"):
        if not words:
            found.append("hurt" if more.get("missing") else "served")
        elif {voice for voice, _ in words} - PREFERRED or (more.get("other") and not reads_back):
            found.append("degraded")
    return max(found, key=severity_of)


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", JUDGED, ids=name_of)
def test_a_verdict_is_what_was_heard(path: Path) -> None:
    parts = parts_of(path)
    ended = [part[2] for part in parts if part[1] == "CallEnded"]
    rows = [part[3] for part in parts if part[:2] == ["row", "calls"]]
    told = max(ended, key=lambda end: severity_of(end["verdict"]))
    judged = [part[2] for part in parts if part[1] == "TurnJudged"]
    greetings = {turn["why"] for turn in judged if "turn" not in turn and "why" in turn}

    assert sorted(row["verdict"] for row in rows) == sorted(end["verdict"] for end in ended)
    if told.get("why") not in UNHEARD | greetings:  # recordings are of answers
        assert told["verdict"] == heard_in(parts)
