"""Complete numbers and recordings need the role `act`, at every route that can show them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import insert

from bot.server.access import MAY_NOT_ACT, Access, Guard
from bot.server.call_list_routes import call_list_router
from bot.server.call_routes import PoolCalls, call_router
from bot.server.campaign_routes import report_router
from bot.server.contact_routes import contact_router
from bot.server.credentials import ConsoleCredentials
from bot.server.do_not_call_routes import do_not_call_router
from bot.server.inbox_routes import inbox_router
from bot.server.operator_routes import Disclosures
from bot.workers.machine_views import MachineViews
from bot.workers.pool import SingleProcess
from calls.events import Event, OperatorActed
from campaigns.store.contacts import Contacts, NewContact
from campaigns.store.figures import Figures
from configuration.settings import ServerSettings
from operations.database.database import Database
from operations.database.tables import CALL_RESULTS, CALLS, DIALS, MESSAGES, VOICEMAILS
from operations.inbox.store import Inbox
from operations.record.call_list import CallList
from operations.record.callbacks import Callback, Callbacks
from operations.record.reader import RecordReader
from operations.telemetry.live import ConsoleSums
from runtime import clock
from tests.bot.server.test_call_list_routes import DIAL
from tests.bot.server.test_call_routes import CALL, MESSAGE, NOON
from tests.bot.server.test_campaign_routes import (
    SPRING,
    WELL,
    HoldingDialer,
    outbound_of,
)

ACT = "a-token-of-the-console"
SEE = "a-token-of-the-wall-board"
NUMBER = "+12025550101"
SOUND = "RIFF"

RESULT: Final = {
    **dict.fromkeys(("number", "campaign", "outcome", "summary", "why", "provider"), ""),
    "call_id": "c1",
    "made_by": "model",
    "ended_s": 1.0,
}
DISCLOSING: Final = [
    ("GET", "/api/calls?numbers=1", NUMBER),
    ("GET", "/api/calls/c1?numbers=1", NUMBER),
    ("GET", "/api/calls/search?numbers=1", NUMBER),
    ("GET", "/api/calls/search.csv?numbers=1", NUMBER),
    ("GET", "/api/calls/c1/audio", SOUND),
    ("POST", "/api/inbox/callback/c1/number", NUMBER),
    ("GET", "/api/inbox/message/c2/audio", SOUND),
    ("GET", "/api/do-not-call?numbers=1", NUMBER),
    ("GET", "/api/do-not-call/export.csv?numbers=1", NUMBER),
    ("GET", "/api/campaigns/spring/report.csv?numbers=1", NUMBER),
]


@dataclass
class Site:
    """Every router that can show a complete number or a recording, behind the guard."""

    app: FastAPI
    client: httpx.AsyncClient
    told: list[Event]

    async def ask(self, method: str, path: str, token: str) -> httpx.Response:
        return await self.client.request(method, path, headers={"Authorization": f"Bearer {token}"})

    @property
    def acted(self) -> list[str]:
        return [event.action for event in self.told if isinstance(event, OperatorActed)]


def recording_in(folder: Path) -> str:
    path = folder / "sound.wav"
    path.write_text(SOUND, encoding="ascii")
    return str(path)


@asynccontextmanager
async def opened(
    folder: Path, *, number: str = NUMBER, name: str = "", said: str = "a contract"
) -> AsyncIterator[Site]:
    sound, told = recording_in(folder), list[Event]()
    url = f"sqlite+aiosqlite:///{folder}/holdline.db"
    pool = SingleProcess(why_closed=lambda: "", clock=clock.monotonic)
    async with Database(url) as database:
        contacts = Contacts(database)
        person = NewContact(number=NUMBER, name=name, zones=("UTC",))
        await contacts.add("spring", [person], now=NOON.timestamp())
        await contacts.add_do_not_call(NUMBER, source="letter", now=NOON.timestamp())
        callback = Callback(call_id="c1", number=NUMBER, reason=said, asked_at=NOON)
        await Callbacks(database).add(callback)
        message = {"call_id": "c2", "number": NUMBER, "path": sound, "at": NOON, "length_s": 2.0}
        async with database.transaction() as connection:
            own = {"caller": number, "recording": sound, "dial_id": "d1"}
            await connection.execute(insert(CALLS), [CALL | own])
            await connection.execute(
                insert(DIALS), [DIAL | {"number": number, "campaign": "spring"}]
            )
            for table, row in (
                (VOICEMAILS, {**message, "transcript": said}),
                (MESSAGES, MESSAGE | {"text": said}),
                (CALL_RESULTS, RESULT | {"notes": said}),
            ):
                await connection.execute(insert(table), [row])
        app, disclosures = FastAPI(), Disclosures(told.append)
        tokens = SecretStr(ACT), SecretStr(SEE)
        credentials = ConsoleCredentials(*tokens, pool=pool, emit=told.append)
        app.add_middleware(Guard, access=Access(credentials))
        outbound = outbound_of(url, Figures(database), HoldingDialer(), WELL, SPRING)
        for router in (
            call_list_router(CallList(database), disclosures),
            call_router(
                PoolCalls(ConsoleSums(), pool, MachineViews(pool, ServerSettings())),
                RecordReader(database),
                disclosures,
                currency="EUR",
            ),
            inbox_router(Inbox(database), told.append, disclosures),
            do_not_call_router(contacts, region="US", emit=told.append),
            report_router(outbound, told.append),
            contact_router(outbound, told.append, region="US"),
        ):
            app.include_router(router)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Site(app, client, told)


async def test_only_an_operator_may_unmask_data_and_each_disclosure_is_recorded(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as it:
        for method, path, shown in DISCLOSING:
            it.told.clear()
            in_full = await it.ask(method, path, ACT)
            refused = await it.ask(method, path, SEE)  # from the same address, a moment later
            masked = await it.ask("GET", path.partition("?")[0], SEE)

            assert (in_full.status_code, shown in in_full.text) == (200, True), path
            assert it.acted == ["hear" if shown == SOUND else "unmask"], path
            assert (refused.status_code, refused.json()) == (403, {"detail": MAY_NOT_ACT}), path
            assert masked.status_code == (200 if "?" in path else 403 if method == "GET" else 405)
            assert NUMBER not in masked.text, path


# Digits that the read-only role may search for, and whether they find the call.
FINDING = {"": True, "1": True, "0101": True, "9101": False}
TOO_MANY = ("50101", "12025550101")


@pytest.mark.parametrize("path", ["/api/calls/search", "/api/calls/search.csv"])
async def test_a_search_does_not_find_what_its_answer_hides(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path) as it:
        for digits, finds in FINDING.items():
            for token in (SEE, ACT):
                answer = await it.ask("GET", f"{path}?number={digits}", token)
                assert (answer.status_code, "c1" in answer.text) == (200, finds), digits
        for digits in TOO_MANY:
            refused = await it.ask("GET", f"{path}?number={digits}", SEE)
            assert (refused.status_code, "c1" in refused.text) == (403, False)
        assert it.acted == []
        for digits in TOO_MANY:
            assert "c1" in (await it.ask("GET", f"{path}?number={digits}", ACT)).text

    assert it.acted == ["unmask"]  # once more is recorded once


@pytest.mark.parametrize("name", [NUMBER, "Ann 202-555-0101"])
async def test_a_name_that_has_a_number_shows_and_finds_none(tmp_path: Path, name: str) -> None:
    paths = ("calls/search", "calls/search.csv", "campaigns/spring/report.csv")
    async with opened(tmp_path, name=name) as it:
        seen = [
            await it.ask("GET", f"/api/{path}", SEE)
            for path in (*paths, "campaigns/spring/summary")
        ]
        found = [
            await it.ask("GET", f"/api/{path}?name=0101", token)
            for path in paths[:2]
            for token in (SEE, ACT)
        ]

    assert [answer.status_code for answer in seen] == [200] * 4
    assert not [answer for answer in seen if name in answer.text]
    assert [answer.status_code for answer in found] == [403, 200, 403, 200]
    assert ["c1" in answer.text for answer in found] == [False, True, False, True]
    assert it.acted == ["unmask"]


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("My number is 202 555 0101, room 12.", "My number is **********, room 12."),
        ("電話は〇九〇一二三四です", "電話は*******です"),
    ],
)
async def test_the_read_only_role_reads_no_number_that_was_said(
    tmp_path: Path, said: str, seen: str
) -> None:
    async with opened(tmp_path, said=said) as it:
        for token, shown in ((ACT, said), (SEE, seen)):
            page = (await it.ask("GET", "/api/calls/c1", token)).json()
            inbox = (await it.ask("GET", "/api/inbox", token)).json()

            texts = [page["messages"][0]["text"], page["result"]["notes"]]
            assert [*texts, *(entry["text"] for entry in inbox["entries"])] == [shown] * 4


async def test_the_do_not_call_list_is_searched_only_by_the_digits_that_it_shows(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as it:
        for digits, recorded in (("01", []), ("101", ["unmask"]), ("+1 202 555 0101", ["unmask"])):
            query = httpx.QueryParams({"number": digits})
            seen = await it.ask("GET", f"/api/do-not-call?{query}", SEE)
            in_full = await it.ask("GET", f"/api/do-not-call?{query}", ACT)

            assert seen.status_code == (403 if recorded else 200)
            assert [entry["number"] for entry in in_full.json()["entries"]] == ["+1202****01"]
            assert ("+1202****01" in seen.text) is not bool(recorded)
            assert it.acted == recorded


@pytest.mark.parametrize(
    ("number", "shown"),
    [("+3531234567", "67"), ("12345678", "78"), ("123456", ""), ("", "")],
)
async def test_a_short_number_is_found_by_the_digits_that_lists_show(
    tmp_path: Path, number: str, shown: str
) -> None:
    async with opened(tmp_path, number=number) as it:
        listed = (await it.ask("GET", "/api/calls/search", SEE)).json()["calls"]
        found = [
            digits
            for digits in (number.lstrip("+")[-length:] for length in range(1, len(number) + 1))
            if "c1" in (await it.ask("GET", f"/api/calls/search.csv?number={digits}", SEE)).text
        ]

    assert listed[0]["ending"] == shown
    assert found == [shown[-length:] for length in range(1, len(shown) + 1)]


async def test_the_table_has_every_route_that_unmasks(tmp_path: Path) -> None:
    async with opened(tmp_path) as it:
        routes = it.app.openapi()["paths"]

    unmasking = {
        path
        for path, ways in routes.items()
        if path.endswith(("/audio", "/number"))
        or any(item["name"] == "numbers" for item in ways.get("get", {}).get("parameters", ()))
    }
    names = {"c1": "{call_id}", "c2": "{call_id}", "spring": "{name}"}
    names |= {"callback": "{kind}", "message": "{kind}"}
    asked = {
        "/".join(names.get(part, part) for part in path.partition("?")[0].split("/"))
        for _, path, _ in DISCLOSING
    }
    assert unmasking == asked
