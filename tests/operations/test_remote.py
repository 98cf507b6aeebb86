"""Whatever a remote system answers, and however slowly: one deadline, one kind of failure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from configuration.alerts import EmailSettings, TelegramSettings, WebhookSettings
from fallbacks.failure import Kind, ServiceError, Severity
from operations.crm.rest import RestCrm, RestMapping, RestRequest
from operations.notify.alert import Alert
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import POST_S, Channel, alert_text
from operations.notify.mail import MAIL_S, mail_channel
from operations.notify.telegram import telegram_channel
from operations.notify.webhook import webhook_channel
from operations.remote import RemoteError
from operations.sheets.sheet import ACCOUNT_ASK_S, SheetError, _ask_token
from runtime import clock
from transports.rest import CARRIER_REQUEST_S, RestClient

ALERT = Alert(
    key="k",
    stage="tts",
    rung="cartesia",
    kind="auth",
    severity=Severity.HIGH,
    reason="",
    then="",
    began_s=0.0,
    open_s=0.0,
    heard_s=0.0,
)
DEEP = b"[" * 200_000
HUGE = b'{"a": "' + b"x" * (2 << 20) + b'"}'
CRM_S = 3.0
FAILURES = (RemoteError, SheetError, ServiceError)


def telegram(url: str, handle: str = "") -> Awaitable[object]:
    settings = TelegramSettings(bot_token=SecretStr("1:token"), chat_id="1", api_url=url)
    return posted(telegram_channel(settings), handle)


def webhook(url: str) -> Awaitable[object]:
    return posted(webhook_channel(WebhookSettings(url=url), utc_s=lambda: 0.0))


def crm(url: str) -> Awaitable[object]:
    mapping = RestMapping(look_up=RestRequest(method="GET", path="/x"))
    return RestCrm("rest", mapping, url=url, headers={}, timeout_s=CRM_S).look_up("+1")


def carrier(url: str) -> Awaitable[object]:
    client = RestClient(carrier="telnyx", url=url, authorization=SecretStr("x"))
    return client.ask("GET", "calls")


def sheets(url: str) -> Awaitable[object]:
    return _ask_token(url, "signed")


def posted(channel: Channel, handle: str = "") -> Awaitable[object]:
    post = ChannelPost(alert=ALERT, channel=channel.name, handle=handle)
    return channel.post(post, alert_text(ALERT))


@asynccontextmanager
async def answering(
    body: bytes, *, status: int = 200, content_type: str = "application/json"
) -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")


Ask = Callable[[str], Awaitable[object]]
READERS: dict[str, Ask] = {"telegram": telegram, "crm": crm, "carrier": carrier, "sheets": sheets}


@pytest.mark.parametrize("body", [DEEP, HUGE, b"\xff\xfe", b""])
@pytest.mark.parametrize("name", READERS)
async def test_an_unreadable_answer_is_a_failure_of_its_system(name: str, body: bytes) -> None:
    async with answering(body, status=500) as url:
        with pytest.raises(FAILURES):
            await READERS[name](url)


@pytest.mark.parametrize("may_be_empty", [True, False])
async def test_a_page_instead_of_a_calls_state_is_a_failure(*, may_be_empty: bool) -> None:
    async with answering(b"<html>Sign in</html>", content_type="text/html") as url:
        client = RestClient(
            carrier="plivo", url=url, authorization=SecretStr("x"), may_be_empty=may_be_empty
        )
        with pytest.raises(ServiceError):
            await client.ask("GET", "Call/1/")


async def test_a_change_may_be_confirmed_without_a_body() -> None:
    async with answering(b"", status=204, content_type="text/html") as url:
        client = RestClient(
            carrier="plivo", url=url, authorization=SecretStr("x"), may_be_empty=True
        )

        assert await client.ask("DELETE", "Call/1/") == {}


ODD: list[Any] = [
    b'{"ok": false, "parameters": "soon"}',
    b'{"ok": false, "parameters": {"retry_after": "soon"}}',
    b'{"ok": false, "parameters": {"retry_after": -5, "migrate_to_chat_id": []}}',
    b'{"ok": false, "parameters": {"retry_after": 1e400}}',
    b'{"ok": false, "description": {"a": 1}}',
    b'["ok"]',
    b"null",
    DEEP,
]


@pytest.mark.parametrize("body", ODD)
async def test_an_odd_answer_of_telegram_is_an_ordinary_failure(body: bytes) -> None:
    async with answering(body, status=400) as url:
        for handle in ("", "7"):
            with pytest.raises(RemoteError) as refused:
                await telegram(url, handle)

    wait_s = refused.value.retry_after_s
    assert wait_s is None or 0 < wait_s <= 3600


@pytest.mark.parametrize("body", [b'{"ok": true, "result": 7}', b'{"ok": true}'])
async def test_a_message_without_a_number_is_sent_and_never_updated(body: bytes) -> None:
    async with answering(body) as url:
        assert await telegram(url) == ""


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
    """Answer byte by byte, for ever."""
    reading = asyncio.create_task(reader.read(-1))
    try:
        writer.write(first)
        while not writer.is_closing() and not reading.done():
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(1.0)
    except ConnectionError:
        pass
    finally:
        reading.cancel()
        writer.close()


@asynccontextmanager
async def dripping(first: bytes) -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda r, w: drip(r, w, first), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def mail(url: str) -> Awaitable[object]:
    host, _, port = url.removeprefix("http://").partition(":")
    settings = EmailSettings(sender="a@example.com", to="b@example.com", host=host, port=int(port))
    return posted(mail_channel(settings, utc_s=lambda: 0.0))


SLOW: dict[str, tuple[Ask, bytes, float]] = {
    "mail": (mail, b"220-", MAIL_S),
    "telegram": (telegram, b"HTTP/1.1 200 OK\r\nX-", POST_S),
    "telegram's body": (telegram, b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", POST_S),
    "webhook": (webhook, b"HTTP/1.1 200 OK\r\nX-", POST_S),
    "crm": (crm, b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", CRM_S),
    "carrier": (
        carrier,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n",
        CARRIER_REQUEST_S,
    ),
    "sheets": (sheets, b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", ACCOUNT_ASK_S),
}


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", SLOW)
async def test_a_server_that_answers_byte_by_byte_meets_one_deadline(name: str) -> None:
    ask, first, within_s = SLOW[name]
    async with dripping(first) as port:
        began_s = clock.monotonic()
        with pytest.raises(FAILURES) as failed:
            await ask(f"http://127.0.0.1:{port}")

        assert clock.monotonic() - began_s <= within_s + 1.0
    told = failed.value
    kind = told.failure.kind if isinstance(told, ServiceError) else told.kind
    assert kind in (Kind.TIMEOUT, Kind.NETWORK)
