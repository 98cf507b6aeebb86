"""The providers' health over HTTP, and an operator's reset."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from bot.health.view import ProviderView


def provider_router(view: ProviderView) -> APIRouter:
    """Return the routes under `/api/providers`; whoever may see them may also reset."""
    router = APIRouter(prefix="/api/providers")

    @router.get("")
    async def providers() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        return view.list_rungs()

    @router.post("/{name}/reset", response_model=None)
    async def reset(  # pyright: ignore[reportUnusedFunction]
        name: str,
    ) -> JSONResponse | list[dict[str, Any]]:
        if name not in view.names:
            told = {"detail": "There is no such provider.", "names": view.names}
            return JSONResponse(told, status_code=404)
        view.reset(name)
        return [each for each in view.list_rungs() if each["name"] == name]

    return router
