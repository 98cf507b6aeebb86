"""The alerts over HTTP, open ones first, and an operator's word on them: of the whole house."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse

from bot.alerts.desk import AlertDesk
from bot.alerts.message import as_json, masked
from calls.alert import Alert
from calls.alerting import Alerting
from storage.database import StorageError

OPERATOR = "an operator"

By = Annotated[str, Body(embed=True, max_length=80)]


def alert_router(desk: AlertDesk) -> APIRouter:
    """Return the routes under `/api/alerts`; whoever may see them may also change them."""
    router = APIRouter(prefix="/api/alerts")

    @router.get("", response_model=None)
    async def alerts() -> JSONResponse | list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        try:
            return [as_json(each) for each in await desk.recent()]
        except StorageError:
            return _unknown()

    @router.post("/{key}/acknowledge", response_model=None)
    async def acknowledge(  # pyright: ignore[reportUnusedFunction]
        key: str, by: By = OPERATOR
    ) -> JSONResponse | dict[str, Any]:
        who = masked(by)
        return await change(key, lambda alerting, now: alerting.acknowledge(key, now, by=who))

    @router.post("/{key}/resolve", response_model=None)
    async def resolve(  # pyright: ignore[reportUnusedFunction]
        key: str, by: By = OPERATOR
    ) -> JSONResponse | dict[str, Any]:
        who = masked(by)
        return await change(key, lambda alerting, now: alerting.resolve(key, now, by=who))

    async def change(
        key: str, alter: Callable[[Alerting, float], object]
    ) -> JSONResponse | dict[str, Any]:
        try:
            found = _one(await desk.change(alter), key)
        except StorageError:
            return _unknown()
        if found is None:
            return JSONResponse({"detail": "There is no such alert."}, status_code=404)
        return as_json(found)

    return router


def _one(alerts: Sequence[Alert], key: str) -> Alert | None:
    return next((each for each in alerts if each.key == key), None)


def _unknown() -> JSONResponse:
    return JSONResponse({"detail": "The database does not answer."}, status_code=503)
