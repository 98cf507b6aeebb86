"""`holdline alerts test`, and the alerts over HTTP."""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from bot.__main__ import run
from bot.server.operator_routes import alert_router
from calls.events import Event, OperatorActed
from calls.incident import IncidentBegan
from configuration.alerts import (
    AlertsSettings,
    EmailSettings,
    QuietSettings,
    TelegramSettings,
    WebhookSettings,
)
from fallbacks.failure import Severity
from fallbacks.retrying import RetrySettings
from operations.database.database import Database
from operations.notify.alert import AlertRules
from operations.notify.alert_outbox import AlertOutbox, ReportedEvent
from operations.notify.alerting_rules import never_quiet
from operations.notify.configured_alerts import NO_CHANNEL, quiet_hours, try_channels
from operations.notify.dispatcher import AlertDispatcher
from operations.retrying import Retries
from tests.operations.notify.conftest import Inbox, Receiver

NOW = 1_800_000_000.0


def settings_for(inbox: Inbox, receiver: Receiver) -> AlertsSettings:
    return AlertsSettings(
        email=EmailSettings(
            sender="a@example.com", to="b@example.com", host=inbox.host, port=inbox.port
        ),
        telegram=TelegramSettings(
            bot_token=SecretStr("12:s3cret"), chat_id="1", api_url=receiver.url
        ),
        webhook=WebhookSettings(url=f"{receiver.url}/s3cret"),
    )


async def test_each_channel_gets_one_test_alert_and_has_one_line(
    inbox: Inbox, receiver: Receiver
) -> None:
    said: list[str] = []

    code = await try_channels(settings_for(inbox, receiver), say=said.append)

    assert code == 0
    assert [line.partition(" (")[0] for line in said] == [
        "email: sent",
        "telegram: sent",
        "webhook: sent",
    ]
    assert (len(inbox.mails), len(receiver.asked)) == (1, 2)
    assert "s3cret" not in "".join(said)


async def test_a_failing_channel_is_reported_and_the_others_are_sent(
    inbox: Inbox, receiver: Receiver
) -> None:
    inbox.refusal = "554 no"
    said: list[str] = []

    code = await try_channels(settings_for(inbox, receiver), say=said.append)

    assert code == 1
    assert said[0].startswith("email: failed: answered 554")
    assert len(receiver.asked) == 2


async def test_a_refused_address_is_named(inbox: Inbox) -> None:
    said: list[str] = []
    inbox.refused = {"bob@example.com": "550 nobody"}
    email = EmailSettings(
        sender="a@example.com",
        to="b@example.com, bob@example.com",
        host=inbox.host,
        port=inbox.port,
    )

    code = await try_channels(AlertsSettings(email=email), say=said.append)

    assert code == 1
    assert [line.partition(" (")[0] for line in said] == [
        "email: failed: answered 550 to 1 of 2 recipients: bob@example.com"
    ]
    assert inbox.went_to == [["b@example.com"]]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (AlertsSettings(), NO_CHANNEL),
        (
            AlertsSettings(email=EmailSettings(sender="a@example.com")),
            "email is off: EMAIL_TO is not set",
        ),
        (
            AlertsSettings(telegram=TelegramSettings(chat_id="1")),
            "telegram is off: TELEGRAM_BOT_TOKEN is not set",
        ),
    ],
    ids=["nothing", "half a mail", "half a telegram"],
)
async def test_a_missing_configuration_is_reported(settings: AlertsSettings, line: str) -> None:
    said: list[str] = []

    assert await try_channels(settings, say=said.append) == 1
    assert said == [line]


