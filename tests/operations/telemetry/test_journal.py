# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallEnded,
    CallStarted,
    Event,
    KeyPressed,
    ProviderFailed,
    TranscriptFinal,
    UsageMeasured,
)
from calls.transcript import OtherReading
from operations.masking import without_words
from operations.telemetry.emitter import Emitter
from operations.telemetry.journal import ENDED_CALLS, Journal, forget_old
from operations.telemetry.live import Live

USED = UsageMeasured(turn=1, stage="llm", provider="openai", model="m", prompt_tokens=7)


def a_moment() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def held_by(emitter: Emitter) -> int:
    return sum(len(var) for var in vars(emitter).values() if isinstance(var, dict | list | set))


class Kept:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def hear(self, entry: Entry) -> None:
        self.entries.append(entry)


def an_entry(event: object) -> Entry:
    return Entry(call_id="c", number=1, at="now", event=event)  # type: ignore[arg-type]


async def test_an_event_after_the_end_of_a_call_continues_its_numbers() -> None:
    kept = Kept()
    async with Emitter(listeners=[kept], utc_now=a_moment) as emitter:
        emit = emitter.emit_for("c")
        emit(CallEnded(reason="caller_hung_up", length_s=3.0))
        await emitter.flush()
        emit(ProviderFailed(stage="transport", provider="twilio", error="hang-up answered 401"))

    assert [entry.number for entry in kept.entries] == [1, 2]


async def test_the_emitter_does_not_grow_with_past_calls() -> None:
    async with Emitter(listeners=[], utc_now=a_moment) as emitter:
        emitter.emit_for("first")(KeyPressed(key="1"))
        await emitter.flush()
        size = held_by(emitter)
        for index in range(200):
            emitter.emit_for(f"call {index}")(KeyPressed(key="1"))
            await emitter.flush()

        assert held_by(emitter) == size


async def hear_all(journal: Journal, call_id: str, *events: Event) -> None:
    for number, event in enumerate(events, start=1):
        await journal.hear(Entry(call_id=call_id, number=number, at="now", event=event))


def summary(folder: Path, call_id: str = "c") -> dict[str, Any]:
    return json.loads((folder / f"{call_id}.summary.json").read_text())


ENDED = CallEnded(reason="caller_hung_up", length_s=3.0)
HANG_UP_FAILED = ProviderFailed(stage="transport", provider="twilio", error="hang-up answered 401")


async def test_the_journal_contains_the_words_and_ends_with_a_summary(tmp_path: Path) -> None:
    await hear_all(
        Journal(tmp_path / "calls"),
        "c",
        TranscriptFinal(turn=1, at_s=1.0, provider="deepgram", text="what are your hours"),
        replace(USED, cost=0.5),
        ENDED,
    )

    lines = (tmp_path / "calls" / "c.jsonl").read_text().splitlines()
    found = summary(tmp_path / "calls")
    assert json.loads(lines[0])["text"] == "what are your hours"
    assert (found["prompt_tokens"], found["cost"]) == (7, 0.5)
    assert found["costs"]["turns"] == {"0": 0.0, "1": 0.5}


async def test_half_a_surrogate_does_not_lose_a_calls_journal(tmp_path: Path) -> None:
    heard = (OtherReading(text="nine \ud83d", confidence=0.4),)  # as JSON may have it
    entries = [
        Entry(call_id=call_id, number=1, at="now", event=event)
        for call_id, event in (
            ("a", TranscriptFinal(turn=1, at_s=1.0, provider="p", text="nine", alternatives=heard)),
            ("b", AgentSaid(turn=1, text="good day")),
        )
    ]

    await Journal(tmp_path).hear_all(entries)

    a, b = (json.loads((tmp_path / f"{item}.jsonl").read_text()) for item in "ab")
    assert (a["alternatives"][0]["text"], b["text"]) == (heard[0].text, "good day")


