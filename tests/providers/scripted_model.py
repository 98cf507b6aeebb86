"""A model on loopback that streams exactly what a test says, unlike the lab's."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import web

HANGS_S = 60.0  # far longer than any word is waited for

Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""The handler of a request."""


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one event of a stream."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "it",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more,
    }  # fmt: skip


@asynccontextmanager
async def writing(*texts: str, finish: str | None) -> AsyncIterator[str]:
    """Serve a model that writes these pieces; without `finish` it hangs after them.

    Yields:
        The base of its URLs.
    """
    events = [chunk({"content": text}) for text in texts]
    end = [] if finish is None else [chunk({}, finish)]
    async with streaming(*events, *end, hangs=finish is None) as url:
        yield url


@asynccontextmanager
async def writing_once(text: str) -> AsyncIterator[str]:
    """Serve a model that gives this answer in one piece.

    Yields:
        The base of its URLs.
    """
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({**chunk({}), "object": "chat.completion", "choices": choices})

    async with _served(answer) as url:
        yield url


@asynccontextmanager
async def streaming(*events: Any, hangs: bool = False, resets: bool = False) -> AsyncIterator[str]:
    """Serve a model that sends these events for any request.

    Args:
        events: In order; each is written as JSON.
        hangs: It says nothing more after them, and does not end.
        resets: The connection is cut after them.

    Yields:
        The base of its URLs.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        if hangs:
            await asyncio.sleep(HANGS_S)
        if resets and request.transport:
            request.transport.abort()
            return response
        await response.write(b"data: [DONE]\n\n")
        return response

    async with _served(answer) as url:
        yield url


@asynccontextmanager
async def sending(text: str, *, hangs: bool = False) -> AsyncIterator[str]:
    """Serve a model whose event stream is this text; lone surrogates are sent as the bytes.

    Args:
        text: The body.
        hangs: The body does not end.

    Yields:
        The base of its URLs.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(text.encode(errors="surrogateescape"))
        if hangs:
            await asyncio.sleep(HANGS_S)
        return response

    async with _served(answer) as url:
        yield url


@asynccontextmanager
async def choosing(choose: Callable[[dict[str, Any]], Sequence[Any]]) -> AsyncIterator[str]:
    """Serve a model that streams the events that `choose` returns for a request.

    Yields:
        The base of its URLs.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        events = choose(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    async with _served(answer) as url:
        yield url


@asynccontextmanager
async def _served(answer: Answer) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes([web.post("/v1/chat/completions", answer)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()
