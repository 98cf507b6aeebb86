"""Where browsers come in: the offer, the answer, and the candidates that follow."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request
from pipecat.transports.smallwebrtc.request_handler import (
    IceCandidate,
    SmallWebRTCPatchRequest,
    SmallWebRTCRequest,
)
from pydantic import BaseModel, Field

from bot import clock
from bot.server.browser_calls import BUSY, BrowserCalls
from bot.server.ice_servers import for_page, for_us
from bot.server.offers import OfferError, Offers
from bot.server.parked import Parked
from bot.workers.pool import House
from bot.workers.process import Process
from transports.webrtc.connection import BrowserConnection, TooManyError

MAX_SDP: Final = 64 * 1024  # characters; a browser's offer has about 6 kB
MAX_CANDIDATES: Final = 20  # of one request
TOO_MANY: Final = "Too many calls are being set up. Please call again in a moment."


class Offer(BaseModel):
    """A browser's offer."""

    sdp: str = Field(max_length=MAX_SDP)
    type: str = Field(pattern="^offer$")
    pc_id: str | None = Field(default=None, max_length=200)
    restart_pc: bool | None = None
    request_data: dict[str, Any] | None = None


class Candidate(BaseModel):
    """One of the browser's network addresses."""

    candidate: str = Field(max_length=500)
    sdp_mid: str = Field(max_length=100)
    sdp_mline_index: int


class Candidates(BaseModel):
    """Addresses found after the offer."""

    pc_id: str = Field(max_length=200)
    candidates: list[Candidate] = Field(max_length=MAX_CANDIDATES)


def webrtc_router(
    process: Process, tasks: asyncio.TaskGroup, parked: Parked, house: House
) -> APIRouter:
    """Return the routes of the browser's door; calls run in `tasks`."""
    calls = BrowserCalls(process, tasks, parked, house)
    door = _WebrtcDoor(process, tasks, calls)
    house.peers.answer("candidates", door.take_candidates)
    house.peers.answer("offer", door.take_offer)
    house.peers.answer("take_up", calls.end)
    router = APIRouter()
    router.add_api_route("/api/offer", door.describe, methods=["GET"])
    router.add_api_route("/api/offer", door.offer, methods=["POST"])
    router.add_api_route("/api/offer", door.candidates, methods=["PATCH"])
    return router


class _WebrtcDoor:
    def __init__(self, process: Process, tasks: asyncio.TaskGroup, calls: BrowserCalls) -> None:
        self._process = process
        self._house = calls.house
        self._calls = calls
        self._servers = process.settings.transports.webrtc.ice_servers
        self._offers = Offers(
            tasks,
            tell=process.switchboard.tell,
            clock=clock.monotonic,
            ice_servers=for_us(self._servers),
        )
        process.switchboard.on_closing(self._offers.give_up)

    async def describe(self) -> Mapping[str, Any]:
        """Return what a browser needs for its offer."""
        return {"ice_servers": for_page(self._servers)}

    async def offer(self, offer: Offer, request: Request) -> Mapping[str, str]:
        """Answer an offer; one of a call in another process is answered there."""
        address = request.client.host if request.client else ""
        worker, pc_id = _apart(offer.pc_id)
        if worker and worker != self._house.name:
            asked = {"offer": offer.model_dump(mode="json"), "address": address}
            try:
                return _answer_of(await self._house.peers.ask(worker, "offer", **asked))
            except LookupError:
                pc_id = None  # that process is gone, and its call with it: this is a new one
        return await self._answer_here(offer.model_copy(update={"pc_id": pc_id}), address)

    async def _answer_here(self, offer: Offer, address: str) -> Mapping[str, str]:
        """Answer an offer; the call begins when the browser has connected."""
        token = str((offer.request_data or {}).get("resume_token") or "")
        if not self._offers.knows(offer.pc_id) and not self._has_room(token):
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)

        async def begin(connection: BrowserConnection) -> None:
            await self._calls.run(connection, token)

        asked = SmallWebRTCRequest(
            sdp=offer.sdp,
            type=offer.type,
            pc_id=offer.pc_id,
            restart_pc=offer.restart_pc,
            request_data=offer.request_data,
        )
        with _refusals():
            answer = await self._offers.answer(asked, begin, address=address)
        return {**answer, "pc_id": _joined(self._house.name, answer["pc_id"])}

    async def candidates(self, patch: Candidates) -> Mapping[str, str]:
        """Add the browser's network addresses here, or at the process that has its call."""
        worker, pc_id = _apart(patch.pc_id)
        if worker in ("", self._house.name):
            return await self._add(patch.model_copy(update={"pc_id": pc_id}))
        asked = patch.model_dump(mode="json")
        try:
            told = await self._house.peers.ask(worker, "candidates", patch=asked)
        except LookupError as gone:
            raise HTTPException(HTTPStatus.NOT_FOUND, "No such call.") from gone
        return _answer_of(told)

    async def take_candidates(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add addresses that came in at another process."""
        return await _catch_refusal(self.candidates(Candidates.model_validate(asked["patch"])))

    async def take_offer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer an offer that came in at another process."""
        offer = Offer.model_validate(asked["offer"])
        pc_id = _apart(offer.pc_id)[1]
        here = offer.model_copy(update={"pc_id": pc_id})
        return await _catch_refusal(self._answer_here(here, str(asked["address"])))

    async def _add(self, patch: Candidates) -> Mapping[str, str]:
        candidates = [IceCandidate(**each.model_dump()) for each in patch.candidates]
        with _refusals():
            await self._offers.add(
                SmallWebRTCPatchRequest(pc_id=patch.pc_id, candidates=candidates)
            )
        return {"status": "success"}

    def _has_room(self, token: str) -> bool:
        """Say whether there is a seat beside those that others will want who are on their way.

        These hold none: whoever never connects keeps no telephone out. Who takes up a call that we
        believe to be running gets the seat of that.
        """
        if self._calls.runs(token):
            return True
        free = self._process.switchboard.free
        return not self._house.why_closed and free > self._offers.unconnected


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in HTTP why an offer or an address was not taken."""
    try:
        yield
    except TooManyError as many:
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY) from many
    except OfferError as unreadable:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(unreadable)) from unreadable
    except LookupError as unknown:
        raise HTTPException(HTTPStatus.NOT_FOUND, "No such call.") from unknown


def _apart(pc_id: str | None) -> tuple[str, str | None]:
    """Return which process has the connection of this id, and what it calls it."""
    worker, dot, own = (pc_id or "").partition(".")
    return (worker, own) if dot else ("", pc_id)


def _joined(worker: str, pc_id: str) -> str:
    return f"{worker}.{pc_id}" if worker else pc_id


async def _catch_refusal(answer: Awaitable[Mapping[str, str]]) -> Mapping[str, Any]:
    """Return an answer, or its refusal, as another process can pass it on."""
    try:
        return {"answer": await answer}
    except HTTPException as refused:
        return {"status": refused.status_code, "detail": refused.detail}


def _answer_of(told: Mapping[str, Any]) -> Mapping[str, str]:
    if "answer" in told:
        return told["answer"]
    raise HTTPException(told["status"], told["detail"])
