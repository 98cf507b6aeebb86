"""The providers' health over HTTP, and an operator's reset: of the whole house."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from bot.health.house_view import merge_rungs
from bot.health.view import ProviderView
from bot.house.house import House


def provider_router(view: ProviderView, house: House) -> APIRouter:
    """Return the routes under `/api/providers`; whoever may see them may also reset."""
    router = APIRouter(prefix="/api/providers")

    async def list_own(_: Mapping[str, Any]) -> list[dict[str, Any]]:
        return view.list_rungs()

    async def reset_own(asked: Mapping[str, Any]) -> None:
        if asked["name"] in view.names:
            view.reset(asked["name"])

    house.answer("providers", list_own)
    house.answer("reset", reset_own)

    @router.get("")
    async def providers() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        return merge_rungs(await house.ask_all("providers"))

    @router.post("/{name}/reset", response_model=None)
    async def reset(  # pyright: ignore[reportUnusedFunction]
        name: str,
    ) -> JSONResponse | list[dict[str, Any]]:
        if name not in view.names:
            told = {"detail": "There is no such provider.", "names": view.names}
            return JSONResponse(told, status_code=404)
        await house.ask_all("reset", name=name)
        rungs = merge_rungs(await house.ask_all("providers"))
        return [each for each in rungs if each["name"] == name]

    return router
