"""Calls over HTTP: live calls, recorded calls, and the transcript and audio of one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from bot.server.call_routes import PoolCalls, call_router
from bot.server.live_routes import PoolLiveView, live_router
from bot.server.operator_routes import Disclosures
from bot.workers.machine_views import MachineViews
from bot.workers.pool import SingleProcess
from calls.entry import Entry
from calls.events import AnswerHeard, CallStarted, Event, OperatorActed, TurnParts
from configuration.settings import ServerSettings
from operations.database.database import Database
from operations.database.tables import (
    CALL_RESULTS,
    CALLS,
    HAPPENINGS,
    MESSAGES,
    TURNS,
)
from operations.record.reader import RecordReader
from operations.telemetry.live import ConsoleSums, Live
from runtime import clock

PARTS = TurnParts(
    vad_s=0.2, transcript_s=0.1, decision_s=0.0, llm_s=0.3, tts_s=0.2, transport_s=0.1
)
STARTED = CallStarted(transport="twilio", agent="desk", caller="+15551234567")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CALL = {
    "id": "c1", "holder": "w1", "transport": "twilio", "direction": "inbound", "agent": "desk",
    "caller": "+15551234567", "called": "+15557654321", "provider_call_id": "CA1",
    "started_at": NOON, "ended_at": NOON + timedelta(seconds=60), "state": "ended",
    "reason": "caller_hung_up", "outcome": "completed", "length_s": 60.0, "turns": 1,
    "failovers": 1, "failures": 1, "cost": 0.0125, "currency": "USD", "seen_at": NOON,
    "recording": "",
}  # fmt: skip
TURN = {
    "call_id": "c1", "turn": 1, "began_at": NOON, "v2v_s": 0.9, "parts": {"vad_s": 0.2},
    "stt": "deepgram", "llm": "openai", "tts": "cartesia", "prompt_tokens": 1,
    "completion_tokens": 1, "characters": 1, "cost": 0.01, "interrupted": False,
    "within_budget": True,
}  # fmt: skip
MESSAGE = {
    "call_id": "c1", "turn": 1, "role": "agent", "text": "We open at nine.", "at": NOON,
    "spans": [{"provider": "cartesia", "words": 4}],
}  # fmt: skip


def happening(kind: str, **data: Any) -> dict[str, Any]:
    place = {"call_id": "c1", "number": 3, "at": NOON, "stage": "", "provider": ""}
    return {**place, "kind": kind, "data": data}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    client: httpx.AsyncClient
    sums: ConsoleSums
    database: Database
    told: list[Event]


@asynccontextmanager
async def asking(folder: Path, url: str = "") -> AsyncIterator[Asking]:
    url = url or f"sqlite+aiosqlite:///{folder}/holdline.db"
    sums = ConsoleSums()
    database = Database(url)
    pool = SingleProcess(why_closed=lambda: "", clock=clock.monotonic)
    pool_calls = PoolCalls(sums, pool, MachineViews(pool, ServerSettings()))
    app = FastAPI()
    told: list[Event] = []
    disclosures = Disclosures(told.append)
    reader = RecordReader(database)
    app.include_router(call_router(pool_calls, reader, disclosures, currency="EUR"))
    live = PoolLiveView(Live(words=False), pool)
    app.include_router(live_router(live, budget_s=1.5, calls=pool_calls))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080"
    ) as client:
        yield Asking(client=client, sums=sums, database=database, told=told)
    await database.close()


async def written(it: Asking, **call: Any) -> None:
    engine = await it.database.engine()
    async with engine.begin() as connection:
        await connection.execute(CALLS.insert(), [CALL | call])
        await connection.execute(TURNS.insert(), [TURN])
        await connection.execute(MESSAGES.insert(), [MESSAGE])
        await connection.execute(
            HAPPENINGS.insert(),
            [
                happening("RungChosen", stage="tts", before="cartesia", after="elevenlabs"),
                happening("CallStarted", caller="+15551234567"),
                happening("PersonWanted", reason="my knee hurts", turn=1),
            ],
        )


async def test_live_and_recorded_calls_are_listed_with_masked_numbers(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as it:
        await written(it)
        at = clock.utc_now().isoformat()
        heard = AnswerHeard(turn=1, at_s=0.0, v2v_s=0.9, parts=PARTS)
        for event in (STARTED, heard):
            entry = Entry(call_id="c2", number=1, at=at, event=event)
            await it.sums.hear(entry)

        found = (await it.client.get("/api/calls")).json()
        whole = (await it.client.get("/api/calls?numbers=1")).json()

    assert [(item["id"], item["caller"]) for item in found["live"]] == [("c2", "+1555****67")]
    assert [(item["id"], item["caller"]) for item in found["recent"]] == [("c1", "+1555****67")]
    assert whole["recent"][0]["caller"] == "+15551234567"
    assert [(item[1], item[2]) for item in found["turns"]] == [(0.9, "c2")]
    assert found["problem"] == ""
    assert "recording" not in found["recent"][0]


async def test_todays_cost_names_the_currency_before_the_first_call(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.database.engine()

        found = (await it.client.get("/api/calls")).json()

    assert (found["recent"], found["problem"]) == ([], "")
    assert (found["today"]["cost"], found["today"]["currency"]) == (0.0, "EUR")


async def test_a_calls_page_has_its_words_and_no_number(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await written(it)

        answer = await it.client.get("/api/calls/c1")

    found = answer.json()
    assert found["messages"][0]["text"] == "We open at nine."
    assert found["turns"][0]["parts"] == {"vad_s": 0.2}
    assert [item["event"] for item in found["happenings"]] == ["RungChosen", "PersonWanted"]
    assert "5551234567" not in answer.text
    assert "knee" not in answer.text


async def test_a_calls_page_has_its_outcome(tmp_path: Path) -> None:
    result = {
        "call_id": "c1",
        "number": "+15551234567",
        "campaign": "spring",
        "outcome": "callback",
        "summary": "Wants another date.",
        "callback_at_s": NOON.timestamp(),
        "notes": "",
        "made_by": "model",
        "why": "",
        "provider": "openai",
        "ended_s": 1.0,
    }
    async with asking(tmp_path) as it:
        await written(it)
        before = (await it.client.get("/api/calls/c1")).json()
        engine = await it.database.engine()
        async with engine.begin() as connection:
            await connection.execute(CALL_RESULTS.insert(), [result])

        answer = await it.client.get("/api/calls/c1")

    assert before["result"] is None
    assert answer.json()["result"] == {
        "campaign": "spring",
        "outcome": "callback",
        "summary": "Wants another date.",
        "callback_at": NOON.isoformat(),
        "notes": "",
        "made_by": "model",
        "why": "",
        "provider": "openai",
        "says": "wants to be called back",
    }
    assert "5551234567" not in answer.text


async def test_a_call_without_a_record_yet_has_a_page(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.sums.hear(Entry(call_id="c9", number=1, at=NOON.isoformat(), event=STARTED))

        found = (await it.client.get("/api/calls/c9")).json()
        absent = await it.client.get("/api/calls/none")

    assert (found["call"]["id"], found["call"]["state"], found["turns"]) == ("c9", "live", [])
    assert absent.status_code == 404


async def test_without_a_database_the_live_calls_are_still_shown(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with asking(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/file/holdline.db") as it:
        await it.sums.hear(Entry(call_id="c9", number=1, at=NOON.isoformat(), event=STARTED))

        found = (await it.client.get("/api/calls")).json()
        page = await it.client.get("/api/calls/c9")

    assert [item["id"] for item in found["live"]] == ["c9"]
    assert "does not answer" in found["problem"]
    assert page.status_code == 503


async def test_a_recording_is_served_where_there_is_one(tmp_path: Path) -> None:
    wav = tmp_path / "c1.wav"
    wav.write_bytes(b"RIFF1234")
    async with asking(tmp_path) as it:
        await written(it, recording=str(wav))

        heard = await it.client.get("/api/calls/c1/audio", headers={"Range": "bytes=0-3"})
        wav.unlink()
        gone = await it.client.get("/api/calls/c1/audio")

    assert (heard.status_code, heard.content) == (206, b"RIFF")
    assert heard.headers["content-type"] == "audio/wav"
    assert heard.headers["cache-control"] == "no-store"
    assert gone.status_code == 404


async def test_each_access_to_a_recording_or_to_numbers_is_reported_once(tmp_path: Path) -> None:
    wav = tmp_path / "c1.wav"
    wav.write_bytes(b"RIFF1234")
    async with asking(tmp_path) as it:
        await written(it, recording=str(wav))
        for path in ("/api/calls", "/api/calls/c1", "/api/calls/none/audio"):
            await it.client.get(path)
        silent = list(it.told)
        for start in range(3):  # as a player asks
            head = {"Range": f"bytes={start}-"}
            await it.client.get("/api/calls/c1/audio", headers=head)
        await it.client.get("/api/calls/c1?numbers=1")
        await it.client.get("/api/calls?numbers=1")

    by = "an operator (no token from 127.0.0.1)"
    assert silent == []
    assert it.told == [
        OperatorActed(action=action, target=target, by=by)  # type: ignore[arg-type] - of the table
        for action, target in (
            ("hear", "the recording of call c1"),
            ("unmask", "call c1"),
            ("unmask", "the list of calls"),
        )
    ]


BEFORE = {
    "2026-11-21T13:59:00+02:00": 0,
    "2026-11-21T14:01:00+02:00": 1,
    "2026-11-21T09:59:00-02:00": 0,
    "2026-11-21T10:01:00-02:00": 1,
    "2026-11-21T12:01:00": 1,
    "0001-01-01T00:00:00+02:00": 0,
    "9999-12-31T23:59:00-02:00": 1,
}


async def test_calls_before_a_moment_are_found_in_any_time_zone(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await written(it)
        for before, found in BEFORE.items():
            answer = await it.client.get("/api/calls", params={"before": before})

            assert len(answer.json()["recent"]) == found, before


async def test_pages_lose_no_call_that_began_at_the_same_time(tmp_path: Path) -> None:
    earlier = {"id": "c0", "started_at": NOON - timedelta(seconds=1)}
    rows = [CALL | {"id": name} for name in ("c1", "c2", "c3")] + [CALL | earlier]
    async with asking(tmp_path) as it:
        async with (await it.database.engine()).begin() as connection:
            await connection.execute(CALLS.insert(), rows)

        first = (await it.client.get("/api/calls?limit=2")).json()["recent"]
        query = {"limit": 2, "before": first[-1]["started_at"]}
        then = (await it.client.get("/api/calls", params=query)).json()["recent"]

    assert [call["id"] for call in (*first, *then)] == ["c1", "c2", "c3", "c0"]


async def test_an_invalid_query_is_refused(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        for query in ("limit=0", "limit=201", "before=soon", "numbers=perhaps"):
            assert (await it.client.get(f"/api/calls?{query}")).status_code == 422, query
