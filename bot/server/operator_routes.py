"""Routes for operators: metrics, reload of the configuration, provider actions, alerts."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from bot.health.view import ProviderView, emptied_by, merge_rungs
from bot.server.access import address_of, check_may_act
from bot.server.api_route import ApiRoute, Refused
from bot.server.credentials import Role, identity_of
from bot.workers.machine_views import MachineViews
from bot.workers.pool import WorkerPool
from bot.workers.pool_client import PoolClient
from bot.workers.wire import WireError
from calls.entry import Emit
from calls.events import OperatorActed, OperatorAction
from operations.masking import ENDINGS, least_length, printable
from operations.notify.alerting_rules import Alerting
from operations.notify.channel import alert_as_json
from operations.notify.dispatcher import AlertDispatcher
from operations.spoken_numbers import without_numbers_said
from operations.telemetry.live import RecentWork
from operations.telemetry.metrics import CONTENT_TYPE, Exposition
from runtime import clock
from runtime.clock import Clock

NAME_CHARACTERS = 80
REASON_CHARACTERS = 200
UNNAMED = "an operator"


class OperatorWord(BaseModel):
    """What an operator may add to an action: a name, a reason, and `force`."""

    by: str = Field(default="", max_length=NAME_CHARACTERS)
    why: str = Field(default="", max_length=REASON_CHARACTERS)
    force: bool = False  # act even if a stage then has no usable provider


Word = Annotated[OperatorWord | None, Body()]


def emit_action(
    emit: Emit, request: Request, action: OperatorAction, *, target: str, word: OperatorWord
) -> None:
    """Emit an event for an action, with the name, credential and address of its sender."""
    emit(
        OperatorActed(
            action=action,
            target=target,
            by=describe_operator(request, word),
            why=printable(word.why),
        )
    )


def describe_operator(request: Request, word: OperatorWord) -> str:
    """Return the sender of a request: the name, the credential and the address."""
    address = address_of(request) or "nowhere"
    return f"{operator_name(request, word)} ({identity_of(request).shown} from {address})"


def operator_name(request: Request, word: OperatorWord) -> str:
    """Return the operator's name, safe to show: that of the sign-in, or else the given one."""
    return printable(identity_of(request).name) or printable(word.by) or UNNAMED


REPEAT_S: Final = 600.0  # a player requests a recording in pieces, and pages refresh
MAX_REMEMBERED: Final = 1_000  # disclosures; then the oldest is forgotten


