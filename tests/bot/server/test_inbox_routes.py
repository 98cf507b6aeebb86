"""The inbox over HTTP: masked, closed and reopened, each look at a number or a message recorded."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from bot.server.inbox_routes import inbox_router
from bot.server.operator_routes import Disclosures
from operations.database.database import Database
from operations.database.tables import VOICEMAILS
from operations.inbox.store import Inbox
from operations.record.callbacks import Callback, Callbacks

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBER = "+15551230101"
NO_SUCH = [
    ("POST", "/api/inbox/callback/none/number", 404),
    ("POST", "/api/inbox/message/none/done", 404),
    ("GET", "/api/inbox/message/none/audio", 404),
    ("POST", "/api/inbox/letter/c1/done", 422),
]


@dataclass
class Asked:
    client: httpx.AsyncClient
    told: list[Any] = field(default_factory=list)

    def acted(self) -> list[tuple[str, str]]:
        return [(event.action, event.target) for event in self.told]


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    (tmp_path / "c2.wav").write_bytes(b"RIFF")
    row = {"call_id": "c2", "number": "", "path": str(tmp_path / "c2.wav"), "at": NOON}
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db") as database:
        await Callbacks(database).add(
            Callback(call_id="c1", number=NUMBER, reason="a new contract", asked_at=NOON)
        )
        async with database.transaction() as connection:
            await connection.execute(
                insert(VOICEMAILS), [{**row, "length_s": 2.0, "transcript": ""}]
            )
        app, told = FastAPI(), list[Any]()
        app.include_router(inbox_router(Inbox(database), told.append, Disclosures(told.append)))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Asked(client, told)


async def test_the_list_masks_numbers_and_names_no_path(asked: Asked) -> None:
    found = (await asked.client.get("/api/inbox")).json()

    assert found["waiting"] == 2
    shown = {entry["call_id"]: (entry["number"], entry["recorded"]) for entry in found["entries"]}
    assert shown == {"c1": ("+1555****01", False), "c2": ("", True)}
    assert "path" not in found["entries"][0]
    assert asked.told == []


async def test_an_entry_is_closed_and_reopened_and_each_is_reported_once(asked: Asked) -> None:
    for _ in range(2):
        closed = (await asked.client.post("/api/inbox/callback/c1/done")).json()
    after = (await asked.client.get("/api/inbox")).json()
    done = (await asked.client.get("/api/inbox?done=true")).json()
    reopened = (await asked.client.post("/api/inbox/callback/c1/reopen")).json()

    assert closed["done_at"] is not None
    assert [entry["call_id"] for entry in after["entries"]] == ["c2"]
    assert [entry["call_id"] for entry in done["entries"]] == ["c1"]
    assert reopened["done_at"] is None
    assert asked.acted() == [("done", "c1"), ("reopen", "c1")]


@pytest.mark.parametrize(("method", "path", "status"), NO_SUCH)
async def test_a_missing_entry_is_refused_and_not_reported(
    asked: Asked, method: str, path: str, status: int
) -> None:
    assert (await asked.client.request(method, path)).status_code == status
    assert asked.told == []
