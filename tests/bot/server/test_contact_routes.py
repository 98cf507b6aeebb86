"""Contacts from a browser: a preview, the import, and the summary before a start."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bot.server.contact_routes import MAX_FILE_BYTES, contact_router
from calls.events import Event, OperatorActed
from campaigns.model import CallingWindow
from campaigns.order_rules import OrderRules
from tests.bot.server.test_campaign_routes import NOON, SPRING, Asking, asking
from tests.kit.dials import gate_of

GERMAN = replace(SPRING, region="DE", greeting="Hello {name}.")
PEOPLE = (
    "name,number,zone\nEva,030 901844,\nJan,12,\n,030 901845,\nMia,+12125550188,\nEva,030901844,\n"
    "Ida,4915112345678,\nIvo,4915112345679,\n"
)


class Uploads:
    """A client of the routes."""

    def __init__(self, it: Asking, client: httpx.AsyncClient, told: list[Event]) -> None:
        self.it = it
        self.client = client
        self.told = told

    async def send(self, data: bytes, *, preview: bool, name: str = "spring") -> httpx.Response:
        path = f"/api/campaigns/{name}/contacts?preview={str(preview).lower()}&by=Lena"
        return await self.client.post(path, content=data)

    async def summary(self) -> dict[str, Any]:
        answer = await self.client.get("/api/campaigns/spring/summary")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def start(self) -> httpx.Response:
        return await self.it.says("start")


@asynccontextmanager
async def uploading(folder: Path, campaign: Any = GERMAN) -> AsyncIterator[Uploads]:
    async with asking(folder, campaign) as it:
        app, told = FastAPI(), list[Event]()
        gate = gate_of(it.figures.database, OrderRules(countries=("DE", "RU", "US")))
        outbound = replace(it.outbound, now_s=count(NOON).__next__, gate=gate)
        app.include_router(contact_router(outbound, told.append, region=""))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            yield Uploads(it, client, told)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_preview_names_lines_and_cures_and_stores_nothing(
    tmp_path: Path, *, packed: bool
) -> None:
    data = gzip.compress(PEOPLE.encode()) if packed else PEOPLE.encode()
    async with uploading(tmp_path) as it:
        first = await it.send(data, preview=True)
        answer = await it.send(data, preview=True)
        contacts = (await it.it.sees())["all_contacts"]

    seen = answer.json()
    assert first.json() == seen
    assert (answer.status_code, seen["preview"], contacts) == (200, True, 0)
    assert (seen["rows"], seen["added"], seen["known"]) == (7, 2, 0)
    assert {item["reason"]: item["lines"] for item in seen["refused"]} == {
        "no_area_code": [3],
        "lacks_name": [4],
        "duplicate": [6],
        "ambiguous": [7, 8],
    }
    assert all(item["cure"] != item["reason"].replace("_", " ") for item in seen["refused"])
    assert it.told == []
    assert "901844" not in answer.text


async def test_a_preview_names_columns_that_may_say_who_must_not_be_called(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        seen = [
            (
                await it.send(
                    f"name,number,{heading}\nEva,030 901844,ndio\nMia,030 901845,\n"
                    f"Ida,030 901846,ndio\nIvo,030 901847,\n".encode(),
                    preview=True,
                )
            ).json()
            for heading in ("Usipige simu", "Newsletter")
        ]

    assert [item["added"] for item in seen] == [4, 4]
    assert "Usipige simu" in seen[0]["about_columns"]
    assert not seen[1]["about_columns"]


async def test_an_import_stores_what_the_preview_said_and_is_reported_once(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        first = await it.send(PEOPLE.encode(), preview=False)
        again = await it.send(PEOPLE.encode(), preview=True)
        contacts = (await it.it.sees())["all_contacts"]

    assert (first.json()["added"], again.json()["added"], again.json()["known"]) == (2, 0, 3)
    assert contacts == 2
    (acted,) = it.told
    assert isinstance(acted, OperatorActed)
    assert (acted.action, acted.target) == ("import", "spring")
    assert acted.by.startswith("Lena")


REFUSED = {
    "a workbook": (b"PK\x03\x04" + b"xl/workbook.xml", 400, "The file is an Excel workbook, not"),
    "no column": (b"name\nEva\n", 400, "The file has no column for the number"),
    "no placeholder's column": (b"number\n030 901844\n", 400, "has no column for {name}"),
    "nothing": (b"", 400, "The file has no row with a contact in it"),
    "too much": (gzip.compress(b"x" * (MAX_FILE_BYTES + 1)), 413, "too large for the browser"),
    "half an archive": (gzip.compress(PEOPLE.encode())[:30], 400, "damaged or incomplete"),
    "a damaged archive": (b"\x1f\x8b" + PEOPLE.encode(), 400, "damaged or incomplete"),
}


async def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        answers = {
            name: await it.send(data, preview=True) for name, (data, _, _) in REFUSED.items()
        }

    for name, (_, status, says) in REFUSED.items():
        assert answers[name].status_code == status, name
        assert says in answers[name].json()["detail"]
        assert str(tmp_path.anchor) + "tmp" not in answers[name].json()["detail"]


async def test_an_unknown_campaign_has_no_contacts_and_no_summary(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        sent = await it.send(PEOPLE.encode(), preview=True, name="winter")
        asked = await it.client.get("/api/campaigns/winter/summary")

    assert (sent.status_code, asked.status_code) == (404, 404)


async def test_a_summary_says_what_a_start_would_do(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        await it.send(PEOPLE.encode(), preview=False)
        seen = await it.summary()

    assert (seen["callable"], seen["countries"]) == (2, {"DE": 1, "US": 1})
    assert (seen["names"], seen["why_none"], seen["currency"]) == (["Eva", "Mia"], "", "EUR")
    assert seen["lines"][0] == "contacts to call: 2 (Eva, Mia, …)"


async def test_a_start_without_callable_contacts_is_refused_with_the_reason(tmp_path: Path) -> None:
    office = CallingWindow(opens_s=9 * 3600.0, closes_s=10 * 3600.0)
    async with uploading(tmp_path, replace(GERMAN, greeting="", window=office)) as it:
        await it.send(b"number\n+79161234588\n", preview=False)
        seen = await it.summary()
        refused = await it.start()
        shown = await it.it.sees()

    assert refused.status_code == 409
    assert "spring has no contact that can be called: 1 (no_common_hour)" in seen["why_none"]
    assert seen["why_none"] in refused.json()["detail"]
    assert shown["state"] == "ready"
    assert shown["excluded"][0].startswith("1 (no_common_hour): the number may be in several")


async def test_a_contact_is_taken_out_by_its_number(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        await it.send(PEOPLE.encode(), preview=False)
        path = "/api/campaigns/spring/contacts/remove"
        answer = await it.client.post(path, json={"number": "0049-30-901844", "by": "Lena"})
        excluded = (await it.it.sees())["excluded"]

    assert answer.json() == {"number": "+4930****44"}
    assert excluded == ["1 (taken_out): an operator has taken the contact out of the campaign"]
    acted = it.told[-1]
    assert isinstance(acted, OperatorActed)
    assert (acted.action, acted.target) == ("take_out", "spring: +4930****44")
    assert acted.by.startswith("Lena")


NOT_REMOVED = [
    ("spring", "030 901899", 404, "The campaign has no contact with this number."),
    ("spring", "nobody", 400, "This is not a telephone number"),
    ("autumn", "030 901844", 404, "There is no such campaign."),
]


async def test_a_number_of_no_contact_changes_nothing(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        await it.send(PEOPLE.encode(), preview=False)
        for name, number, status, says in NOT_REMOVED:
            path = f"/api/campaigns/{name}/contacts/remove"
            answer = await it.client.post(path, json={"number": number})

            assert answer.status_code == status
            assert says in answer.json()["detail"]

    assert len(it.told) == 1


async def test_of_two_readings_the_one_that_is_a_contact_is_meant(tmp_path: Path) -> None:
    async with uploading(tmp_path) as it:
        number = "4915112345678"  # it may be +4915112345678 or +494915112345678
        await it.send(b"name,number\nIda,+4915112345678\n", preview=False)
        path = "/api/campaigns/spring/contacts/remove"
        taken = await it.client.post(path, json={"number": number})
        await it.send(b"name,number\nIvo,+494915112345678\n", preview=False)
        either = await it.client.post(path, json={"number": number})

    assert taken.status_code == 200
    assert either.status_code == 400
    assert "+4915112345678" in either.json()["detail"]
