"""An operator has the configuration read anew, for the next calls: `POST /api/reload`."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse

from bot.workers.pool_client import Joined
from bot.workers.wire import WireError
from operations.notify.message import masked

READ_S: Final = 30.0  # to read and judge it, on a machine that is busy
OPERATOR: Final = "an operator"  # who does not say its name
ALONE: Final = "This process has no supervisor that could replace it: start it anew."

By = Annotated[str, Body(embed=True, max_length=80)]


def reload_router(house: Joined | None) -> APIRouter:
    """Return the route; None: this process has its port to itself, as the demo has."""
    router = APIRouter()

    @router.post("/api/reload")
    async def reload(by: By = OPERATOR) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        if house is None:
            return JSONResponse({"detail": ALONE}, HTTPStatus.CONFLICT)
        try:
            said = await house.wire.ask("reload", within_s=READ_S, by=masked(by))
        except WireError:
            told = {"detail": "The supervisor does not answer."}
            return JSONResponse(told, HTTPStatus.SERVICE_UNAVAILABLE)
        if busy := said.get("busy"):
            return JSONResponse({"detail": f"Not now: {busy}."}, HTTPStatus.CONFLICT)
        if problems := said["problems"]:
            told = {"detail": "It is wrong, so nothing changes.", "problems": problems}
            return JSONResponse(told, HTTPStatus.BAD_REQUEST)
        return JSONResponse({"changed": said["changed"]}, HTTPStatus.ACCEPTED)

    return router
