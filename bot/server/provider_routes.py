"""The providers' health over HTTP, and what an operator may do to them: of the whole house."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bot import clock
from bot.health.house_view import emptied_by, merge_rungs
from bot.health.view import ProviderView
from bot.server.operator import OperatorWord, Word, tell_action
from bot.workers.pool import House
from calls.events import OperatorAction
from operations.telemetry.recent_work import RecentWork


def provider_router(view: ProviderView, house: House, recent: RecentWork) -> APIRouter:
    """Return the routes under `/api/providers`, to look and to act."""
    router = APIRouter(prefix="/api/providers")
    desk = ProviderDesk(view, house, recent)

    @router.get("")
    async def providers() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        return await desk.list_all()

    @router.post("/{name}/reset", response_model=None)
    async def reset(  # pyright: ignore[reportUnusedFunction]
        request: Request, name: str, word: Word = None
    ) -> JSONResponse | list[dict[str, Any]]:
        return await desk.act(request, "reset", name, word or OperatorWord())

    @router.post("/{name}/rest", response_model=None)
    async def rest(  # pyright: ignore[reportUnusedFunction]
        request: Request, name: str, word: Word = None
    ) -> JSONResponse | list[dict[str, Any]]:
        return await desk.act(request, "rest", name, word or OperatorWord())

    @router.post("/{name}/return", response_model=None)
    async def put_back(  # pyright: ignore[reportUnusedFunction]
        request: Request, name: str, word: Word = None
    ) -> JSONResponse | list[dict[str, Any]]:
        return await desk.act(request, "return", name, word or OperatorWord())

    return router


class ProviderDesk:
    """Has every process of the house do what an operator says, and tells it once."""

    def __init__(self, view: ProviderView, house: House, recent: RecentWork) -> None:
        """Answer what other processes ask of this one."""
        self._view = view
        self._house = house
        self._recent = recent
        house.peers.answer("providers", self._list_own)
        self._answer("reset", view.reset)
        self._answer("rest", view.withdraw)
        self._answer("return", view.put_back)

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every rung as the whole house sees it."""
        return merge_rungs(await self._house.peers.ask_all("providers"))

    async def act(
        self, request: Request, action: OperatorAction, name: str, word: OperatorWord
    ) -> JSONResponse | list[dict[str, Any]]:
        """Do it in every process; return the rung as it is then, or why it was not done."""
        if name not in self._view.names:
            told = {"detail": "There is no such provider.", "names": self._view.names}
            return JSONResponse(told, status_code=404)
        if action == "rest" and not word.force:
            emptied = emptied_by(await self.list_all(), name)
            if emptied:
                return JSONResponse({"detail": _refusal(name, emptied)}, status_code=409)
        # Told first: a process that dies in the middle has done nothing of which nobody knows.
        tell_action(self._view.tell, request, action, target=name, word=word)
        await self._house.peers.ask_all(action, name=name)
        return [each for each in await self.list_all() if each["name"] == name]

    def _answer(self, action: OperatorAction, do: Callable[[str], None]) -> None:
        async def answer(asked: Mapping[str, Any]) -> None:
            if asked["name"] in self._view.names:
                do(asked["name"])

        self._house.peers.answer(action, answer)

    async def _list_own(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        counts = {
            (each["stage"], each["name"]): each
            for each in self._recent.rungs(clock.utc_now().timestamp())
        }
        return [
            each | {"recent": counts.get((each["stage"], each["name"]))}
            for each in self._view.list_rungs()
        ]


def _refusal(name: str, stages: list[str]) -> str:
    where = " and ".join(stages)
    return f"Without {name}, {where} would have no provider that can be asked; force does it still."
