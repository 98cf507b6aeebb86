"""The live view over HTTP: server-sent events, one JSON object each."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse, StreamingResponse


class LiveView(Protocol):
    """What can be watched."""

    @property
    def watchers(self) -> int:
        """How many watch now."""
        ...

    def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the recent entries, then each new one, until the watcher goes."""
        ...


MOST_WATCHERS: Final = 64  # each holds a connection of the 256 that there may be at once


def live_router(live: LiveView, *, budget_s: float) -> APIRouter:
    """Return the route that streams every entry to whoever watches.

    The stream opens with an event `settings`, {"budget_s"}, against which answers are drawn.
    """
    router = APIRouter()

    async def stream() -> AsyncIterator[str]:
        yield f"event: settings\ndata: {json.dumps({'budget_s': budget_s})}\n\n"
        async for shown in live.watch():
            yield f"data: {json.dumps(shown, ensure_ascii=False)}\n\n"

    @router.get("/api/live", response_model=None)
    async def watch() -> StreamingResponse | JSONResponse:  # pyright: ignore[reportUnusedFunction]
        if live.watchers >= MOST_WATCHERS:
            return JSONResponse({"detail": "Too many pages watch already."}, 503)
        return StreamingResponse(
            stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return router