async def test_a_partly_unknown_cost_is_not_guessed(tmp_path: Path) -> None:
    await hear_all(Journal(tmp_path), "c", replace(USED, cost=0.5), USED, ENDED)

    found = summary(tmp_path)
    assert found["cost"] is None
    assert found["costs"]["unpriced"] == ["llm m"]


async def test_events_after_the_end_are_in_the_summary_too(tmp_path: Path) -> None:
    await hear_all(Journal(tmp_path), "c", replace(USED, cost=0.5), ENDED, HANG_UP_FAILED)

    found = summary(tmp_path)
    assert (found["cost"], found["provider_failures"]) == (0.5, 1)


async def test_a_model_request_after_the_end_is_only_in_the_summary_of_its_call(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path)
    await hear_all(journal, "c", replace(USED, cost=0.5), ENDED)
    asked = replace(USED, turn=0, cost=0.25, behind_call="c")
    await hear_all(journal, "", asked, replace(asked, behind_call="another"))

    found = summary(tmp_path)
    assert (found["cost"], found["costs"]["behind"]) == (0.75, 0.25)
    assert found["costs"]["turns"] == {"0": 0.0, "1": 0.5}
    assert len(journal._calls.live) == 0


async def test_the_journal_does_not_grow_with_past_calls(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for call_id in range(ENDED_CALLS + 3):
        await hear_all(journal, f"c{call_id}", USED, ENDED, HANG_UP_FAILED)

    assert len(journal._calls.live) + len(journal._calls.ended) == ENDED_CALLS


async def test_an_event_of_a_forgotten_call_is_one_more_line_and_no_call(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await hear_all(journal, "c", USED, ENDED)
    before = summary(tmp_path)
    for call_id in range(ENDED_CALLS):
        await hear_all(journal, f"c{call_id}", ENDED)

    await hear_all(journal, "c", HANG_UP_FAILED)

    assert len((tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert (summary(tmp_path), len(journal._calls.live)) == (before, 0)


def test_old_calls_records_are_forgotten_and_new_ones_kept(tmp_path: Path) -> None:
    for name in ("old.jsonl", "old.summary.json", "old.wav", "new.jsonl"):
        (tmp_path / name).write_text("{}")
    now_s = 1_800_000_000.0
    for path in tmp_path.iterdir():
        age_days = 29 if path.stem == "new" else 31
        os.utime(path, (now_s - age_days * 86_400,) * 2)

    assert forget_old(tmp_path, keep_days=30, utc_s=now_s) == 3
    assert [item.name for item in tmp_path.iterdir()] == ["new.jsonl"]


async def test_a_watcher_gets_the_recent_entries_and_then_the_new_ones() -> None:
    live = Live(words=True)
    await live.hear(an_entry(KeyPressed(key="1")))
    watching = live.watch()

    first = await anext(watching)
    coming = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    await live.hear(an_entry(KeyPressed(key="2")))

    assert (first["key"], (await coming)["key"]) == ("1", "2")
    await watching.aclose()


async def test_the_live_view_hides_words_and_numbers_unless_configured() -> None:
    live = Live(words=False)
    await live.hear(an_entry(TranscriptFinal(turn=1, at_s=0, provider="p", text="my secret")))
    watching = live.watch()

    shown = await anext(watching)

    assert "secret" not in json.dumps(shown)
    await watching.aclose()


PIN = (OtherReading(text="pin 47", confidence=0.4),)


@pytest.mark.parametrize(
    ("event", "secret"),
    [
        (TranscriptFinal(turn=1, at_s=0, provider="p", text="pin 4711"), "4711"),
        (TranscriptFinal(turn=1, at_s=0, provider="p", text="", alternatives=PIN), "47"),
        (AgentSaid(turn=1, text="your pin is 4711"), "4711"),
        (CallStarted(transport="twilio", agent="a", caller="+15551234567"), "1234"),
    ],
    ids=["transcript", "alternative", "answer", "number"],
)  # fmt: skip
def test_the_public_view_holds_no_callers_words(event: object, secret: str) -> None:
    shown = without_words(an_entry(event)).as_json()

    assert secret not in json.dumps({key: shown[key] for key in shown if key != "number"})
