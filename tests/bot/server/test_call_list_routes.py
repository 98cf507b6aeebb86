"""The list of calls over HTTP: each filter, older pages, CSV, masked numbers."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bot.server import call_list_routes
from bot.server.call_list_routes import CallQuery, call_list_router
from bot.server.operator_routes import Disclosures
from operations.database.database import Database
from operations.database.tables import CALL_RESULTS, CALLS, CONTACTS, DIALS
from operations.record.call_list import CallFilter, CallList, ListedCall

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MARY, BOB = "+15551234567", "+491711234589"


def call(call_id: str, minutes: int, **more: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("holder", "called", "provider_call_id", "outcome", "recording"), "")
    numbers = dict.fromkeys(("turns", "failovers", "failures"), 0)
    began = NOON + timedelta(minutes=minutes)
    rest = {"state": "ended", "reason": "caller_hung_up", "length_s": 60.0, "currency": "USD"}
    rest |= {"transport": "twilio", "direction": "inbound", "agent": "desk", "caller": MARY}
    rest |= {"dial_id": "", "verdict": "served"}
    return {
        "id": call_id,
        "started_at": began,
        "seen_at": began,
        **texts,
        **numbers,
        **rest,
        **more,
    }


CONTACT = {
    "id": 1, "campaign": "renewals", "number": BOB, "name": "Bob Özil =Smith_", "zones": "",
    "fields": "{}", "priority": 0, "state": "finished", "due_s": 0.0, "attempts": 1, "dials": 1,
    "outcome": "answered", "imported_s": 0.0,
}  # fmt: skip
DIAL = {
    "id": "d1", "campaign": "renewals", "contact_id": 1, "number": BOB, "attempt": 1,
    "state": "settled", "holder": "", "lease_until_s": 0.0, "intended_s": 0.0,
    "provider_call_id": "", "outcome": "answered", "counted": True, "reason": "",
}  # fmt: skip
RESULT = {
    "call_id": "c2", "number": BOB, "campaign": "renewals", "outcome": "agreed", "summary": "",
    "notes": "", "made_by": "model", "why": "", "provider": "", "ended_s": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class CountedCalls(CallList):
    limits: list[int] = field(default_factory=list[int])

    async def find(self, wanted: CallFilter, *, limit: int) -> Sequence[ListedCall]:
        self.limits.append(limit)
        return await super().find(wanted, limit=limit)


@dataclass
class Asked:
    client: httpx.AsyncClient
    calls: CountedCalls
    told: list[Any] = field(default_factory=list)

    async def ids(self, **query: Any) -> list[str]:
        answer = await self.client.get("/api/calls/search", params=query)
        assert answer.status_code == 200, answer.text
        return [call["id"] for call in answer.json()["calls"]]


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db") as database:
        outbound = {"direction": "outbound", "called": BOB, "caller": "+100", "dial_id": "d1"}
        async with database.transaction() as connection:
            rows = [
                call("c1", 0, verdict="hurt"),
                call("c2", 5, agent="sales", **outbound),
                call("c3", 9, state="live", reason="", length_s=None, verdict=""),
            ]
            for row in rows:
                await connection.execute(CALLS.insert().values(**row))
            await connection.execute(CONTACTS.insert().values(**CONTACT))
            await connection.execute(DIALS.insert().values(**DIAL))
            await connection.execute(CALL_RESULTS.insert().values(**RESULT))
        app, told, calls = FastAPI(), list[Any](), CountedCalls(database)
        app.include_router(call_list_router(calls, Disclosures(told.append)))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Asked(client, calls, told)


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["c3", "c2", "c1"]),
    ({"limit": 1}, ["c3"]),
    ({"before": "2026-11-21T12:05:00Z"}, ["c1"]),
    ({"before": "2026-11-21T13:05:00+01:00"}, ["c1"]),
    ({"since": "2026-11-21T12:05:00Z"}, ["c3", "c2"]),
    ({"number": "4589"}, ["c2"]),  # the other party's, also of a call that we placed
    ({"number": "4567"}, ["c3", "c1"]),
    ({"number": "+1 (555) 123-4589"}, []),  # as pasted
    ({"name": "bob"}, ["c2"]),
    ({"name": "=smith_"}, ["c2"]),
    ({"name": "Özil"}, ["c2"]),
    ({"name": "özil"}, ["c2"]),
    ({"name": "%"}, []),
    ({"agent": "sales"}, ["c2"]),
    ({"campaign": "renewals"}, ["c2"]),
    ({"result": "agreed"}, ["c2"]),
    ({"verdict": "hurt"}, ["c1"]),
    ({"verdict": "hurt", "agent": "sales"}, []),
]


async def test_the_sums_are_those_of_the_filter(asked: Asked) -> None:
    async def sums(**query: Any) -> list[tuple[str, str, int]]:
        answer = await asked.client.get("/api/calls/search", params=query | {"limit": 1})
        rows = answer.json()["sums"]
        return sorted((row["day"], row["verdict"], row["calls"]) for row in rows)

    found = await sums()

    assert {day for day, _, _ in found} == {"2026-11-21"}
    assert sum(calls for _, _, calls in found) == 3  # whatever the page shows
    assert await sums(verdict="hurt") == [("2026-11-21", "hurt", 1)]
    assert await sums(campaign="none") == []


@pytest.mark.parametrize(
    ("pasted", "digits"),
    [
        ("+49 (0)30 1234567", "49301234567"),
        ("030 / 123 45 67", "301234567"),
        ("tel:+1-415-555-2671", "14155552671"),
        ("(415) 555-2671", "4155552671"),
        ("0042", "0042"),
        ("4567", "4567"),
    ],
)
def test_a_pasted_number_is_searched_by_its_digits(pasted: str, digits: str) -> None:
    assert CallQuery(number=pasted).number == digits


WRONG: list[dict[str, Any]] = [{"number": "45a"}, {"limit": 0}, {"limit": 201}, {"since": "x"}]


async def test_a_filter_finds_its_calls_and_a_wrong_one_is_refused(asked: Asked) -> None:
    found = [(query, await asked.ids(**query)) for query, _ in FILTERS]
    statuses = [
        (await asked.client.get("/api/calls/search", params=query)).status_code for query in WRONG
    ]

    assert found == FILTERS
    assert statuses == [422] * len(WRONG)


async def test_numbers_are_masked_and_complete_ones_are_recorded(asked: Asked) -> None:
    masked = (await asked.client.get("/api/calls/search", params={"name": "bob"})).json()
    quiet = list(asked.told)
    whole = (await asked.client.get("/api/calls/search", params={"numbers": 1})).json()

    (found,) = masked["calls"]
    assert (found["number"], found["ending"], found["name"]) == (
        "+4917****89",
        "4589",
        "Bob Özil =Smith_",
    )
    assert masked["choices"]["campaigns"] == ["renewals"]
    assert whole["calls"][1]["number"] == BOB
    assert (quiet, [(event.action, event.target) for event in asked.told]) == (
        [],
        [("unmask", "3 calls of the list")],
    )


async def test_the_file_holds_what_the_filter_finds_and_no_formula(asked: Asked) -> None:
    answer = await asked.client.get("/api/calls/search.csv", params={"campaign": "renewals"})

    head, line = answer.text.splitlines()
    assert head.startswith("id,started_at,state,")
    assert BOB not in line
    assert "'+4917****89" in line
    assert answer.headers["cache-control"] == "no-store"


async def test_a_csv_export_reads_the_database_in_pages(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = [call(f"same{number}", 7) for number in range(3)]
    async with asked.calls.database.transaction() as connection:
        await connection.execute(CALLS.insert(), same)
    monkeypatch.setattr(call_list_routes, "MAX_LISTED", 2)
    answer = await asked.client.get("/api/calls/search.csv")

    found = [line.split(",")[0] for line in answer.text.splitlines()[1:]]
    assert found == ["c3", "same0", "same1", "same2", "c2", "c1"]
    assert await asked.ids(limit=2) == found[:4]
    assert await asked.ids(limit=2, before=same[0]["started_at"]) == found[4:]
    assert set(asked.calls.limits) == {2}
