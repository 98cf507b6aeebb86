"""A model on loopback that streams exactly what a test says, unlike the lab's."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import web

from tests.kit.served import served

HANGS_S = 60.0  # far longer than any word is waited for
DONE = "data: [DONE]\n\n"

Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""The handler of a request."""
Served: TypeAlias = AbstractAsyncContextManager[str]
"""A server that runs while the block runs; yields the base of its URLs."""


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one event of a stream."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "it",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more,
    }  # fmt: skip


def writing(*texts: str, finish: str | None) -> Served:
    """Serve a model that writes these pieces; without `finish` it hangs after them."""
    events = [chunk({"content": text}) for text in texts]
    end = [] if finish is None else [chunk({}, finish)]
    return streaming(*events, *end, hangs=finish is None)


def writing_once(text: str) -> Served:
    """Serve a model that gives this answer in one piece."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({**chunk({}), "object": "chat.completion", "choices": choices})

    return _served(answer)


def streaming(*events: Any, hangs: bool = False, resets: bool = False) -> Served:
    """Serve a model that sends these events for any request, each as JSON.

    Args:
        events: In order.
        hangs: Whether the stream stays open and silent after them.
        resets: Whether the connection is reset after them.
    """
    end = () if hangs or resets else (DONE,)
    return _streamed(lambda _: (*map(_line, events), *end), hangs=hangs, resets=resets)


def sending(text: str, *, hangs: bool = False) -> Served:
    """Serve a model whose event stream is this text; lone surrogates are sent as the bytes."""
    return _streamed(lambda _: [text], hangs=hangs)


def choosing(choose: Callable[[dict[str, Any]], Sequence[Any]]) -> Served:
    """Serve a model that streams the events that `choose` returns for a request."""
    return _streamed(lambda body: (*map(_line, choose(body)), DONE))


def moderating(
    refuses: Callable[[dict[str, Any]], bool],
    refusal: int | Sequence[Any],
    says: Callable[[dict[str, Any]], Sequence[Any]],
    *,
    after_s: float = 0.0,
    each_s: float = 0.0,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Served:
    """Serve a model that refuses some requests, with a status or with the events of a stream.

    Args:
        refuses: Returns whether a request is refused.
        refusal: The status of a refusal, or the events of its stream.
        says: Returns the events of an answer.
        after_s: How long a refusal takes.
        each_s: How long each event of an answer takes.
        body: The body of a refusal with a status.
        headers: Its headers.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        events = says(asked)
        if refuses(asked):
            await asyncio.sleep(after_s)
            if isinstance(refusal, int):
                return web.json_response(body, status=refusal, headers=headers)
            events = refusal
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for line in (*map(_line, events), DONE):
            await response.write(line.encode())
            await asyncio.sleep(each_s)
        return response

    return _served(answer)


def _line(event: Any) -> str:
    return f"data: {json.dumps(event)}\n\n"


def _streamed(
    lines: Callable[[dict[str, Any]], Sequence[str]], *, hangs: bool = False, resets: bool = False
) -> Served:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for line in lines(body):
            await response.write(line.encode(errors="surrogateescape"))
        if hangs:
            await asyncio.sleep(HANGS_S)
        if resets and request.transport:
            request.transport.abort()
        return response

    return _served(answer)


@asynccontextmanager
async def _served(answer: Answer) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes([web.post("/v1/chat/completions", answer)])
    async with served(application, shutdown_timeout=0.1) as url:
        yield f"{url}/v1"
