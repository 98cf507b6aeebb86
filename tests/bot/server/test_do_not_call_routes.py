"""The do-not-call list over HTTP: masked until asked for, each change recorded."""

import csv
import gzip
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bot.server import do_not_call_routes
from bot.server.access import Access, Guard
from bot.server.contact_routes import MAX_FILE_BYTES
from bot.server.credentials import ConsoleCredentials
from bot.server.do_not_call_routes import PAGE, do_not_call_router
from bot.server.pages.site import console_routes
from bot.workers.pool import SingleProcess
from calls.events import Event, OperatorActed
from campaigns.store.contacts import BATCH, Contacts, DoNotCallEntry
from operations.database.database import Database
from runtime import clock

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
async def console(folder: Path) -> AsyncIterator[Console]:
    told: list[Event] = []
    async with Database(f"sqlite+aiosqlite:///{folder}/own.db") as database:
        book = Contacts(database)
        app = FastAPI()
        pool = SingleProcess(why_closed=lambda: "", clock=clock.monotonic)
        credentials = ConsoleCredentials(None, None, pool=pool, emit=told.append)
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


UNCLEAR = {
    "4915112345678": "+494915112345678 or +4915112345678",
    "nobody": "not a telephone number",
    "": "not a telephone number",
}


async def test_an_unclear_number_changes_nothing(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        for number, says in UNCLEAR.items():
            for path in (PATH, f"{PATH}/remove"):
                answer = await it.client.post(path, json={"number": number})

                assert answer.status_code == 400
                assert says in answer.json()["detail"]
        assert (await it.book.do_not_call_entries(), it.told) == ([], [])


async def test_a_long_list_has_pages(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        entries = [DoNotCallEntry(f"+4930901{n:04}", "file", float(n)) for n in range(PAGE + 1)]
        await it.book.add_do_not_call_entries(entries)

        first = (await it.client.get(PATH, params={"numbers": True})).json()
        second = (await it.client.get(PATH, params={"skip": PAGE, "numbers": True})).json()

    assert (len(first["entries"]), first["more"]) == (PAGE, True)
    assert [entry["number"] for entry in second["entries"]] == ["+49309010000"]
    assert not second["more"]


async def test_a_wrong_query_is_refused(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        for query in ("skip=-1", "skip=99999999999", f"by={'x' * 81}"):
            assert (await it.client.get(f"{PATH}?{query}")).status_code == 422


async def test_a_number_is_found_in_any_notation(tmp_path: Path) -> None:
    notations = ("030 901820", "+49 30 901820", "1820", "0049 30 901820")
    async with console(tmp_path) as it:
        for listed in (ADA, "+4930901821", "112"):
            await it.book.add_do_not_call(listed, source="letter", now=1.0)
        for text in (*notations, "99999", "Ada", "%"):
            found = (await it.client.get(PATH, params={"number": text})).json()["entries"]

            shown = ["+4930****20"] if text in notations else []
            assert [entry["number"] for entry in found] == shown, text


FILES = {
    "one number on a line": b"030 901820\n+49 30 901821\n12\n",
    "a contact file": b"Name,Phone\nAda,030 901820\nBob,+49 30 901821\nCyd,12\n",
    "a compressed file": gzip.compress(b"030 901820\n+49 30 901821\n12\n", mtime=0),
    "compressed files in a row": gzip.compress(b"030 901820\n", mtime=0)
    + gzip.compress(b"", mtime=0)
    + gzip.compress(b"+49 30 901821\n12\n", mtime=0),
    "a padded compressed file": gzip.compress(b"030 901820\n+49 30 901821\n12\n", mtime=0)
    + bytes(512),
}
PACKED = gzip.compress(b"030 901820\n", mtime=0)
HALF_TOO_LARGE = gzip.compress(b"x" * (MAX_FILE_BYTES // 2 + 1), mtime=0)


async def test_a_file_is_imported_and_exported_again(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        path = f"{PATH}/import?by=Mary&name=registry.csv"
        done, *others = [await it.client.post(path, content=data) for data in FILES.values()]
        entries = await it.book.do_not_call_entries()
        exported = await it.client.get(f"{PATH}/export.csv?numbers=true&by=Mary")
        hidden = await it.client.get(f"{PATH}/export.csv")
        for entry in entries:
            await it.book.remove_do_not_call(entry.number)
        back = await it.client.post(path, content=exported.content)

    assert "2 added, 0 known before, 1 refused" in done.json()["lines"]
    assert all("0 added, 2 known before, 1 refused" in one.json()["lines"] for one in others)
    assert {entry.number for entry in entries} == {ADA, "+4930901821"}
    assert {entry.source for entry in entries} == {"console: Mary, registry.csv"}
    assert [action for action, _ in it.acted] == ["list"] * len(FILES) + ["unmask", "list"]
    assert it.acted[0] == ("list", "a file: 2 added, 0 known before, 1 refused")
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert {row["number"].lstrip("'") for row in rows} == {ADA, "+4930901821"}
    assert "901820" not in hidden.text
    assert len(hidden.text.splitlines()) == 3
    assert "2 added, 0 known before, 0 refused" in back.json()["lines"]


UNUSABLE = [
    (b"PK\x03\x04xl/workbook.xml", 400, "The file is an Excel workbook"),
    (b"nobody\n", 400, "The file has no number that can be listed"),
    (b"", 400, "The file"),
    (gzip.compress(b"x" * (MAX_FILE_BYTES + 1), mtime=0), 413, "use holdline dnc import"),
    (HALF_TOO_LARGE + HALF_TOO_LARGE, 413, "use holdline dnc import"),
    (gzip.compress(b"030 901820", mtime=0)[:12], 400, "damaged or incomplete"),
    (PACKED + PACKED[:-1], 400, "damaged or incomplete"),
    (PACKED + PACKED[:5], 400, "damaged or incomplete"),
    (PACKED + b"030 901821\n", 400, "damaged or incomplete"),
]


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        for data, status, says in UNUSABLE:
            answer = await it.client.post(f"{PATH}/import", content=data)

            assert answer.status_code == status
            assert says in answer.json()["detail"]
            assert "holdline-upload" not in answer.text
        assert (await it.book.do_not_call_entries(), it.told) == ([], [])


async def test_a_long_list_is_exported_whole(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        for first in range(0, 2 * BATCH + 1, BATCH):
            numbers = range(first, min(first + BATCH, 2 * BATCH + 1))
            await it.book.add_do_not_call_entries(
                [DoNotCallEntry(f"+493090{n:05}", "file", float(n)) for n in numbers]
            )
        whole = await it.client.get(f"{PATH}/export.csv?numbers=true")

    assert len(set(whole.text.splitlines())) == 2 * BATCH + 2


async def test_an_export_has_all_numbers_that_stay_listed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Contacts.do_not_call_entries

    async def read_and_remove(book: Contacts, **query: Any) -> Sequence[DoNotCallEntry]:
        found = await read(book, **query)
        if found:
            await book.remove_do_not_call(found[0].number)
        return found

    monkeypatch.setattr(do_not_call_routes, "BATCH", 2)
    monkeypatch.setattr(Contacts, "do_not_call_entries", read_and_remove)
    async with console(tmp_path) as it:
        entries = [DoNotCallEntry(f"+493090182{n}", "file", n // 3) for n in range(6)]
        await it.book.add_do_not_call_entries(entries)
        file = await it.client.get(f"{PATH}/export.csv?numbers=true")

    listed = [row["number"][-1] for row in csv.DictReader(io.StringIO(file.text))]
    assert listed == ["3", "4", "5", "0", "1", "2"]


async def test_an_empty_list_is_exported_as_a_header(tmp_path: Path) -> None:
    async with console(tmp_path) as it:
        assert (await it.client.get(f"{PATH}/export.csv")).text.split() == [
            "number,source,added_at,words"
        ]
