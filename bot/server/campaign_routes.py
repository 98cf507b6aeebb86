"""Campaigns over HTTP: how far each has come and why it waits; an operator's word; one call."""

import re
import secrets
from dataclasses import asdict
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse

from bot.outbound.opening import Outbound
from bot.server.house_campaigns import UNKNOWN, HouseCampaigns
from bot.server.operator import OperatorWord, Word, tell_action
from calls.entry import Tell
from calls.events import OperatorAction
from campaigns.one_call import ONE_CALL
from campaigns.state import MOVES
from operations.database.database import StorageError

NO_CARRIER: Final = "no carrier that could dial is configured"
LEAVING: Final = "the server is stopping and no longer places calls"
NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")

Wanted = Annotated[str, Body(embed=True, max_length=32)]


def campaign_router(outbound: Outbound, all_campaigns: HouseCampaigns, tell: Tell) -> APIRouter:
    """Return the routes under `/api/campaigns` and `/api/dials`."""
    router = APIRouter()

    @router.get("/api/campaigns", response_model=None)
    async def campaigns() -> JSONResponse | list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        try:
            return await all_campaigns.all()
        except StorageError:
            return _unknown()

    @router.post("/api/campaigns/{name}/{move}", response_model=None)
    async def change(  # pyright: ignore[reportUnusedFunction]
        request: Request, name: str, move: str, word: Word = None
    ) -> JSONResponse | dict[str, Any]:
        if name not in outbound.campaigns or move not in MOVES:
            told = {"detail": "There is no such campaign.", "names": list(outbound.campaigns)}
            return JSONResponse(told, status_code=404)
        said = word or OperatorWord()
        try:
            moved = await _move(outbound, name, move, said)
            if moved:
                tell_action(tell, request, cast(OperatorAction, move), target=name, word=said)
            shown = next(each for each in await all_campaigns.all() if each["name"] == name)
        except StorageError:
            return _unknown()
        return shown if moved else _unmoved(shown, move)

    @router.post("/api/dials", response_model=None)
    async def dial(number: Wanted) -> JSONResponse | dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return await _dial(outbound, number)

    return router


async def _move(outbound: Outbound, name: str, move: str, word: OperatorWord) -> bool:
    """Move a campaign; False: it is in no state in which that could be done."""
    now, (begins, becomes) = outbound.now_s(), MOVES[move]
    await outbound.office.open(name, now=now)
    return await outbound.office.move(name, becomes, reason=word.name, now=now, begins=begins)


def _unmoved(shown: dict[str, Any], move: str) -> JSONResponse | dict[str, Any]:
    """Return how a campaign stands that is where it was to come to, else why it is not."""
    begins, becomes = MOVES[move]
    if shown["state"] == becomes:
        return shown
    needs = " or ".join(sorted(begins))
    return _refused(f"{shown['name']} is {shown['state']}; {move} needs {needs}.", 409)


async def _dial(outbound: Outbound, number: str) -> JSONResponse | dict[str, Any]:
    if not NUMBER.fullmatch(number):
        return _refused("the number must begin with + and its country code", 400)
    call = outbound.one_call
    if call is None or call.house.leaving:
        return _refused(LEAVING, 503) if call else _refused(NO_CARRIER, 409)
    try:
        if await outbound.book.do_not_call([number]):
            return _refused("this number asked not to be called", 409)
    except StorageError:
        return _unknown()
    return asdict(await call.make(ONE_CALL + secrets.token_hex(8), number))


def _refused(why: str, status: int) -> JSONResponse:
    return JSONResponse({"detail": why}, status_code=status)


def _unknown() -> JSONResponse:
    return _refused(UNKNOWN, 503)
