"""The doctor finds problems that would stop a call, and sends keys only when asked to."""

import errno
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from bot.doctor.doctor import DoctorFinding, examine
from bot.health.readiness_rules import judge_readiness
from configuration.alerts import AlertsSettings
from configuration.settings import Settings
from lab.simulators import faults
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window
from operations.database.rehearsal import rehearse
from tests.kit.near import running, steady_lab
from tests.share_servers import PASSWORD
from tests.share_servers import Server as ShareServer
from tests.small_disk import mounted

KEY = "right-key"
IN_USE = os.strerror(errno.EADDRINUSE)


class Vendor:
    """A loopback server that knows one key and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.health: Any = None  # the answer of our own server
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path == "/readyz" and self.health is not None:
            return web.json_response(self.health, status=503)
        keys = (
            request.headers.get("Authorization", ""),
            request.headers.get("X-API-Key", ""),
            request.headers.get("xi-api-key", ""),
        )
        return web.json_response({}, status=200 if any(KEY in key for key in keys) else 401)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    vendor.port = runner.addresses[0][1]
    yield vendor
    await runner.cleanup()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def settings(port: int, *, key: str = KEY, **sections: Any) -> Settings:
    where = f"127.0.0.1:{port}"
    return Settings.model_validate(
        {
            "server": {"port": 0},
            "stages": {
                "stt": [{"kind": "deepgram", "url": f"ws://{where}", "api_key": key}],
                "llm": [{"kind": "openai", "url": f"http://{where}/v1", "api_key": key}],
                "tts": [
                    {"kind": "cartesia", "url": f"ws://{where}/tts/websocket", "api_key": key},
                    {"kind": "elevenlabs", "url": f"ws://{where}", "api_key": key},
                    {"kind": "local"},
                ],
            },
        }
        | sections
    )


async def findings(of: Settings, *, online: bool = False) -> dict[str, DoctorFinding]:
    return {
        doctor_finding.about: doctor_finding async for doctor_finding in examine(of, online=online)
    }


def problems(of: dict[str, DoctorFinding]) -> dict[str, str]:
    return {item.about: item.text for item in of.values() if not item.ok}


async def test_a_healthy_configuration_has_no_problem_sends_no_key_and_leaves_nothing_behind(
    vendor: Vendor, tmp_path: Path
) -> None:
    found = await findings(settings(vendor.port))

    assert problems(found) == {}
    assert "stages.tts elevenlabs" in found
    assert "resilience.share" not in found
    assert vendor.asked == []
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing waits for this


@pytest.mark.parametrize("finishes", [False, True])
async def test_a_recogniser_that_finishes_by_itself_is_named_with_what_it_promises(
    *, finishes: bool
) -> None:
    stt = {
        "kind": "pipecat",
        "service": "tests.providers.adapter.own_recogniser:OwnRecogniser",
        "url": "ws://127.0.0.1:9",
        "api_key": KEY,
        "facts": {"finalises": finishes},
    }
    found = await findings(settings(9, stages={**settings(9).stages.model_dump(), "stt": [stt]}))
    text = found["stages.stt pipecat"].text

    assert ("may wait 2.5 s for an answer instead of 1.5 s" in text) != finishes


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("", "a bug of its owner's"),
        ("SystemExit", "no licence"),
        ("Blocks", "its constructor has not ended"),
    ],
)
async def test_a_service_that_cannot_be_built_is_a_problem_of_its_rung(
    error: str, told: str, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.doctor.doctor.BUILD_S", 0.5)
    mine = "tests.providers.adapter.own_services:BrokenVoice"
    broken = {"kind": "pipecat", "service": mine, "api_key": KEY, "init": {"error": error}}
    usual = settings(vendor.port)
    found = await findings(
        settings(vendor.port, stages={**usual.stages.model_dump(), "tts": [broken]})
    )

    assert found["stages.tts pipecat"].text.startswith("it cannot be built: ")
    assert told in found["stages.tts pipecat"].text
    assert not found["stages.tts pipecat"].ok


MISSING = {  # by provider: a part of the path of its real request, and its stage
    "deepgram": ("listen", "stt"),
    "openai": ("chat", "llm"),
    "cartesia": ("websocket", "tts"),
}


def with_lab(lab: Lab) -> Settings:
    stages = {stage: ladder[:1] for stage, ladder in running(lab).stages.items()}
    return Settings.model_validate({"server": {"port": 0}, "stages": stages})


@pytest.mark.virtual_time
async def test_an_online_check_has_every_provider_recognise_answer_or_speak() -> None:
    async with steady_lab() as lab:
        found = await findings(with_lab(lab), online=True)

    assert problems(found) == {}
    assert found["stages.stt deepgram"].text.endswith(
        "accepts the key, and the model recognises speech"
    )
    assert found["stages.llm openai"].text.endswith("accepts the key, and the model answers")
    assert found["stages.tts cartesia"].text.endswith("accepts the key, and the voice speaks")


@pytest.mark.virtual_time
async def test_a_model_or_voice_that_does_not_exist_is_a_problem() -> None:
    async with steady_lab() as lab:
        for name, (path, _) in MISSING.items():
            lab.instances[name].set_faults([Window(fault=faults.Http(status=404), path=path)])
        found = problems(await findings(with_lab(lab), online=True))

    rungs = {f"stages.{stage} {name}" for name, (_, stage) in MISSING.items()}
    assert set(found) == rungs
    for about in rungs:
        assert f"does not know the model, the voice or the address of {about}" in found[about]


async def test_a_key_that_a_provider_refuses_is_a_problem_without_the_key(vendor: Vendor) -> None:
    found = problems(await findings(settings(vendor.port, key="wrong-key"), online=True))

    assert set(found) == {
        "stages.stt deepgram",
        "stages.llm openai",
        "stages.tts cartesia",
        "stages.tts elevenlabs",
    }
    key = "OPENAI_API_KEY"
    instead = "callers will get the keypad menu"
    assert found["stages.llm openai"] == f"OpenAI rejects {key} (401); {instead}"
    assert found["stages.tts cartesia"].endswith("local is used instead")
    assert "wrong-key" not in str(found)


async def test_a_half_configured_alert_channel_is_a_problem(vendor: Vendor) -> None:
    half = {"email": {"to": "night@example.com"}}
    changed = settings(vendor.port).model_copy(
        update={"alerts": AlertsSettings.model_validate(half)}
    )

    assert problems(await findings(changed)) == {"alerts": "email is off: EMAIL_FROM is not set"}


async def test_a_server_that_does_not_answer_is_a_problem_of_its_rung() -> None:
    found = problems(await findings(settings(free_port())))

    assert len(found) == 4
    assert "does not answer" in found["stages.stt deepgram"]


async def test_a_missing_local_voice_is_a_problem_of_its_rung(vendor: Vendor) -> None:
    healthy = settings(vendor.port).stages.model_dump()
    absent = {**healthy, "tts": [{"name": "here", "kind": "local", "voice": "nobody"}]}

    found = await findings(settings(vendor.port, stages=absent))

    text = "espeak-ng has no voice nobody; callers will get the keypad menu"
    assert problems(found) == {"stages.tts here": text}


async def test_a_server_without_tls_is_a_problem_where_tls_is_wanted(vendor: Vendor) -> None:
    url = f"wss://127.0.0.1:{vendor.port}"
    stages = {
        "stt": [{"kind": "deepgram", "url": url, "api_key": KEY}],
        "llm": [{"kind": "openai", "url": f"http://127.0.0.1:{vendor.port}", "api_key": KEY}],
        "tts": [{"kind": "local"}],
    }

    found = problems(await findings(settings(vendor.port, stages=stages)))

    assert list(found) == ["stages.stt deepgram"]


async def test_a_taken_port_is_a_problem(vendor: Vendor) -> None:
    found = problems(await findings(settings(vendor.port, server={"port": vendor.port})))

    assert f"127.0.0.1:{vendor.port} cannot be bound" in found["server.port"]


@pytest.mark.parametrize(
    ("why_closed", "said", "host"),
    [
        ("", "", "127.0.0.1"),
        ("draining", "; GET /readyz says draining", "0.0.0.0"),  # noqa: S104 - never listened on
    ],
    ids=["ready", "draining"],
)
async def test_a_port_at_which_our_own_server_listens_is_no_problem(
    why_closed: str, said: str, host: str, vendor: Vendor
) -> None:
    vendor.health = asdict(judge_readiness(why_closed=why_closed, usable={}, steps=()))

    found = await findings(settings(vendor.port, server={"host": host, "port": vendor.port}))

    assert problems(found) == {}
    assert found["server.port"].text == (
        f"{host}:{vendor.port} is already used by Holdline, with this or another configuration; "
        f"another start there would fail{said}"
    )
    assert vendor.asked == ["/readyz"]


async def test_a_port_with_another_program_is_a_problem(vendor: Vendor) -> None:
    for health in ([], {"ready": True}, {"ready": True, "degraded": False, "reasons": 3}):
        vendor.health = health

        found = problems(await findings(settings(vendor.port, server={"port": vendor.port})))

        assert list(found) == ["server.port"], health


async def test_a_taken_port_without_an_answer_does_not_block(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.doctor.doctor.SERVER_ANSWER_S", 0.1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        port = mute.getsockname()[1]

        found = problems(await findings(settings(vendor.port, server={"port": port})))

    assert found == {"server.port": f"127.0.0.1:{port} cannot be bound: {IN_USE}"}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "sqlite+aiosqlite:///missing/folder/x.db",
            "cannot be used: OperationalError: unable to open",
        ),
        ("sqlite+aiosqlite:///words.db", "cannot be used: DatabaseError: file is not a database"),
    ],
)
async def test_storage_that_does_not_open_is_a_problem(
    url: str, text: str, vendor: Vendor, tmp_path: Path
) -> None:
    (tmp_path / "words.db").write_text("these are words, not a database\n" * 40, encoding="utf-8")

    found = problems(await findings(settings(vendor.port, storage={"url": url})))

    assert text in found["storage.url"]


@pytest.mark.parametrize(
    ("fault", "there"),
    [("full", True), ("read-only", False)],
    ids=["full, with an old file", "read-only, without a file"],
)
async def test_a_disk_that_takes_no_row_is_a_problem(
    fault: str,
    vendor: Vendor,
    tmp_path: Path,
    *,
    there: bool,
) -> None:
    with mounted(tmp_path / "disk", size="2m") as disk:
        url = f"sqlite+aiosqlite:///{disk.folder}/holdline.db"
        of = settings(vendor.port, storage={"url": url}, logs={"dir": disk.folder})
        if there:
            await rehearse(url)
        if fault == "full":
            disk.fill()
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)  # noqa: ASYNC221, S603, S607
        found = problems(await findings(of))

    assert set(found) == {"logs.dir", "storage.url"}
    assert "cannot be written" in found["logs.dir"]
    assert "cannot be used" in found["storage.url"]


async def storage_found(url: str, port: int) -> DoctorFinding:
    found = await findings(settings(port, storage={"url": url}))
    assert problems(found).keys() <= {"storage.url"}
    return found["storage.url"]


def through_asyncpg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://")


async def test_a_postgresql_is_written_to_and_nothing_is_left_in_it(
    vendor: Vendor, postgres: ShareServer
) -> None:
    url = await postgres.fresh_url()

    found = await storage_found(through_asyncpg(url), vendor.port)

    assert found.ok
    assert "can be written" in found.text
    assert PASSWORD not in found.text
    connection = await asyncpg.connect(url)
    tables = await connection.fetch("SELECT 1 FROM pg_tables WHERE tablename = 'callbacks'")
    await connection.close()
    assert tables == []


async def test_a_postgresql_whose_user_may_not_write_is_a_problem(
    vendor: Vendor, postgres: ShareServer
) -> None:
    url = await postgres.fresh_url()
    connection = await asyncpg.connect(url)
    await connection.execute("DROP ROLE IF EXISTS reader")
    await connection.execute("CREATE ROLE reader LOGIN PASSWORD 'r3ads'")
    await connection.close()
    url = through_asyncpg(url).replace(f"holdline:{PASSWORD}@", "reader:r3ads@")

    found = await storage_found(url, vendor.port)

    assert not found.ok
    assert "permission denied" in found.text
    assert "r3ads" not in found.text


async def test_an_unavailable_postgresql_is_a_problem(
    vendor: Vendor, postgres: ShareServer
) -> None:
    wrong = through_asyncpg(postgres.address.format("an0ther"))
    away = f"postgresql+asyncpg://holdline:an0ther@127.0.0.1:{free_port()}/postgres"

    found = [await storage_found(url, vendor.port) for url in (wrong, away)]

    assert not any(item.ok for item in found)
    assert "password authentication failed" in found[0].text
    assert "cannot be used" in found[1].text
    assert "an0ther" not in found[0].text + found[1].text


async def test_a_postgresql_that_hangs_is_a_problem_and_does_not_block(
    vendor: Vendor, postgres: ShareServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.doctor.storage.SERVER_ANSWER_S", 0.1)
    postgres.pause()
    try:
        found = await storage_found(through_asyncpg(postgres.url), vendor.port)
    finally:
        postgres.resume()

    assert not found.ok
    assert "did not answer within 0.1 s" in found.text


async def share_found(share: str, port: int) -> DoctorFinding:
    found = await findings(settings(port, resilience={"share": share}))
    assert problems(found).keys() <= {"resilience.share"}
    return found["resilience.share"]


async def test_a_share_is_asked_for_a_lease_which_is_given_back(
    vendor: Vendor, redis_server: ShareServer
) -> None:
    url = await redis_server.fresh_url()

    found = [await share_found(url, vendor.port) for _ in range(2)]

    assert all(item.ok for item in found)
    assert "grants leases" in found[0].text
    assert PASSWORD not in found[0].text


async def test_a_share_that_hangs_is_a_problem_and_does_not_block(
    vendor: Vendor, redis_server: ShareServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.doctor.storage.SERVER_ANSWER_S", 1.0)
    redis_server.pause()
    try:
        found = await share_found(redis_server.url, vendor.port)
    finally:
        redis_server.resume()

    assert not found.ok
    assert found.text == f"{redis_server.address.format('********')} did not answer within 1 s"


async def test_a_share_that_refuses_our_password_is_a_problem(
    vendor: Vendor, postgres: ShareServer
) -> None:
    found = await share_found(postgres.address.format("an0ther"), vendor.port)

    assert not found.ok
    assert "password authentication failed" in found.text
    assert "an0ther" not in found.text


async def test_an_existing_share_file_is_used_and_a_missing_one_is_not_made(
    vendor: Vendor, tmp_path: Path
) -> None:
    file = tmp_path / "shared" / "board.db"
    before = await share_found(f"sqlite:///{file}", vendor.port)
    assert not file.parent.exists()
    file.parent.mkdir()
    file.write_text("", encoding="utf-8")

    after = await share_found(f"sqlite:///{file}", vendor.port)

    assert before.ok
    assert "will create" in before.text
    assert after.ok
    assert "grants leases" in after.text


async def test_a_share_that_is_no_database_is_a_problem(vendor: Vendor, tmp_path: Path) -> None:
    file = tmp_path / "words.db"
    file.write_text("these are words, not a database\n" * 40, encoding="utf-8")

    found = await share_found(f"sqlite:///{file}", vendor.port)

    assert not found.ok
    assert "file is not a database" in found.text


async def test_a_logs_folder_that_is_a_file_is_a_problem(vendor: Vendor, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("", encoding="utf-8")

    found = problems(await findings(settings(vendor.port)))

    assert "logs cannot be written" in found["logs.dir"]


@pytest.mark.parametrize(
    ("carrier", "public_url", "api_url", "ok"),
    [
        ("twilio", "https://phone.example.com", "https://api.twilio.com", True),
        ("twilio", "http://phone.example.com", "https://api.twilio.com", False),
        ("telnyx", "http://127.0.0.1:8080", "https://api.telnyx.com", False),
        ("plivo", "http://127.0.0.1:8080", "https://api.plivo.com", False),
        ("exotel", "http://127.0.0.1:8080", "https://api.exotel.com", False),
        ("exotel", "http://127.0.0.1:8080", "http://127.0.0.1:9000", True),
    ],
)
async def test_a_carrier_needs_an_address_that_it_can_reach(
    carrier: str, public_url: str, api_url: str, *, ok: bool, vendor: Vendor
) -> None:
    open_door = {carrier: {"enabled": True, "api_url": api_url}}
    server = {"port": 0, "public_url": public_url}

    found = await findings(settings(vendor.port, server=server, transports=open_door))

    assert found["server.public_url"].ok is ok


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ({"public_url": "https://phone.example.com"}, True),
        ({"public_url": "https://phone.example.com", "token": "a-token-of-the-console"}, False),
        ({}, False),
    ],
    ids=["public", "with a token", "on this machine"],
)
async def test_a_console_that_a_proxy_may_open_is_reported(
    server: dict[str, str], *, told: bool, vendor: Vendor
) -> None:
    found = await findings(settings(vendor.port, server={"port": 0, **server}))

    assert ("HOLDLINE_TOKEN" in problems(found)) is told


@pytest.mark.parametrize(
    ("entry_point", "ok"),
    [
        ("json:dumps", True),
        ("json:nothing", False),
        ("no_such:x", False),
        ("tests.bot.tools.raising_module:x", False),
        ("tests.bot.tools.exiting_module:x", False),
    ],
)
async def test_an_owners_function_must_load(entry_point: str, *, ok: bool, vendor: Vendor) -> None:
    agent = {"tools": [{"entry_point": entry_point}]}

    found = await findings(settings(vendor.port, agent=agent))

    assert found[f"tool {entry_point}"].ok is ok


NO_NUMBER = "none of the enabled carriers has a number to call from"
OUTBOUND = {
    "nothing is allowed, and nothing is called": ({}, {}, {}),
    "nothing is allowed, and a campaign calls": (
        {},
        {"campaigns": {"spring": {}}},
        {"outbound": "outbound.countries is not set", "campaigns.spring": NO_NUMBER},
    ),
    "a destination in another country": (
        {"countries": ["US"]},
        {"agent": {"destinations": {"a": {"number": "+18765551234"}}}},
        {"agent.destinations.a.number": "the number is in JM"},
    ),
    "a destination without any country": (
        {},
        {"agent": {"destinations": {"a": {"number": "+12025550123"}}}},
        {"agent.destinations.a.number": "outbound.countries is not set"},
    ),
    "both are allowed": (
        {"countries": ["US"]},
        {
            "campaigns": {"spring": {}},
            "agent": {"destinations": {"a": {"number": "+12025550123"}}},
        },
        {"campaigns.spring": NO_NUMBER},
    ),
}


@pytest.mark.parametrize(("outbound", "sections", "wrong"), OUTBOUND.values(), ids=OUTBOUND)
async def test_outbound_rules_that_can_never_allow_a_call_are_reported(
    vendor: Vendor, outbound: dict[str, Any], sections: dict[str, Any], wrong: dict[str, str]
) -> None:
    found = await findings(settings(vendor.port, outbound=outbound, **sections))

    told = problems(found)
    assert told.keys() == wrong.keys()
    assert all(told[about].startswith(text) for about, text in wrong.items())
