"""The log at INFO, as an operator reads it, when the first model has a bad key."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.recording import read_recording
from lab.replay import KeptEntries, Replayed, replay_one
from operations.telemetry import logs
from tests.kit.near import near_process

CALLER = Path(__file__).parents[1] / "fixtures" / "callers" / "01_hours.wav"
ONCE = "{} refused one call's request (401); it is being probed"
SECOND = "OpenAI (openai-b)"
LOUD = ("WARNING", "ERROR", "CRITICAL")

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


async def calls_in(folder: Path, *, keys: dict[str, str], calls: int) -> list[Replayed]:
    """Make calls, one after the other, to a process with wrong keys for the lab."""
    wrong = {name: {"api_key": key} for name, key in keys.items()}
    notes, caller = KeptEntries(), read_recording(CALLER)
    async with near_process(folder, notes, rungs=wrong, words=False) as process:
        return [
            await replay_one(process, notes, caller, path=CALLER, folder=folder / str(call))
            for call in range(calls)
        ]


def loud_lines(file: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Return level, name and content of lines above INFO, except those of each turn."""
    logs.flush()
    fields = [line.split(" | ", 2) for line in file.read_text().splitlines()]
    loud = [(level.strip(), text) for _, level, text in fields if level.strip() in LOUD]
    return [
        (level, text.split(" - ")[1].split()[1], json.loads(text[text.index("{") :]))
        for level, text in loud
        if "BudgetMissed" not in text and "TTFB not reported" not in text
    ]


async def test_three_calls_that_meet_one_refused_key_are_two_lines(
    tmp_path: Path, log_file: Path
) -> None:
    replayed = await calls_in(tmp_path, keys={"openai": "sk-wrong"}, calls=3)

    assert [(level, name, told["reason"]) for level, name, told in loud_lines(log_file)] == [
        ("ERROR", "IncidentBegan", ONCE.format("OpenAI")),
        ("ERROR", "IncidentGrew", "OpenAI rejects OPENAI_API_KEY (401)"),
    ]
    for _, _, told in loud_lines(log_file):
        assert (told["stage"], told["rung"], told["kind"]) == ("llm", "openai", "auth")
        assert told["severity"] == "high"
        assert told["then"].startswith("openai-b is used instead")
    assert [item.outcome.turns for item in replayed] == [1, 1, 1]


async def test_a_stage_whose_every_key_is_refused_is_critical(
    tmp_path: Path, log_file: Path
) -> None:
    keys = {"openai": "sk-wrong", "openai-b": "sk-wrong-too"}
    replayed = await calls_in(tmp_path, keys=keys, calls=2)

    told = loud_lines(log_file)
    began = [(level, each) for level, name, each in told if name == "IncidentBegan"]
    assert [(level, each["rung"], each["kind"]) for level, each in began] == [
        ("ERROR", "openai", "auth"),
        ("ERROR", "openai-b", "auth"),
        ("CRITICAL", "", "exhausted"),
    ]
    assert began[-1][1]["then"] == "callers will get the keypad menu"
    grown = {each["rung"]: each["reason"] for _, name, each in told if name == "IncidentGrew"}
    first, second = (f"{name} rejects OPENAI_API_KEY (401)" for name in ("OpenAI", SECOND))
    assert grown == {"openai": first, "openai-b": second, "": f"{first}; {second}"}
    assert len(told) == len(began) + len(grown)
    assert [call.outcome.failures for call in replayed] == [{"openai": 1, "openai-b": 1}, {}]
    assert [call.outcome.exhausted for call in replayed] == [1, 1]
