"""Where browsers come in: the offer, the answer, and the candidates that follow."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request
from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.transports.smallwebrtc.request_handler import (
    IceCandidate,
    SmallWebRTCPatchRequest,
    SmallWebRTCRequest,
)
from pydantic import BaseModel, Field

from bot import clock
from bot.call.call import Call
from bot.call.watching import watch_leg
from bot.http.offers import OfferError, Offers
from bot.http.parked import Parked
from bot.process import Process
from calls.events import CallRefused
from transports.webrtc import WebrtcLeg
from transports.webrtc_connection import BrowserConnection, TooManyError

MAX_SDP: Final = 64 * 1024  # characters; a browser's offer has about 6 kB
MAX_CANDIDATES: Final = 20  # of one request
TAKE_UP_S: Final = 5.0  # for the call of a page that has come back to end
BUSY: Final = "All our lines are busy. Please call again in a few minutes."
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


def webrtc_router(process: Process, tasks: asyncio.TaskGroup, parked: Parked) -> APIRouter:
    """Return the routes of the browser's door; calls run in `tasks`."""
    door = _WebrtcDoor(process, tasks, parked)
    router = APIRouter()
    router.add_api_route("/api/offer", door.offer, methods=["POST"])
    router.add_api_route("/api/offer", door.candidates, methods=["PATCH"])
    return router


@dataclass(slots=True)
class _Running:
    call: Call
    over: asyncio.Event


class _WebrtcDoor:
    def __init__(self, process: Process, tasks: asyncio.TaskGroup, parked: Parked) -> None:
        self._process = process
        self._tasks = tasks
        self._parked = parked
        self._tell = process.switchboard.tell
        self._offers = Offers(tasks, tell=self._tell, clock=clock.monotonic)
        self._running: dict[str, _Running] = {}  # by the token with which a page takes it up again
        process.switchboard.on_closing(self._offers.give_up)

    async def offer(self, offer: Offer, request: Request) -> Mapping[str, str]:
        """Answer an offer; the call begins when the browser has connected."""
        token = str((offer.request_data or {}).get("resume_token") or "")
        if not self._seat_for(token):
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)

        async def begin(connection: BrowserConnection) -> None:
            await self._run(connection, token)

        asked = SmallWebRTCRequest(
            sdp=offer.sdp, type=offer.type, pc_id=offer.pc_id, restart_pc=offer.restart_pc
        )
        address = request.client.host if request.client else ""
        with _refusals():
            return await self._offers.answer(asked, begin, address=address)

    async def candidates(self, patch: Candidates) -> Mapping[str, str]:
        """Take the browser's network addresses."""
        candidates = [IceCandidate(**each.model_dump()) for each in patch.candidates]
        with _refusals():
            await self._offers.add(
                SmallWebRTCPatchRequest(pc_id=patch.pc_id, candidates=candidates)
            )
        return {"status": "success"}

    def _seat_for(self, token: str) -> bool:
        """Say whether there is a seat beside those that others will want who are on their way.

        These hold none: whoever never connects keeps no telephone out. Who takes up a call that we
        believe to be running gets the seat of that.
        """
        switchboard = self._process.switchboard
        if token in self._running:
            return True
        return switchboard.open and switchboard.free > self._offers.unconnected

    async def _run(self, connection: BrowserConnection, resumed: str) -> None:
        remembered = await self._taken_up(resumed)
        if not self._process.switchboard.open:
            self._tell(CallRefused(transport="webrtc", reason=self._process.switchboard.why_closed))
            if remembered:
                self._parked.park(resumed, remembered)
            await connection.part({"type": "refused", "detail": BUSY})
            return
        leg = WebrtcLeg(connection)
        call = self._process.call(leg, remembered)
        token = self._parked.token()
        leg.greet_with({"type": "call", "call_id": call.call_id, "resume_token": token})
        leg.part_with(lambda: {"type": "ended", "reason": call.reason})
        self._running[token] = running = _Running(call, asyncio.Event())
        watch = self._tasks.create_task(watch_leg(leg, call), name="watch the browser")
        try:
            await self._process.switchboard.answer(leg, call)
        finally:
            watch.cancel()
            del self._running[token]
            if call.reason == "line_lost":
                self._parked.park(token, call.conversation)
            running.over.set()

    async def _taken_up(self, token: str) -> Sequence[LLMContextMessage]:
        """Return the conversation that a token stands for.

        A page may come back before we have noticed that its line was lost: that call ends now.
        """
        if running := self._running.get(token):
            await running.call.cancel("line_lost")
            with suppress(TimeoutError):
                async with asyncio.timeout(TAKE_UP_S):
                    await running.over.wait()
        return self._parked.take(token) if token else ()


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
