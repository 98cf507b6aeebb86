"""A model on loopback that streams just what a test says, where the lab's has more to say."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

HANGS_S = 60.0  # far longer than anybody waits for a word


@asynccontextmanager
async def writing(*texts: str, finish: str | None) -> AsyncIterator[str]:
    """Serve a model that writes these pieces; without `finish` it hangs behind them.

    Yields:
        The base of its URLs.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for text in texts:
            await send(response, {"content": text}, None)
        if finish is None:
            await asyncio.sleep(HANGS_S)
        await send(response, {}, finish)
        await response.write(b"data: [DONE]\n\n")
        return response

    async def send(response: web.StreamResponse, delta: dict[str, str], end: str | None) -> None:
        chunk = {
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "it",
            "choices": [{"index": 0, "delta": delta, "finish_reason": end}],
        }  # fmt: skip
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

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
