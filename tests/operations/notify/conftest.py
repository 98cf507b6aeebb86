"""Receivers of alerts on loopback: a mail server, and an HTTP server for Telegram and webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass
class Inbox:
    """A mail server that keeps received mail and can refuse mail, recipients and logins."""

    host: str = "127.0.0.1"
    port: int = 0
    refusal: str = ""  # the answer to each mail instead of 250
    refused: dict[str, str] = field(default_factory=dict)  # recipient: the answer to RCPT
    mails: list[EmailMessage] = field(default_factory=list)
    went_to: list[list[str]] = field(default_factory=list)  # the recipients of each mail
    sign_in_answers: list[str] = field(default_factory=list[str])  # to the next logins, not 235
    signed_in: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])

    async def handle_RCPT(  # noqa: N802 - its name for it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name for it
        if self.refusal:
            return self.refusal
        mail = BytesParser(policy=default).parsebytes(envelope.content or b"")
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.went_to.append(envelope.rcpt_tos)
        return "250 OK"

    def sign_in(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, said: Any
    ) -> AuthResult:
        if self.sign_in_answers:
            return AuthResult(success=False, handled=False, message=self.sign_in_answers.pop(0))
        self.signed_in.append((said.login, said.password))
        return AuthResult(success=True)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    found = Inbox()
    loop = asyncio.get_running_loop()

    def answer() -> SMTP:
        return SMTP(found, loop=loop, authenticator=found.sign_in, auth_require_tls=False)

    server = await loop.create_server(answer, found.host, 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await server.wait_closed()


@dataclass
class Receiver:
    """A server that keeps its requests and gives the configured answers."""

    url: str = ""
    answers: list[tuple[int, Any]] = field(default_factory=list)  # the next ones; then it accepts
    asked: list[tuple[str, dict[str, str], bytes, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict[str, str])  # of the answers above
    numbers: int = 100

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        said = await request.json()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.path, headers, body, said))
        if self.answers:
            status, told = self.answers.pop(0)
            return web.json_response(told, status=status, headers=self.headers)
        if "message_id" not in said:
            self.numbers += 1
        number = said.get("message_id", self.numbers)
        return web.json_response({"ok": True, "result": {"message_id": number}})

    @classmethod
    @asynccontextmanager
    async def running(cls) -> "AsyncIterator[Receiver]":
        found, app = cls(), web.Application()
        app.router.add_post("/{path:.*}", found.answer)
        async with TestServer(app, host="127.0.0.1") as server:
            found.url = str(server.make_url("")).rstrip("/")
            yield found


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver.running() as found:
        yield found
