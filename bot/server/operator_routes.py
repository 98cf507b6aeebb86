"""Routes for operators: metrics, configuration reload, provider actions, alerts."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from bot import clock
from bot.clock import Clock
from bot.health.view import ProviderView, emptied_by, merge_rungs
from bot.server.access import address_of, check_may_act, identity_of
from bot.workers.pool import WorkerPool
from bot.workers.pool_client import PoolClient
from bot.workers.wire import WireError
from calls.entry import Emit
from calls.events import OperatorActed, OperatorAction
from operations.database.database import StorageError
from operations.notify.alert import Alert
from operations.notify.alerting_rules import Alerting
from operations.notify.channel import as_json, masked
from operations.notify.dispatcher import AlertDispatcher
from operations.telemetry.live import RecentWork
from operations.telemetry.metrics import CONTENT_TYPE, Exposition

NAME_CHARACTERS = 80
REASON_CHARACTERS = 200
UNNAMED = "an operator"


class OperatorWord(BaseModel):
    """Optional data of an action."""

    by: str = Field(default="", max_length=NAME_CHARACTERS)
    why: str = Field(default="", max_length=REASON_CHARACTERS)
    force: bool = False  # even if no other provider is left

    @property
    def name(self) -> str:
        """The operator's name, safe to show."""
        return masked(self.by) or UNNAMED


Word = Annotated[OperatorWord | None, Body()]


def emit_action(
    emit: Emit, request: Request, action: OperatorAction, *, target: str, word: OperatorWord
) -> None:
    """Emit one event for an action, with the credential and address used for it."""
    emit(
        OperatorActed(
            action=action, target=target, by=describe_operator(request, word), why=masked(word.why)
        )
    )


def describe_operator(request: Request, word: OperatorWord) -> str:
    """Return who sends a request: the name they give, their credential and their address."""
    identity, address = identity_of(request), address_of(request) or "nowhere"
    signed_in = masked(identity.name)
    name = word.name if word.by or not signed_in else signed_in
    shown = identity.shown
    if signed_in and signed_in != name:
        shown = f"{shown} of {signed_in}"
    return f"{name} ({shown} from {address})"


SAME_S: Final = 600.0  # a player asks for a recording in pieces, and a page asks again
MAX_SEEN: Final = 1_000  # disclosures that are remembered in a process


class Disclosures:
    """Allows what is masked elsewhere to be heard and seen in full, and reports who did.

    Every route asks here, so that one rule holds: it needs the role `act`, whatever the method. An
    operator who repeats a request within `SAME_S` is reported once.
    """

    def __init__(self, emit: Emit, *, clock: Clock = clock.monotonic) -> None:
        """Report to `emit`."""
        self._emit = emit
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def note(
        self, request: Request, action: Literal["hear", "unmask"], target: str, *, by: str = ""
    ) -> None:
        """Report that the sender of a request gets `target`; call it before the answer is sent.

        Raises:
            HTTPException: The sender may only see (403).
        """
        check_may_act(request)
        word = OperatorWord(by=by)
        key, now = (action, target, describe_operator(request, word)), self._clock()
        if key in self._seen and now - self._seen[key] < SAME_S:
            return
        emit_action(self._emit, request, action, target=target, word=word)
        self._seen.pop(key, None)
        self._seen[key] = now
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)


def metrics_router(exposition: Exposition) -> APIRouter:
    """Return `GET /metrics`; scrapes are read one at a time."""
    router = APIRouter()
    reading = asyncio.Lock()

    @router.get("/metrics", response_model=None)
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        async with reading:
            text = await asyncio.to_thread(exposition.read)
        return Response(text, media_type=CONTENT_TYPE)

    return router


READ_S: Final = 30.0  # to read and check the configuration on a busy machine
OPERATOR: Final = "an operator"  # without a name
ALONE: Final = "This process has no supervisor that could replace it. Restart it instead."

By = Annotated[str, Body(embed=True, max_length=80)]


def reload_router(pool: PoolClient | None) -> APIRouter:
    """Return the reload route; `pool` is `None` without a supervisor, as in the demo."""
    router = APIRouter()

    @router.post("/api/reload")
    async def reload(by: By = OPERATOR) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        if pool is None:
            return JSONResponse({"detail": ALONE}, HTTPStatus.CONFLICT)
        try:
            said = await pool.wire.ask("reload", within_s=READ_S, by=masked(by))
        except WireError:
            told = {"detail": "The supervisor does not answer."}
            return JSONResponse(told, HTTPStatus.SERVICE_UNAVAILABLE)
        if busy := said.get("busy"):
            return JSONResponse({"detail": f"Not now: {busy}."}, HTTPStatus.CONFLICT)
        if problems := said["problems"]:
            told = {"detail": "The new configuration has errors.", "problems": problems}
            return JSONResponse(told, HTTPStatus.BAD_REQUEST)
        return JSONResponse({"changed": said["changed"]}, HTTPStatus.ACCEPTED)

    return router


