"""The cost of a call: told for each turn, added up in its summary and in a replay's."""

import json
from pathlib import Path
from typing import Any

import pytest

from calls.events import TurnCosted, UsageMeasured
from lab.recording import read_recording
from lab.replay import KeptEntries, Replayed, replay_one
from tests.kit.near import near_process

CALLER = Path(__file__).parents[1] / "fixtures" / "callers" / "01_hours.wav"

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


async def replayed_in(folder: Path, **tree: Any) -> Replayed:
    """Replay a caller who asks one thing, against a lab in this process."""
    notes = KeptEntries()
    async with near_process(folder / "logs", notes, tree=tree, words=False) as process:
        return await replay_one(
            process, notes, read_recording(CALLER), path=CALLER, folder=folder / "out"
        )


def summary_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "summary.json").read_text())


async def test_a_replay_and_the_calls_own_record_report_the_cost_of_each_part(
    tmp_path: Path,
) -> None:
    replayed = await replayed_in(tmp_path)

    found = summary_in(tmp_path)
    the_parts_add_up(found, replayed)
    the_calls_record_has_the_same(tmp_path, replayed, found)
    heard = [
        event
        for event in replayed.events
        if isinstance(event, UsageMeasured) and event.stage == "stt"
    ]
    assert [event.turn for event in heard] == [1, 1]  # the words, and the rest after the answer


def the_parts_add_up(found: dict[str, Any], replayed: Replayed) -> None:
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


def the_calls_record_has_the_same(folder: Path, replayed: Replayed, found: dict[str, Any]) -> None:
    (record,) = (folder / "logs" / "calls").glob("*.jsonl")
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    costed = [entry for entry in entries if entry["event"] == "TurnCosted"]
    of_the_call = json.loads(record.with_suffix(".summary.json").read_text())
    assert [entry["turn"] for entry in costed] == [0, 1]
    assert of_the_call["costs"] == found["costs"]
    assert of_the_call["cost"] == replayed.outcome.cost


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
