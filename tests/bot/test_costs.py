"""The cost of a call: told for each turn, added up in its summary and in a replay's."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.programs.recording import read
from bot.programs.replay import KeptEntries, Replayed, replay_one
from bot.workers.process import open_process
from calls.events import TurnCosted, UsageMeasured
from lab.process import RunningLab, with_lab
from lab.simulators.lab import Lab
from tests.lab.simulators.near_ears import bring_near

CALLER = Path(__file__).parents[1] / "fixtures" / "callers" / "01_hours.wav"

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


async def replayed_in(folder: Path, **tree: Any) -> Replayed:
    """Replay a caller who asks one thing, against a lab in this process."""
    async with bring_near(Lab()) as lab:
        instances = lab.describe()["instances"]
        running = RunningLab(control_url="", control_token="", instances=instances)
        settings = with_lab(running, {"logs": {"dir": folder / "logs"}, **tree})
        notes = KeptEntries()
        async with open_process(settings, words=False, listeners=[notes]) as process:
            return await replay_one(
                process, notes, read(CALLER), path=CALLER, folder=folder / "out"
            )


def summary_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "summary.json").read_text())


async def test_a_replay_reports_the_cost_of_call_turns_stages_and_providers(
    tmp_path: Path,
) -> None:
    replayed = await replayed_in(tmp_path)

    found = summary_in(tmp_path)
    costs = found["costs"]
    assert found["cost"] > 0
    assert set(costs["stages"]) == {"stt", "llm", "tts"}
    assert set(costs["providers"]) == {"deepgram", "openai", "cartesia"}
    assert set(costs["turns"]) == {"0", "1"}
    for part in ("stages", "providers", "turns"):
        assert sum(costs[part].values()) == pytest.approx(found["cost"]), part
    assert (costs["currency"], costs["unpriced"], costs["estimated"]) == ("USD", [], False)
    told = {event.turn: event.cost for event in replayed.events if isinstance(event, TurnCosted)}
    assert {str(turn): cost for turn, cost in told.items()} == pytest.approx(costs["turns"])


async def test_the_calls_own_record_has_the_same_costs(tmp_path: Path) -> None:
    replayed = await replayed_in(tmp_path)

    (record,) = (tmp_path / "logs" / "calls").glob("*.jsonl")
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    costed = [entry for entry in entries if entry["event"] == "TurnCosted"]
    of_the_call = json.loads(record.with_suffix(".summary.json").read_text())
    assert [entry["turn"] for entry in costed] == [0, 1]
    assert of_the_call["costs"] == summary_in(tmp_path)["costs"]
    assert of_the_call["cost"] == replayed.outcome.cost


async def test_the_callers_words_are_billed_to_the_turn_that_they_begin(tmp_path: Path) -> None:
    replayed = await replayed_in(tmp_path)

    heard = [
        event
        for event in replayed.events
        if isinstance(event, UsageMeasured) and event.stage == "stt"
    ]
    assert [event.turn for event in heard] == [1, 1]  # the words, and the rest after the answer


async def test_a_model_without_a_price_is_named_and_not_guessed(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "currency: EUR\n"
        "prices:\n"
        "  - {stage: tts, model: sonic-3, characters_per_million: 10,"
        " date: 2026-01-02, source: here}\n"
    )

    await replayed_in(tmp_path, prices={"file": prices})

    found = summary_in(tmp_path)
    assert found["cost"] is None
    assert found["costs"]["currency"] == "EUR"
    assert found["costs"]["stages"]["tts"] > 0
    assert (found["costs"]["stages"]["stt"], found["costs"]["stages"]["llm"]) == (None, None)
    assert found["costs"]["unpriced"] == ["stt nova-3", "llm gpt-4.1-mini"]
