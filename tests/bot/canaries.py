"""Secrets and personal data that no output may show, their sources, and the search for them."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

KEYS = {  # by variable: the server's own
    "KEY_EAR": "Zq81xCanaryEarKeyHd5",
    "KEY_MIND": "Zq82xCanaryMindKeyHd5",
    "KEY_VOICE": "Zq83xCanaryVoiceKeyHd5",
    "KEY_STANDBY": "Zq84xCanaryStandbyKeyHd5",
    "TWILIO_AUTH_TOKEN": "Zq85xCanaryTwilioHd5",
    "HOLDLINE_TOKEN": "Zq86xCanaryConsoleTokenHd5",
    "TELEGRAM_BOT_TOKEN": "8812345678:AAZq87xCanaryOfATelegramBotTokenHd5",
    "WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"Zq88xCanaryOfAWebhooksSecret").decode(),
    "EMAIL_PASSWORD": "Zq89xCanary/Mail+PasswordHd5",
}
STRANGERS = {  # what others send to it, in headers, bodies and errors
    "a bearer token": "Zq90xCanaryBearerHd5",
    "an e-mail address": "zq91x.canary.person@example.org",
    "a telephone": "+15557340912",
    "a card": "4111 1111 1111 1111",
}
WORD = "Zq92xcanaryword"  # of a caller: a call's own record has it, and no span
SPOKEN = " ".join(
    (
        f"Bearer {STRANGERS['a bearer token']}",
        f"<{STRANGERS['an e-mail address']}>",
        STRANGERS["a telephone"],
        "or (555) 734-0912,",
        f"card {STRANGERS['a card']}",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A canary that was found in an output."""

    name: str
    place: str
    around: str


def leaks(place: str, text: str, *, people: bool = True) -> Iterator[Leak]:
    """Yield the canaries in a text; without people: only keys, as a call's own record may have."""
    for name, value in KEYS.items():
        for form in {value, quote(value, safe=""), base64.b64encode(value.encode()).decode()}:
            yield from _found(name, place, text, re.escape(form.rstrip("=")))
    yield from _found("a bearer token", place, text, STRANGERS["a bearer token"])
    if people:
        yield from _found("an e-mail address", place, text, r"zq91x\.canary\.person(@|%40)")
        yield from _found("a telephone", place, text, r"555\W{0,3}734\W?0912")
        yield from _found("a card", place, text, r"4111\W?1111\W?1111\W?1111")


def leaks_in_files(folder: Path, *, people: bool) -> Iterator[Leak]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield from leaks(str(path), path.read_bytes().decode(errors="replace"), people=people)


def _found(name: str, place: str, text: str, pattern: str) -> Iterator[Leak]:
    for match in re.finditer(pattern, text):
        around = text[max(0, match.start() - 150) : match.end() + 30]
        yield Leak(name=name, place=place, around=around)