def provider_router(view: ProviderView, pool: WorkerPool, recent: RecentWork) -> APIRouter:
    """Return the routes under `/api/providers`."""
    router = APIRouter(prefix="/api/providers")
    control = ProviderControl(view, pool, recent)
    router.add_api_route("", control.list_all, methods=["GET"])
    for action in ("reset", "rest", "return"):
        act = partial(control.act, action)
        router.add_api_route(f"/{{name}}/{action}", act, methods=["POST"], response_model=None)
    return router


class ProviderControl:
    """Applies operator actions in every process, and reports each once."""

    def __init__(self, view: ProviderView, pool: WorkerPool, recent: RecentWork) -> None:
        """Register the answers for other processes."""
        self._view = view
        self._pool = pool
        self._recent = recent
        pool.peers.answer("providers", self._list_own)
        self._answer("reset", view.reset)
        self._answer("rest", view.withdraw)
        self._answer("return", view.put_back)

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every rung as all processes together see it."""
        return merge_rungs(await self._pool.peers.ask_all("providers"))

    async def act(
        self, action: OperatorAction, request: Request, name: str, word: Word = None
    ) -> JSONResponse | list[dict[str, Any]]:
        """Apply an action in every process; return the rung afterwards, or why it was refused."""
        if name not in self._view.names:
            told = {"detail": "There is no such provider.", "names": self._view.names}
            return JSONResponse(told, status_code=404)
        word = word or OperatorWord()
        if action == "rest" and not word.force:
            emptied = emptied_by(await self.list_all(), name)
            if emptied:
                return JSONResponse({"detail": _refusal(name, emptied)}, status_code=409)
        # Reported first, so that a process that dies in between has not acted unnoticed.
        emit_action(self._view.emit, request, action, target=name, word=word)
        await self._pool.peers.ask_all(action, name=name)
        return [row for row in await self.list_all() if row["name"] == name]

    def _answer(self, action: OperatorAction, do: Callable[[str], None]) -> None:
        async def answer(asked: Mapping[str, Any]) -> None:
            if asked["name"] in self._view.names:
                do(asked["name"])

        self._pool.peers.answer(action, answer)

    async def _list_own(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        counts = {
            (rung["stage"], rung["name"]): rung
            for rung in self._recent.rungs(clock.utc_now().timestamp())
        }
        return [
            rung | {"recent": counts.get((rung["stage"], rung["name"]))}
            for rung in self._view.list_rungs()
        ]


def _refusal(name: str, stages: list[str]) -> str:
    where = " and ".join(stages)
    return f"Without {name}, {where} would have no usable provider; force does it anyway."


def alert_router(dispatcher: AlertDispatcher, emit: Emit) -> APIRouter:
    """Return the routes under `/api/alerts`; the right to read includes the right to change."""
    router = APIRouter(prefix="/api/alerts")

    @router.get("", response_model=None)
    async def alerts() -> JSONResponse | list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        try:
            return [as_json(alert) for alert in await dispatcher.recent()]
        except StorageError:
            return _unknown()

    async def act(
        action: OperatorAction, request: Request, key: str, word: Word = None
    ) -> JSONResponse | dict[str, Any]:
        word = word or OperatorWord()
        try:
            found = _one(await dispatcher.change(_change(action, key, word)), key)
        except StorageError:
            return _unknown()
        if found is None:
            return JSONResponse({"detail": "There is no such alert."}, status_code=404)
        emit_action(emit, request, action, target=key, word=word)
        return as_json(found)

    for action in ("acknowledge", "resolve"):
        change = partial(act, action)
        router.add_api_route(f"/{{key}}/{action}", change, methods=["POST"], response_model=None)
    return router


def _change(
    action: OperatorAction, key: str, word: OperatorWord
) -> Callable[[Alerting, float], object]:
    def alter(alerting: Alerting, now: float) -> object:
        change = alerting.resolve if action == "resolve" else alerting.acknowledge
        return change(key, now, by=word.name)

    return alter


def _one(alerts: Sequence[Alert], key: str) -> Alert | None:
    return next((alert for alert in alerts if alert.key == key), None)


def _unknown() -> JSONResponse:
    return JSONResponse({"detail": "The database does not answer."}, status_code=503)
