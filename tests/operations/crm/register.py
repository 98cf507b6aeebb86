"""A CRM on loopback, with the failures of real ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.kit.served import served

KNOWN = {"+15550142": {"id": "7", "properties": {"firstname": "Ada", "lastname": "Byron"}}}
DATE = "Tue, 03 Mar 2026 10:00:00 GMT"


class Register:
    """Stores each call once, by its key; fails as configured.

    Attributes:
        faults: For the next requests, in order: `lost` (it is stored, and the
            answer does not come), `slow`, `garbage`, or a status.
        refused: Calls, by their key, that it never accepts: 400.
        says: Its answer to an accepted call; empty for JSON.
        down: Whether every request is answered 503.
        retry_after: With a 429: seconds, or a date relative to `DATE`.
    """

    def __init__(self) -> None:
        self.faults: list[str | int] = []
        self.refused: set[str] = set()
        self.says = ""
        self.down = False
        self.taken: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.bodies: list[Any] = []
        self.slow_s = 60.0
        self.retry_after = "7"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"null")
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.requests.append((f"{request.method} {request.path_qs}", headers))
        self.bodies.append(body)
        fault = 503 if self.down else self.faults.pop(0) if self.faults else ""
        if isinstance(fault, int):
            headers = {"retry-after": self.retry_after, "date": DATE} if fault == 429 else {}
            return web.Response(status=fault, headers=headers)
        if fault == "slow":
            await asyncio.sleep(self.slow_s)
        if _key(headers) in self.refused:
            return web.Response(status=400)
        result = self._do(request, body)
        if fault == "lost" and request.transport:
            request.transport.abort()
        said = "<html>" if fault == "garbage" else self.says
        return web.Response(text=said) if said else web.json_response(result)

    def _do(self, request: web.Request, body: Any) -> Any:
        if "search" in request.path:
            number = body["filterGroups"][0]["filters"][0]["value"]
            return {"results": [KNOWN[number]] if number in KNOWN else []}
        key = _key(request.headers)
        self.taken.setdefault(key, body)
        return {"id": key}


def _key(headers: Mapping[str, str]) -> str:
    return headers.get("idempotency-key") or headers.get("webhook-id", "")


@asynccontextmanager
async def register_at() -> AsyncIterator[tuple[Register, str]]:
    """Run a register; yield it and its address."""
    register = Register()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", register.answer)
    async with served(app, shutdown_timeout=0.1) as url:
        yield register, url
