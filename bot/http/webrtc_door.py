"""Where browsers come in: the offer, the answer, and the candidates that follow."""

import asyncio
from collections.abc import Mapping, Sequence
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
from bot.http.parked import Parked
from bot.process import Process
from transports.webrtc import WebrtcLeg

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


def webrtc_router(process: Process, tasks: asyncio.TaskGroup, parked: Parked) -> APIRouter:
    """Return the routes of the browser's door; calls run in `tasks`."""
    door = _WebrtcDoor(process, tasks, parked)
    router = APIRouter()
    router.add_api_route("/api/offer", door.offer, methods=["POST"])
    router.add_api_route("/api/offer", door.candidates, methods=["PATCH"])
    return router


class _WebrtcDoor:
    def __init__(self, process: Process, tasks: asyncio.TaskGroup, parked: Parked) -> None:
        self._process = process
        self._tasks = tasks
        self._parked = parked
        self._handler = SmallWebRTCRequestHandler()

    async def offer(self, offer: Offer) -> Mapping[str, str]:
        """Answer an offer and begin the call."""
        if not (offer.sdp.startswith("v=0") and "m=audio" in offer.sdp):
            raise HTTPException(
                HTTPStatus.BAD_REQUEST, "The offer is not an SDP with an audio line."
            )
        if not self._process.switchboard.open:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "All our lines are busy. Please call again in a few minutes.",
            )
        token = str((offer.request_data or {}).get("resume_token") or "")
        remembered = self._parked.take(token) if token else ()

        async def begin(connection: SmallWebRTCConnection) -> None:
            self._tasks.create_task(self._run(connection, remembered), name="browser call")

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
        return answer

    async def candidates(self, patch: Candidates) -> Mapping[str, str]:
        """Take the browser's network addresses."""
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
        self, connection: SmallWebRTCConnection, remembered: Sequence[LLMContextMessage]
    ) -> None:
        leg = WebrtcLeg(connection)
        call = self._process.call(leg, remembered)
        token = self._parked.token()
        leg.greet_with({"type": "call", "call_id": call.call_id, "resume_token": token})
        leg.part_with(lambda: {"type": "ended", "reason": call.reason})
        watch = self._tasks.create_task(leg.watch(), name="watch the browser")
        try:
            await self._process.switchboard.answer(leg, call)
        except SwitchboardFullError as full:
            leg.show({"type": "refused", "detail": str(full)})
            await leg.hang_up()
        finally:
            watch.cancel()
        if call.reason == "line_lost":
            self._parked.park(token, call.conversation)
