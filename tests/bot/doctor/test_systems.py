"""The doctor checks all other configured systems, and sends keys only when asked to."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.doctor.finding import DoctorFinding
from bot.doctor.systems import check_systems
from configuration.settings import Settings
from tests.kit.stages import STAGES
from tests.operations.sheets.google import SPREADSHEET, Google, google_on_loopback

NOWHERE = "http://127.0.0.1:9"
MAPPING = {"look_up": {"method": "GET", "path": "/people?tel={number}"}, "found": "0"}


async def found(*, online: bool = False, **sections: Any) -> dict[str, DoctorFinding]:
    settings = Settings.model_validate({"stages": STAGES, **sections})
    return {finding.about: finding async for finding in check_systems(settings, online=online)}


class Crm:
    """A CRM that knows one token."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        right = request.headers.get("Authorization") == "Bearer right"
        return web.json_response([], status=200 if right else 401)


@pytest.fixture
async def crm() -> AsyncIterator[Crm]:
    made, app = Crm(), web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


@pytest.fixture
async def sheet() -> AsyncIterator[Google]:
    async with google_on_loopback() as made:
        yield made


async def test_nothing_configured_is_nothing_to_check() -> None:
    assert await found() == {}


@pytest.mark.parametrize(
    ("token", "online", "ok", "text"),
    [
        ("right", True, True, "answers a look-up"),
        ("wrong", True, False, "a look-up with the key of CRM_TOKEN answered 401"),
        ("wrong", False, True, "answers"),
    ],
)
async def test_a_crm_is_asked_for_a_number_only_online(
    crm: Crm,
    *,
    token: str,
    online: bool,
    ok: bool,
    text: str,
) -> None:
    section = {"kind": "rest", "url": crm.url, "token": token, "mapping": MAPPING}

    finding = (await found(online=online, crm=section))["crm"]

    assert (finding.ok, text in finding.text) == (ok, True)
    assert bool(crm.asked) is online


@pytest.mark.parametrize(
    ("content", "ok", "text"),
    [("number,name\n+15550100,Ann\n", True, "has 1 numbers"), (None, False, "No such file")],
)
async def test_a_file_of_contacts_is_read(
    tmp_path: Path,
    *,
    content: str | None,
    ok: bool,
    text: str,
) -> None:
    file = tmp_path / "people.csv"
    if content is not None:
        file.write_text(content, encoding="utf-8")

    finding = (await found(crm={"kind": "own", "file": str(file)}))["crm.file"]

    assert (finding.ok, text in finding.text) == (ok, True)


@pytest.mark.parametrize(
    ("tab", "withheld", "ok", "text"),
    [
        ("calls", [], True, "the tabs calls and alerts can be read"),
        ("nowhere", [], False, "answered 400: INVALID_ARGUMENT"),
        ("calls", ["garbage"], False, "the token server does not answer"),
    ],
)
async def test_the_tabs_of_a_spreadsheet_are_read_online(
    sheet: Google,
    tmp_path: Path,
    *,
    tab: str,
    withheld: list[str],
    ok: bool,
    text: str,
) -> None:
    sheet.withheld = withheld
    section = {
        "enabled": True,
        "spreadsheet_id": SPREADSHEET,
        "credentials_file": sheet.credentials(tmp_path),
        "url": sheet.url,
        "calls_tab": tab,
    }

    finding = (await found(online=True, sheets=section))["sheets"]

    assert (finding.ok, text in finding.text) == (ok, True)


async def test_every_configured_address_is_reached() -> None:
    names = await found(
        alerts={
            "email": {"sender": "a@example.com", "to": "b@x.org", "host": "127.0.0.1", "port": 9},
            "telegram": {"bot_token": "1:t", "chat_id": "1", "api_url": NOWHERE},
            "webhook": {"url": NOWHERE},
        },
        crm={"kind": "webhook", "url": NOWHERE},
        transfer={"webhook_url": NOWHERE},
        agent={"tools": [{"name": "price", "description": "A price.", "url": NOWHERE}]},
    )

    assert set(names) == {
        *("alerts.email", "alerts.telegram", "alerts.webhook"),
        *("crm", "transfer.webhook_url", "tool price"),
    }
    assert not any(finding.ok for finding in names.values())
    assert all("127.0.0.1:9 does not answer" in finding.text for finding in names.values())


@pytest.mark.parametrize(
    ("twilio", "ok"),
    [
        ({"enabled": True, "auth_token": "t", "account_sid": "AC1", "number": "+15550100"}, True),
        ({"enabled": True, "auth_token": "t"}, False),
    ],
)
async def test_a_campaign_needs_a_carrier_with_a_number(
    twilio: dict[str, Any],
    *,
    ok: bool,
) -> None:
    names = await found(campaigns={"spring": {"script": "Hello."}}, transports={"twilio": twilio})

    assert names["campaigns.spring"].ok is ok
