"""The live view over HTTP: server-sent events, one JSON object each."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.responses import StreamingResponse


class LiveView(Protocol):
    """What can be watched."""

    def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the recent entries, then each new one, until the watcher goes."""
        ...


def live_router(live: LiveView, *, budget_s: float) -> APIRouter:
    """Return the route that streams every entry to whoever watches.

    The stream opens with an event `settings`, {"budget_s"}, against which answers are drawn.
    """
    router = APIRouter()

    async def stream() -> AsyncIterator[str]:
        yield f"event: settings\ndata: {json.dumps({'budget_s': budget_s})}\n\n"
        async for shown in live.watch():
            yield f"data: {json.dumps(shown, ensure_ascii=False)}\n\n"

    @router.get("/api/live")
    async def watch() -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]
        return StreamingResponse(
            stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return router