class Disclosures:
    """Checks and records every disclosure of recordings and complete numbers.

    All routes use this class, so that one rule holds: a disclosure needs the role `act`, whatever
    the method. If an operator repeats a request within `REPEAT_S`, it is recorded once.
    """

    def __init__(self, emit: Emit, *, clock: Clock = clock.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        # By action, target and operator.
        self._noted_at: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def note(
        self, request: Request, action: Literal["hear", "unmask"], target: str, *, by: str = ""
    ) -> None:
        """Record that `target` is disclosed to the sender of a request; call before responding.

        The same disclosure is recorded once in `REPEAT_S`.

        Raises:
            HTTPException: The sender lacks the role `act` (403).
        """
        check_may_act(request)
        word = OperatorWord(by=by)
        key, now = (action, target, describe_operator(request, word)), self._clock()
        if key in self._noted_at and now - self._noted_at[key] < REPEAT_S:
            return
        emit_action(self._emit, request, action, target=target, word=word)
        self._noted_at.pop(key, None)
        self._noted_at[key] = now
        if len(self._noted_at) > MAX_REMEMBERED:
            self._noted_at.popitem(last=False)

    def check_search(self, request: Request, digits: str, *, shown: int = ENDINGS[0][0]) -> int:
        """Check and record a search by the last digits of numbers.

        Repeated with one more digit each time, a search completes a masked number. So only an
        operator may search for more digits than are `shown`, or in numbers that show fewer.

        Returns:
            The least length of the numbers to search; 0, for all, with the role `act`.

        Raises:
            HTTPException: The sender lacks the role `act`, and no number shows so many (403).
        """
        least = least_length(len(digits)) if len(digits) <= shown else None
        if least is None:
            self.note(request, "unmask", "a search by number")
        return least or 0 if identity_of(request).role is not Role.ACT else 0


def readable_words(request: Request) -> Callable[[str], str]:
    """Return what shows words of a call to the sender: without numbers unless it has role `act`."""
    return str if identity_of(request).role is Role.ACT else without_numbers_said


def metrics_router(exposition: Exposition) -> APIRouter:
    """Return `GET /metrics`; concurrent scrapes are served one after another."""
    router = APIRouter()
    reading = asyncio.Lock()

    @router.get("/metrics", response_model=None)
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        async with reading:
            text = await asyncio.to_thread(exposition.read)
        return Response(text, media_type=CONTENT_TYPE)

    return router


RELOAD_S: Final = 30.0  # for reading and checking the configuration on a busy machine
NO_SUPERVISOR: Final = "This process has no supervisor that could replace it. Restart it instead."

By = Annotated[str, Body(embed=True, max_length=NAME_CHARACTERS)]


def reload_router(pool: PoolClient | None, machines: MachineViews) -> APIRouter:
    """Return the reload route; `pool` is `None` without a supervisor, as in the demo.

    It responds once the configuration is read, before the workers are replaced.
    The response has a fingerprint of the configuration of each of the `machines`, ours first.
    """
    router = APIRouter(route_class=ApiRoute)

    @router.post("/api/reload")
    async def reload(  # pyright: ignore[reportUnusedFunction]
        request: Request, by: By = ""
    ) -> JSONResponse:
        if pool is None:
            raise Refused(NO_SUPERVISOR, HTTPStatus.CONFLICT)
        try:
            sender = describe_operator(request, OperatorWord(by=by))
            reply = await pool.wire.ask("reload", within_s=RELOAD_S, by=sender)
        except WireError as error:
            why = "The supervisor does not answer."
            raise Refused(why, HTTPStatus.SERVICE_UNAVAILABLE) from error
        if busy := reply.get("busy"):
            raise Refused(f"Not now: {busy}.", HTTPStatus.CONFLICT)
        if problems := reply["problems"]:
            body = {"detail": "The new configuration has errors.", "problems": problems}
            return JSONResponse(body, HTTPStatus.BAD_REQUEST)
        own = machines.own() | {"configuration": reply["configuration"]}
        body = {
            "changed": reply["changed"],
            "machines": [
                {name: view[name] for name in ("machine", "configuration")}
                for view in (own, *await machines.others())
            ],
            "store_problem": machines.problem,
        }
        return JSONResponse(body, HTTPStatus.ACCEPTED)

    return router


def provider_router(view: ProviderView, pool: WorkerPool, recent: RecentWork) -> APIRouter:
    """Return the routes under `/api/providers`."""
    router = APIRouter(prefix="/api/providers", route_class=ApiRoute)
    control = ProviderControl(view, pool, recent)
    router.add_api_route("", control.list_all, methods=["GET"])
    for action in ("reset", "rest", "return"):
        act = partial(control.act, action)
        router.add_api_route(f"/{{name}}/{action}", act, methods=["POST"], response_model=None)
    return router


class ProviderControl:
    """Applies operators' actions on providers in every process, and emits one event for each."""

    def __init__(self, view: ProviderView, pool: WorkerPool, recent: RecentWork) -> None:
        """Act on this process's `view`, and in the other processes of `pool`."""
        self._view = view
        self._pool = pool
        self._recent = recent
        pool.peers.answer("providers", self._list_own)
        self._register_action("reset", view.reset)
        self._register_action("rest", view.withdraw)
        self._register_action("return", view.put_back)

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every rung, merged from the views of all processes."""
        return merge_rungs(await self._pool.peers.ask_all("providers"))

    async def act(
        self, action: OperatorAction, request: Request, name: str, word: Word = None
    ) -> JSONResponse | list[dict[str, Any]]:
        """Apply an action in every process; return the rung afterwards.

        An unknown provider is answered with 404 and the known names.

        Raises:
            Refused: Without it, a stage would have no provider (409), and `force` is not set.
        """
        if name not in self._view.names:
            body = {"detail": "There is no such provider.", "names": self._view.names}
            return JSONResponse(body, status_code=404)
        word = word or OperatorWord()
        if action == "rest" and not word.force:
            emptied = emptied_by(await self.list_all(), name)
            if emptied:
                raise Refused(_refusal_text(name, emptied), 409)
        # Emitted first: if this process dies in between, the action is still recorded.
        emit_action(self._view.emit, request, action, target=name, word=word)
        await self._pool.peers.ask_all(action, name=name)
        return [row for row in await self.list_all() if row["name"] == name]

    def _register_action(self, action: OperatorAction, apply: Callable[[str], None]) -> None:
        """Let every process of the pool apply an action in this one, to a rung given by name."""

        async def answer(message: Mapping[str, Any]) -> None:
            if message["name"] in self._view.names:  # its configuration may be another
                apply(message["name"])

        self._pool.peers.answer(action, answer)

    async def _list_own(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return this process's rungs, each with its recent requests; `None` without any."""
        counts = {
            (rung["stage"], rung["name"]): rung
            for rung in self._recent.rungs(clock.utc_now().timestamp())
        }
        return [
            rung | {"recent": counts.get((rung["stage"], rung["name"]))}
            for rung in self._view.list_rungs()
        ]


def _refusal_text(name: str, stages: list[str]) -> str:
    where = " and ".join(stages)
    return f"Without {name}, {where} would have no usable provider; use force to do it anyway."


def alert_router(dispatcher: AlertDispatcher, emit: Emit) -> APIRouter:
    """Return the routes under `/api/alerts`; changing an alert needs the role `act`."""
    router = APIRouter(prefix="/api/alerts", route_class=ApiRoute)

    @router.get("", response_model=None)
    async def recent() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        return [alert_as_json(alert) for alert in await dispatcher.recent()]

    async def act(
        action: OperatorAction, request: Request, key: str, word: Word = None
    ) -> dict[str, Any]:
        word = word or OperatorWord()
        change = _alert_change(action, key, operator_name(request, word))
        alerts = await dispatcher.change(change)
        found = next((alert for alert in alerts if alert.key == key), None)
        if found is None:
            raise Refused("There is no such alert.", 404)
        emit_action(emit, request, action, target=key, word=word)
        return alert_as_json(found)

    for action in ("acknowledge", "resolve"):
        change = partial(act, action)
        router.add_api_route(f"/{{key}}/{action}", change, methods=["POST"], response_model=None)
    return router


def _alert_change(action: OperatorAction, key: str, by: str) -> Callable[[Alerting, float], object]:
    """Return a function that acknowledges or resolves an alert, for the dispatcher to call."""

    def change(alerting: Alerting, now: float) -> object:
        apply = alerting.resolve if action == "resolve" else alerting.acknowledge
        return apply(key, now, by=by)

    return change
