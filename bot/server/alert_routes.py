"""The alerts over HTTP, open ones first, and an operator's word on them: of the whole house."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bot.server.operator import OperatorWord, Word, tell_action
from calls.entry import Tell
from calls.events import OperatorAction
from operations.database.database import StorageError
from operations.notify.alert import Alert
from operations.notify.alerting_rules import Alerting
from operations.notify.desk import AlertDesk
from operations.notify.message import as_json


def alert_router(desk: AlertDesk, tell: Tell) -> APIRouter:
    """Return the routes under `/api/alerts`; the right to see them is the right to change them."""
    router = APIRouter(prefix="/api/alerts")

    @router.get("", response_model=None)
    async def alerts() -> JSONResponse | list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        try:
            return [as_json(each) for each in await desk.recent()]
        except StorageError:
            return _unknown()

    @router.post("/{key}/acknowledge", response_model=None)
    async def acknowledge(  # pyright: ignore[reportUnusedFunction]
        request: Request, key: str, word: Word = None
    ) -> JSONResponse | dict[str, Any]:
        return await act(request, "acknowledge", key, word or OperatorWord())

    @router.post("/{key}/resolve", response_model=None)
    async def resolve(  # pyright: ignore[reportUnusedFunction]
        request: Request, key: str, word: Word = None
    ) -> JSONResponse | dict[str, Any]:
        return await act(request, "resolve", key, word or OperatorWord())

    async def act(
        request: Request, action: OperatorAction, key: str, word: OperatorWord
    ) -> JSONResponse | dict[str, Any]:
        try:
            found = _one(await desk.change(_change(action, key, word)), key)
        except StorageError:
            return _unknown()
        if found is None:
            return JSONResponse({"detail": "There is no such alert."}, status_code=404)
        tell_action(tell, request, action, target=key, word=word)
        return as_json(found)

    return router


def _change(
    action: OperatorAction, key: str, word: OperatorWord
) -> Callable[[Alerting, float], object]:
    def alter(alerting: Alerting, now: float) -> object:
        change = alerting.resolve if action == "resolve" else alerting.acknowledge
        return change(key, now, by=word.name)

    return alter


def _one(alerts: Sequence[Alert], key: str) -> Alert | None:
    return next((each for each in alerts if each.key == key), None)


def _unknown() -> JSONResponse:
    return JSONResponse({"detail": "The database does not answer."}, status_code=503)
