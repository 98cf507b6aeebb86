"""A server that accepts everything and records requests, without a simulator's checks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(kw_only=True)
class Asked:
    """One request as received."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    messages: list[dict[str, Any]] = field(default_factory=list)


class Notebook:
    """Every request, in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.port = 0
        self.changed = asyncio.Event()
        self._sockets: list[web.WebSocketResponse] = []

    async def emit(self, *messages: dict[str, Any]) -> None:
        """Send messages to all connections."""
        for socket in self._sockets:
            for message in messages:
                await socket.send_json(message)

    async def first_message(
        self, fits: Callable[[dict[str, Any]], object] = lambda _: True
    ) -> tuple[Asked, dict[str, Any]]:
        """Wait for a request with a matching message; return both."""
        async with asyncio.timeout(5.0):
            while True:
                for item in self.asked:
                    for message in filter(fits, item.messages):
                        return item, message
                self.changed.clear()
                await self.changed.wait()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(path=request.path, query=request.query, headers=request.headers)
        self.asked.append(asked)
        self.changed.set()
        if request.headers.get("Upgrade", "").lower() != "websocket":
            if request.can_read_body:
                self._note(asked, await request.text())
            return web.json_response({})
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self._sockets.append(ws)
        async for message in ws:
            if message.type is web.WSMsgType.TEXT:
                self._note(asked, message.data)
                if asked.messages[-1].get("close_socket"):  # ElevenLabs' goodbye; it waits for ours
                    break
        self._sockets.remove(ws)
        return ws

    def _note(self, asked: Asked, text: str) -> None:
        asked.messages.append(json.loads(text))
        self.changed.set()


@asynccontextmanager
async def notebook() -> AsyncIterator[Notebook]:
    """Run a recording server on a free loopback port."""
    book = Notebook()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", book.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    book.port = runner.addresses[0][1]
    try:
        yield book
    finally:
        await runner.cleanup()
