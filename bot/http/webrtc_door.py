"""Where browsers come in: the offer, the answer, and the candidates that follow."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException
from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.request_handler import (
    IceCandidate,
    SmallWebRTCPatchRequest,
    SmallWebRTCRequest,
    SmallWebRTCRequestHandler,
)
from pydantic import BaseModel, Field

from bot.call.switchboard import SwitchboardFullError
from bot.house.house import House, NoSeat, seated
from bot.http.parked import Parked
from bot.process import Process
from transports.webrtc import WebrtcLeg

Begin = Callable[[SmallWebRTCConnection], Awaitable[None]]
MAX_SDP = 64 * 1024  # characters; a browser's offer has about 6 kB


class Offer(BaseModel):
    """A browser's offer."""

    sdp: str = Field(max_length=MAX_SDP)
    type: str = Field(pattern="^offer$")
    pc_id: str | None = Field(default=None, max_length=200)
    restart_pc: bool | None = None
    request_data: dict[str, Any] | None = None


class Candidate(BaseModel):
    """One of the browser's network addresses."""

    candidate: str = Field(max_length=2_000)
    sdp_mid: str = Field(max_length=100)
    sdp_mline_index: int


class Candidates(BaseModel):
    """Addresses found after the offer."""

    pc_id: str = Field(max_length=200)
    candidates: list[Candidate] = Field(max_length=100)


def webrtc_router(
    process: Process, tasks: asyncio.TaskGroup, parked: Parked, house: House
) -> APIRouter:
    """Return the routes of the browser's door; calls run in `tasks`."""
    door = _WebrtcDoor(process, tasks, parked, house)
    house.answer("candidates", door.own_candidates)
    house.answer("offer", door.own_offer)
    router = APIRouter()
    router.add_api_route("/api/offer", door.offer, methods=["POST"])
    router.add_api_route("/api/offer", door.candidates, methods=["PATCH"])
    return router


class _WebrtcDoor:
    def __init__(
        self, process: Process, tasks: asyncio.TaskGroup, parked: Parked, house: House
    ) -> None:
        self._process = process
        self._house = house
        self._tasks = tasks
        self._parked = parked
        self._handler = SmallWebRTCRequestHandler()

    async def offer(self, offer: Offer) -> Mapping[str, str]:
        """Answer an offer and begin the call; one of a call elsewhere is answered there."""
        if not (offer.sdp.startswith("v=0") and "m=audio" in offer.sdp):
            raise HTTPException(
                HTTPStatus.BAD_REQUEST, "The offer is not an SDP with an audio line."
            )
        worker, pc_id = _apart(offer.pc_id)
        if worker and worker != self._house.name:
            try:
                return _told(
                    await self._house.ask(worker, "offer", offer=offer.model_dump(mode="json"))
                )
            except LookupError:
                pc_id = None  # that process is gone, and its call with it: this is a new one
        return await self._answer_here(offer.model_copy(update={"pc_id": pc_id}))

    async def _answer_here(self, offer: Offer) -> Mapping[str, str]:
        admitted = await self._house.admit()
        if isinstance(admitted, NoSeat):
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "All our lines are busy. Please call again in a few minutes.",
            )
        seat: int | None = admitted.seat
        token = str((offer.request_data or {}).get("resume_token") or "")
        remembered = await self._parked.take(token) if token else ()

        async def begin(connection: SmallWebRTCConnection) -> None:
            nonlocal seat
            run = self._run(connection, remembered, admitted.seat)
            seat = None  # it is the call's now
            self._tasks.create_task(run, name="browser call")

        try:
            return await self._connect(offer, begin)
        finally:
            if seat is not None:
                self._house.end(seat)

    async def _connect(self, offer: Offer, begin: Begin) -> Mapping[str, str]:
        request = SmallWebRTCRequest(
            sdp=offer.sdp, type=offer.type, pc_id=offer.pc_id, restart_pc=offer.restart_pc
        )
        try:
            answer = await self._handler.handle_web_request(request, begin)
        except HTTPException:
            raise
        except Exception as unreadable:  # aiortc raises whatever its parser meets in a bad SDP
            raise HTTPException(
                HTTPStatus.BAD_REQUEST, "The offer is not an SDP that can be answered."
            ) from unreadable
        if answer is None:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The offer has nothing to answer.")
        return answer | {"pc_id": _joined(self._house.name, answer["pc_id"])}

    async def candidates(self, patch: Candidates) -> Mapping[str, str]:
        """Take the browser's network addresses, or have them taken where its call is."""
        worker, pc_id = _apart(patch.pc_id)
        if worker in ("", self._house.name):
            return await self._add(patch.model_copy(update={"pc_id": pc_id}))
        try:
            told = await self._house.ask(worker, "candidates", patch=patch.model_dump(mode="json"))
        except LookupError as gone:
            raise HTTPException(HTTPStatus.NOT_FOUND, "No such call.") from gone
        return _told(told)

    async def own_candidates(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take addresses that came in at another process."""
        return await _caught(self.candidates(Candidates.model_validate(asked["patch"])))

    async def own_offer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer an offer that came in at another process."""
        return await _caught(self.offer(Offer.model_validate(asked["offer"])))

    async def _add(self, patch: Candidates) -> Mapping[str, str]:
        candidates = [IceCandidate(**each.model_dump()) for each in patch.candidates]
        try:
            await self._handler.handle_patch_request(
                SmallWebRTCPatchRequest(pc_id=patch.pc_id, candidates=candidates)
            )
        except HTTPException as unknown:
            raise HTTPException(HTTPStatus.NOT_FOUND, "No such call.") from unknown
        except (ValueError, AssertionError, IndexError) as unreadable:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "Not a candidate.") from unreadable
        return {"status": "success"}

    async def _run(
        self,
        connection: SmallWebRTCConnection,
        remembered: Sequence[LLMContextMessage],
        seat: int,
    ) -> None:
        leg = WebrtcLeg(connection)
        call = self._process.call(leg, remembered)
        token = self._parked.token()
        leg.greet_with({"type": "call", "call_id": call.call_id, "resume_token": token})
        leg.part_with(lambda: {"type": "ended", "reason": call.reason})
        watch = self._tasks.create_task(leg.watch(), name="watch the browser")
        try:
            with seated(self._house, seat):
                await self._process.switchboard.answer(leg, call)
        except SwitchboardFullError as full:
            leg.show({"type": "refused", "detail": str(full)})
            await leg.hang_up()
        finally:
            watch.cancel()
        if call.reason == "line_lost":
            await self._parked.park(token, call.conversation)


def _apart(pc_id: str | None) -> tuple[str, str | None]:
    """Return which process has the connection of this id, and what it calls it."""
    worker, dot, own = (pc_id or "").partition(".")
    return (worker, own) if dot else ("", pc_id)


def _joined(worker: str, pc_id: str) -> str:
    return f"{worker}.{pc_id}" if worker else pc_id


async def _caught(answer: Awaitable[Mapping[str, str]]) -> Mapping[str, Any]:
    """Return an answer, or its refusal, as another process can pass it on."""
    try:
        return {"answer": await answer}
    except HTTPException as refused:
        return {"status": refused.status_code, "detail": refused.detail}


def _told(told: Mapping[str, Any]) -> Mapping[str, str]:
    if "answer" in told:
        return told["answer"]
    raise HTTPException(told["status"], told["detail"])
