"""Limits on request bodies: a large one is refused before much of it was read."""

import json

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message, Scope

from bot.server.limits import MAX_BODY_BYTES, MAX_SIGN_IN_BYTES, BodyLimit, OneRequest

PATHS = {"/api/offer": MAX_BODY_BYTES, "/sign-in": MAX_SIGN_IN_BYTES, "/": MAX_BODY_BYTES}


class Sender:
    """An ASGI server with one request, that counts the messages read."""

    def __init__(
        self, pieces: list[bytes], *, announced: int | None = None, path: str = "/"
    ) -> None:
        self.pieces = pieces
        self.taken = 0
        self.sent: list[Message] = []
        length = [(b"content-length", str(announced).encode())] if announced is not None else []
        self.scope: Scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": length,
        }  # fmt: skip

    async def receive(self) -> Message:
        if self.taken == len(self.pieces):
            return {"type": "http.disconnect"}
        self.taken += 1
        more = self.taken < len(self.pieces)
        return {"type": "http.request", "body": self.pieces[self.taken - 1], "more_body": more}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]


def app() -> FastAPI:
    inner = FastAPI()

    @inner.post("/{path:path}")
    async def length(request: Request) -> int:  # pyright: ignore[reportUnusedFunction]
        return len(await request.body())

    inner.add_middleware(BodyLimit)
    return inner


@pytest.mark.parametrize(("path", "limit"), PATHS.items())
async def test_a_body_with_a_too_large_length_is_not_read(path: str, limit: int) -> None:
    sender = Sender([b"x" * 1000] * 1000, announced=limit + 1, path=path)

    await app()(sender.scope, sender.receive, sender.send)

    assert (sender.status, sender.taken) == (413, 0)
    assert json.loads(sender.sent[1]["body"])["detail"].startswith("The request is larger than")
    assert (b"connection", b"close") in sender.sent[0]["headers"]


@pytest.mark.parametrize(("path", "limit"), PATHS.items())
async def test_a_body_of_unknown_length_is_read_up_to_the_limit(path: str, limit: int) -> None:
    sender = Sender([b"x" * 1024] * 100_000, path=path)

    await app()(sender.scope, sender.receive, sender.send)

    assert sender.status == 413
    assert sender.taken == limit // 1024 + 1


@pytest.mark.parametrize(("path", "limit"), PATHS.items())
async def test_a_body_up_to_the_limit_arrives_whole(path: str, limit: int) -> None:
    sender = Sender([b"x" * 1024] * (limit // 1024), announced=limit, path=path)

    await app()(sender.scope, sender.receive, sender.send)

    assert (sender.status, sender.sent[1]["body"]) == (200, str(limit).encode())


async def test_a_sender_who_disconnects_in_the_middle_is_no_error() -> None:
    sender = Sender([b"half", b"never sent"], announced=1000)

    async def receive() -> Message:
        return {"type": "http.disconnect"} if sender.taken else await sender.receive()

    await app()(sender.scope, receive, sender.send)

    assert sender.sent == []


async def test_with_several_processes_each_answer_closes_its_connection() -> None:
    app = FastAPI()
    app.add_middleware(OneRequest)

    @app.get("/")
    async def root() -> str:
        return "here"

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://holdline.test"
    ) as client:
        answer = await client.get("/")

    assert (answer.text, answer.headers["connection"]) == ('"here"', "close")
