"""The do-not-call list over HTTP: masked until asked for, each change recorded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from bot import clock
from bot.server.access import Access, Guard
from bot.server.credentials import ConsoleCredentials
from bot.server.do_not_call_routes import PAGE, do_not_call_router
from bot.server.pages.site import console_routes
from bot.workers.pool import SingleProcess
from calls.events import Event, OperatorActed
from campaigns.store.contacts import Contacts, DoNotCallEntry
from operations.database.database import Database

ADA = "+4930901820"
PATH = "/api/do-not-call"


@dataclass
class Console:
    client: httpx.AsyncClient
    book: Contacts
    told: list[Event]

    @property
    def acted(self) -> list[tuple[str, str]]:
        return [(event.action, event.target) for event in self.told if is_action(event)]


def is_action(event: Event) -> bool:
    return isinstance(event, OperatorActed)


@asynccontextmanager
async def console(folder: Path, *, token: str | None = None) -> AsyncIterator[Console]:
    told: list[Event] = []
    async with Database(f"sqlite+aiosqlite:///{folder}/own.db") as database:
        book = Contacts(database)
        app = FastAPI()
        pool = SingleProcess(why_closed=lambda: "", clock=clock.monotonic)
        secret = SecretStr(token) if token else None
        credentials = ConsoleCredentials(secret, None, pool=pool, emit=told.append)
        app.add_middleware(Guard, access=Access(credentials))
        app.include_router(do_not_call_router(book, region="DE", emit=told.append))
        app.include_router(console_routes())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Console(client=client, book=book, told=told)


async def test_entries_are_masked_until_they_are_asked_for(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        await it.book.add_do_not_call(ADA, source="letter", now=1_800_000_000.0, words="No calls.")

        masked = await it.client.get(PATH)
        full = await it.client.get(PATH, params={"numbers": True, "by": "Mary"})

    moment = {"source": "letter", "added_at": "2027-01-15T08:00:00+00:00"}
    shown = {"number": "+4930****20", "words": "[2 words]"}
    assert masked.json() == {"entries": [moment | shown], "more": False}
    assert full.json()["entries"] == [moment | {"number": ADA, "words": "No calls."}]
    assert full.headers["cache-control"] == "no-store"
    assert it.acted == [("unmask", "the do-not-call list")]


async def test_an_operator_adds_and_removes_a_number(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        word = {"number": "030 901820", "words": "By letter.", "by": "Mary"}
        added = await it.client.post(PATH, json=word)
        (entry,) = await it.book.do_not_call_entries()
        removed = await it.client.post(f"{PATH}/remove", json={"number": ADA, "by": "Mary"})
        again = await it.client.post(f"{PATH}/remove", json={"number": ADA})
        left = await it.book.do_not_call_entries()

    assert added.json() == {"number": "+4930****20", "new": True}
    assert (entry.number, entry.source, entry.words) == (ADA, "console: Mary", "By letter.")
    assert (removed.status_code, again.status_code, left) == (200, 404, [])
    assert it.acted == [("list", "+4930****20"), ("unlist", "+4930****20")]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("4915112345678", "+494915112345678 or +4915112345678"),
        ("nobody", "not a telephone number"),
        ("", "not a telephone number"),
    ],
)
@pytest.mark.parametrize("path", [PATH, f"{PATH}/remove"])
async def test_an_unclear_number_changes_nothing(
    tmp_path: Path, path: str, number: str, says: str
) -> None:
    async with console(tmp_path) as it:
        answer = await it.client.post(path, json={"number": number})
        entries = await it.book.do_not_call_entries()

    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert (entries, it.told) == ([], [])


async def test_a_long_list_has_pages(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        entries = [DoNotCallEntry(f"+4930901{n:04}", "file", float(n)) for n in range(PAGE + 1)]
        await it.book.add_do_not_call_entries(entries)

        first = (await it.client.get(PATH, params={"numbers": True})).json()
        second = (await it.client.get(PATH, params={"skip": PAGE, "numbers": True})).json()

    assert (len(first["entries"]), first["more"]) == (PAGE, True)
    assert [entry["number"] for entry in second["entries"]] == ["+49309010000"]
    assert not second["more"]


@pytest.mark.parametrize("query", ["skip=-1", "skip=99999999999", f"by={'x' * 81}"])
async def test_a_wrong_query_is_refused(tmp_path: Path, query: str) -> None:
    async with console(tmp_path) as it:
        assert (await it.client.get(f"{PATH}?{query}")).status_code == 422


async def test_list_and_page_need_the_token(tmp_path: Path) -> None:
    async with console(tmp_path, token="a-token-of-the-console") as it:
        data, page = await it.client.get(PATH), await it.client.get("/do-not-call")
        added = await it.client.post(PATH, json={"number": ADA})

    assert (data.status_code, page.status_code, added.status_code) == (401, 401, 401)
    assert "<form" in page.text  # to sign in
