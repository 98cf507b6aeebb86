"""Campaigns over HTTP: how far each has come and why it waits; an operator's word; one call."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse

from bot.house.house import House
from bot.outbound.opening import Outbound
from calls.outbound import CampaignState
from campaigns.progress import progress_of
from storage.campaign_office import CampaignStanding
from storage.database import StorageError

QUESTION: Final = "campaign holds"
MOVES: Final[Mapping[str, CampaignState]] = {
    "start": "running",
    "pause": "paused",
    "resume": "running",
}
NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")

Wanted = Annotated[str, Body(embed=True, max_length=32)]


def campaign_router(outbound: Outbound, house: House) -> APIRouter:
    """Return the routes under `/api/campaigns` and `/api/dials`."""
    router = APIRouter()

    async def own_holds(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return _holds(outbound)

    house.answer(QUESTION, own_holds)

    @router.get("/api/campaigns", response_model=None)
    async def campaigns() -> JSONResponse | list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]
        try:
            return await _list(outbound, house)
        except StorageError:
            return _unknown()

    @router.post("/api/campaigns/{name}/{move}", response_model=None)
    async def change(name: str, move: str) -> JSONResponse | dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        if name not in outbound.campaigns or move not in MOVES:
            told = {"detail": "There is no such campaign.", "names": list(outbound.campaigns)}
            return JSONResponse(told, status_code=404)
        now = outbound.now_s()
        try:
            await outbound.office.open(name, now=now)
            await outbound.office.move(name, MOVES[move], reason="an operator", now=now)
            return next(each for each in await _list(outbound, house) if each["name"] == name)
        except StorageError:
            return _unknown()

    @router.post("/api/dials", response_model=None)
    async def dial(number: Wanted) -> JSONResponse | dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return await _dial(outbound, number)

    return router


async def _list(outbound: Outbound, house: House) -> list[dict[str, Any]]:
    held: dict[str, Any] = {}
    for each in await house.ask_all(QUESTION):
        held |= each or {}
    standings = await outbound.office.standings(now=outbound.now_s())
    known = [each for each in standings if each.name in outbound.campaigns]
    return [_shown(outbound, each, held.get(each.name)) for each in known]


def _shown(outbound: Outbound, standing: CampaignStanding, held: Any) -> dict[str, Any]:
    progress = progress_of(
        outbound.campaigns[standing.name],
        contacts=standing.contacts,
        outcomes=standing.outcomes,
    )
    return asdict(standing) | {
        "all_contacts": progress.contacts,
        "finished": progress.finished,
        "dials": progress.dials,
        "left_s": progress.left_s,
        "held": held if standing.state == "running" else None,
    }


def _holds(outbound: Outbound) -> Mapping[str, Any]:
    if outbound.dialer is None:
        return {}
    holds = {name: outbound.dialer.why(name) for name in outbound.campaigns}
    return {name: asdict(each) for name, each in holds.items() if each}


async def _dial(outbound: Outbound, number: str) -> JSONResponse | dict[str, Any]:
    if not NUMBER.fullmatch(number):
        return _refused("the number must begin with + and its country code", 400)
    if outbound.one_call is None:
        return _refused("no carrier that could dial is configured", 409)
    try:
        if await outbound.book.do_not_call([number]):
            return _refused("this number asked not to be called", 409)
    except StorageError:
        return _unknown()
    return asdict(await outbound.one_call.make(f"one-{secrets.token_hex(8)}", number))


def _refused(why: str, status: int) -> JSONResponse:
    return JSONResponse({"detail": why}, status_code=status)


def _unknown() -> JSONResponse:
    return _refused("The database does not answer.", 503)