@dataclass
class Parrot:
    """A provider that refuses everything, and repeats each request in its answer.

    Attributes:
        hears: It recognises speech nevertheless; its words are the canaries.
    """

    url: str = ""
    hears: bool = False
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        said = " ".join((str(request.rel_url), *(f"{k}={v}" for k, v in request.headers.items())))
        said = f"{said} {SPOKEN}"
        self.asked.append(said)
        if "websocket" in request.headers.get("upgrade", ""):
            if "voice" in request.path:
                return await self._close(request, said)
            if self.hears and "listen" in request.path:
                return await self._hear(request)
        error = {"message": said, "type": said, "code": said, "status": said}
        told = {"error": error, "detail": error, "err_msg": said, "err_code": said, "reason": said}
        headers = {"x-parrot": said, "dg-error": said, "www-authenticate": said}
        return web.json_response(told, status=401, headers=headers, reason=said[:200])

    async def _close(self, request: web.Request, said: str) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        told = {"type": "error", "error": said, "message": said, "title": said, "status_code": 401}
        async for item in socket:
            if item.type is WSMsgType.TEXT:
                await socket.send_json(told | {"heard": item.data})
            break
        at = said.find("Zq8")  # the key: a reason has 123 bytes
        await socket.close(code=1008, message=said[max(0, at - 20) : at + 90].encode())
        return socket

    async def _hear(self, request: web.Request) -> web.StreamResponse:
        """Answer as Deepgram does when a piece of speech is to be closed."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        best = {"transcript": f"{WORD} {SPOKEN}", "confidence": 0.9, "words": []}
        told = {"type": "Results", "channel_index": [0, 1], "channel": {"alternatives": [best]}}
        told |= {"start": 0.0, "duration": 1.0, "is_final": True, "speech_final": True}
        async for item in socket:
            if item.type is WSMsgType.TEXT and item.json()["type"] == "Finalize":
                await socket.send_json(told | {"from_finalize": True})
        return socket

    @classmethod
    @asynccontextmanager
    async def running(cls, *, hears: bool = False) -> "AsyncIterator[Parrot]":
        found, app = cls(hears=hears), web.Application()
        app.router.add_route("*", "/{path:.*}", found.answer)
        async with TestServer(app, host="127.0.0.1") as server:
            found.url = str(server.make_url("")).rstrip("/")
            yield found


@dataclass
class Inboxes:
    """Targets of alerts: mail and Telegram refuse and repeat the text, a webhook accepts.

    It also receives spans and keeps them as they come.
    """

    mail_port: int = 0
    url: str = ""
    taken: list[str] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    sign_ins: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name for it
        self.taken.append((envelope.content or b"").decode(errors="replace"))
        return "250 OK"

    def refuse(self, *_: Any) -> AuthResult:
        self.sign_ins += 1
        message = f"535 5.7.8 {KEYS['EMAIL_PASSWORD']} of {SPOKEN} is wrong"
        return AuthResult(success=False, handled=False, message=message)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        if "/bot" in request.path:
            said = f"{request.path} {SPOKEN}"
            return web.json_response({"ok": False, "description": said}, status=401)
        self.taken.append(f"{request.headers} {json.loads(body)}")
        self.came.set()
        return web.json_response({})

    async def collect(self, request: web.Request) -> web.Response:
        self.spans.append((await request.read()).decode("latin-1"))
        return web.Response(body=b"", content_type="application/x-protobuf")

    @classmethod
    @asynccontextmanager
    async def running(cls) -> "AsyncIterator[Inboxes]":
        found, app, loop = cls(), web.Application(), asyncio.get_running_loop()
        app.router.add_post("/v1/traces", found.collect)
        app.router.add_post("/{path:.*}", found.answer)
        mail = await loop.create_server(
            lambda: SMTP(
                found, loop=loop, auth_require_tls=False, authenticator=found.refuse,
            ),
            "127.0.0.1", 0,
        )  # fmt: skip
        found.mail_port = mail.sockets[0].getsockname()[1]
        async with TestServer(app, host="127.0.0.1") as server:
            found.url = str(server.make_url("")).rstrip("/")
            yield found
        mail.close()
        await mail.wait_closed()


PATHS = (
    "/", "/client/", "/sign-in", "/healthz", "/readyz", "/metrics", "/api/calls", "/api/providers",
    "/api/alerts", "/api/offer", "/api/providers/nobody/reset", "/api/alerts/nobody/acknowledge",
    "/twilio/voice", "/twilio/after", "/twilio/status", "/telnyx/voice", "/plivo/voice",
    "/plivo/transfer", "/livekit/webhook", "/nowhere", "/api/calls/nobody",
    "/api/providers/nobody/rest",
    "/api/providers/nobody/return", "/api/alerts/nobody/resolve", "/api/campaigns",
    "/api/campaigns/nobody/start", "/api/campaigns/nobody/report.csv",
    "/api/campaigns/nobody/contacts", "/api/campaigns/nobody/summary", "/api/dials", "/sign-out",
    "/calls", "/calls/nobody", "/api/calls/search", "/api/calls/search.csv", "/inbox", "/api/inbox",
    "/do-not-call", "/api/do-not-call", "/api/do-not-call/remove",
)  # fmt: skip


async def ask_everything(url: str) -> list[str]:
    """Send the canaries to every route, with a wrong and the right token; return the answers."""
    answers = []
    stranger = f"Bearer {STRANGERS['a bearer token']}"
    for sign in (stranger, f"Bearer {KEYS['HOLDLINE_TOKEN']}"):
        said = {"Authorization": sign, "X-Twilio-Signature": SPOKEN, "Cookie": f"a={SPOKEN[7:27]}"}
        async with aiohttp.ClientSession(headers=said) as session:
            for path in PATHS:
                for ask in _asks(session, f"{url}{path}"):
                    async with ask as answer:
                        answers.append(f"{path} {dict(answer.headers)} {await answer.text()}")
    return answers


def _asks(session: aiohttp.ClientSession, address: str) -> Iterator[Any]:
    form = {"From": STRANGERS["a telephone"], "CallSid": SPOKEN, "Body": SPOKEN}
    yield session.get(address, params={"token": SPOKEN}, allow_redirects=False)
    yield session.post(address, data=form, allow_redirects=False)
    yield session.post(address, json={SPOKEN[7:27]: SPOKEN, "type": SPOKEN}, allow_redirects=False)
    yield session.post(address, data=SPOKEN.encode(), headers={"Content-Type": "application/json"})


async def recent_live(url: str) -> str:
    """Return the live view."""
    sign = {"Authorization": f"Bearer {KEYS['HOLDLINE_TOKEN']}"}
    shown = b""
    async with aiohttp.ClientSession(headers=sign) as session, session.get(f"{url}/api/live") as it:
        try:
            async with asyncio.timeout(2):
                async for item in it.content.iter_any():
                    shown += item
        except TimeoutError:
            pass
    return shown.decode()
