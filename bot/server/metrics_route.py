"""What Prometheus scrapes: the numbers of the whole house, from whichever process is asked."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response

from operations.telemetry.metrics import CONTENT_TYPE, Exposition


def metrics_router(exposition: Exposition) -> APIRouter:
    """Return `GET /metrics`; one scrape at a time reads, others wait for their turn."""
    router = APIRouter()
    reading = asyncio.Lock()

    @router.get("/metrics", response_model=None)
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        async with reading:
            text = await asyncio.to_thread(exposition.read)
        return Response(text, media_type=CONTENT_TYPE)

    return router