async def test_the_command_takes_its_channels_from_the_environment(
    tmp_path: Path, receiver: Receiver
) -> None:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "bot", "alerts", "test"), stdout=PIPE, stderr=PIPE, cwd=tmp_path,
        env={"PYTHONPATH": "", "WEBHOOK_URL": f"{receiver.url}/hook"},
    )  # fmt: skip
    out, wrong = await process.communicate()

    assert (process.returncode, wrong) == (0, b"")
    assert out == b"webhook: sent (127.0.0.1, not signed: WEBHOOK_SECRET is not set)\n"
    assert len(receiver.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["send"], {}, 'holdline: alerts takes "test", not "send"'),
        (["test"], {"WEBHOOK_SECRET": "short"}, "whsec_ followed by at least 24 bytes in base64"),
        (["test"], {"HOLDLINE__ALERTS__QUIET__ZONE": "Mars"}, "a time zone such as"),
        (["test"], {"HOLDLINE__ALERTS__QUIET__BEGIN": "25:00"}, "alerts.quiet.begin"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    environment: dict[str, str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert run(["alerts", *arguments]) == 2

    wrong = capsys.readouterr().err
    assert line in wrong
    assert len(wrong.splitlines()) == 1


@pytest.mark.parametrize(
    ("begin", "end", "quiet"),
    [
        ("22:00", "07:00", [False, True, True, False]),
        ("00:00", "06:00", [False, False, True, False]),
        (None, "07:00", [False, False, False, False]),
    ],
)
def test_quiet_hours_are_those_of_the_operators_zone(
    begin: str | None, end: str, quiet: list[bool]
) -> None:
    # 1.8e9 is 2027-01-15 08:00 UTC, and 09:00 in Berlin.
    moments = [NOW + hours * 3600 for hours in (12.9, 13.1, 19, 22.1)]
    settings = QuietSettings(begin=begin, end=end, zone="Europe/Berlin")

    assert [quiet_hours(settings)(moment) for moment in moments] == quiet


async def asked(
    folder: Path, method: str, path: str, *, told: list[Event] | None = None, **said: Any
) -> tuple[int, Any]:
    """Call the routes with one alert, whose key replaces KEY."""
    outbox = AlertOutbox(Database(f"sqlite+aiosqlite:///{folder}/holdline.db"))
    desk = AlertDispatcher(
        outbox,
        [],
        AlertRules(),
        quiet=never_quiet,
        retries=Retries(settings=RetrySettings(), emit=lambda _: None),
        leads=lambda: True,
        utc_s=lambda: NOW,
        describe_replacement=lambda _stage, rung: f"another than {rung}",
    )
    began = IncidentBegan(
        stage="tts", rung="voice", kind="auth", severity=Severity.HIGH, reason="401", then=""
    )
    await outbox.report([ReportedEvent(fact=began, at_s=NOW, holder="x")])
    await desk.decide()
    (alert,) = await desk.recent()
    app = FastAPI()
    app.include_router(alert_router(desk, (told if told is not None else []).append))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080"
    ) as client:
        answer = await client.request(method, path.replace("KEY", alert.key), **said)
    await outbox.database.close()
    return answer.status_code, json.loads(answer.content)


async def test_open_alerts_are_listed(tmp_path: Path) -> None:
    status, (alert,) = await asked(tmp_path, "GET", "/api/alerts")

    assert status == 200
    assert (alert["status"], alert["severity"], alert["provider"]) == ("open", "HIGH", "voice")
    assert alert["began_at"] == "2027-01-15T08:00:00+00:00"


@pytest.mark.parametrize(("action", "status"), [("acknowledge", "open"), ("resolve", "resolved")])
async def test_an_operators_action_is_kept_with_the_name(
    tmp_path: Path, action: str, status: str
) -> None:
    said = {"by": "Mary\nof the night"}

    code, alert = await asked(tmp_path, "POST", f"/api/alerts/KEY/{action}", json=said)

    assert (code, alert["status"], alert["seen_by"]) == (200, status, "Mary\\nof the night")


async def test_an_operators_action_on_an_alert_is_reported_once_with_its_author_and_reason(
    tmp_path: Path,
) -> None:
    told: list[Event] = []
    said = {"by": "Mary", "why": "key renewed"}

    await asked(tmp_path, "POST", "/api/alerts/KEY/resolve", told=told, json=said)
    await asked(tmp_path, "POST", "/api/alerts/none/resolve", told=told)

    (acted,) = told
    assert isinstance(acted, OperatorActed)
    assert (acted.action, acted.target[:9], acted.why) == ("resolve", "tts-voice", "key renewed")
    assert acted.by == "Mary (no token from 127.0.0.1)"


async def test_an_action_without_a_name_and_on_an_unknown_alert_is_refused(tmp_path: Path) -> None:
    code, alert = await asked(tmp_path, "POST", "/api/alerts/KEY/acknowledge")
    absent, _ = await asked(tmp_path, "POST", "/api/alerts/none/resolve")

    assert (code, alert["seen_by"], absent) == (200, "an operator", 404)
