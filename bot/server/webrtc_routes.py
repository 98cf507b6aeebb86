"""The browser's signalling routes: ICE servers, offer and answer, ICE candidates."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from aiortc import RTCIceServer
from fastapi import APIRouter, HTTPException, Request
from loguru import logger
from pipecat.transports.smallwebrtc.request_handler import (
    IceCandidate,
    SmallWebRTCPatchRequest,
    SmallWebRTCRequest,
)
from pydantic import BaseModel, Field

from bot.server.access import address_of
from bot.server.browser_calls import BUSY, BrowserCalls
from bot.server.credentials import identity_of
from bot.workers.pool import WorkerPool
from bot.workers.process import Process
from calls.entry import Emit
from calls.events import CallFailed, InputRefused
from configuration.settings import IceServer
from runtime import clock
from transports.arrival_rules import Guest, WaitingRoom, network_of
from transports.parked import Parked
from transports.pool import ASK_PROCESS_S, HeldSeat
from transports.webrtc.candidate_rules import is_on_our_networks, is_on_this_machine
from transports.webrtc.connection import BrowserConnection, TooManyError


def for_page(servers: Sequence[IceServer]) -> list[Mapping[str, Any]]:
    """Return the ICE servers for the browser, with the relay's credentials, which callers need."""
    return [_server_json(server) for server in servers]


def own_ice_servers(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """Return the ICE servers for aiortc, which uses the first STUN and the first TURN server."""
    return [
        RTCIceServer(
            urls=[server.url], username=server.username, credential=_credential_text(server)
        )
        for server in servers
    ]


def _server_json(server: IceServer) -> Mapping[str, Any]:
    login = {"username": server.username, "credential": _credential_text(server)}
    return {"urls": [server.url], **{name: value for name, value in login.items() if value}}


def _credential_text(server: IceServer) -> str | None:
    return server.credential.get_secret_value() if server.credential else None


# Offers whose browser is not connected yet. Chosen: connecting takes 0.1 s, at most a few seconds.
MAX_UNCONNECTED: Final = 12
MAX_UNCONNECTED_PER_ADDRESS: Final = 6  # an office may share an address
PROTECTED_S: Final = 3.0  # a new offer may displace an unconnected one only after this time
CONNECT_S: Final = 10.0  # an offer that is not connected by then is dropped
OFFER_S: Final = 5.0  # to process an offer: mDNS names in it are resolved, which takes 1 s each
MAX_LINES: Final = 1000  # lines of an offer; a browser's has about 200
MAX_ADDRESSES: Final = 50  # ICE candidates in an offer
RESTART_KEY: Final = "ice_restart"  # in an offer's `request_data`: only for an existing call

RunCall = Callable[[BrowserConnection], Awaitable[None]]
"""Runs the call of a connected browser to its end."""


INVALID_OFFER: Final = (
    "The offer is not an SDP with one audio line, at most one data line and no video."
)


class OfferError(Exception):
    """The offer cannot be answered; the message is a sentence for the caller."""


class Offers:
    """The connections of browsers, from their offers to the end of their calls.

    The number of offers whose browser is not connected yet is limited, and a call is built only
    once its browser has connected. Pipecat's own handler begins a call with the offer, leaves a
    half-open peer connection after an invalid offer, and has no limits.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        *,
        emit: Emit,
        clock: Callable[[], float],
        ice_servers: Sequence[RTCIceServer] = (),
        public: bool = False,
    ) -> None:
        """Run the calls in `tasks`.

        Args:
            tasks: Owns the calls.
            emit: Emits refusals and failures.
            clock: Monotonic.
            ice_servers: The STUN and TURN servers of our own side.
            public: Whether unauthenticated clients may call.
        """
        self._public = public
        self._tasks = tasks
        self._ice_servers = ice_servers
        self._emit = emit
        self._clock = clock
        self._waiting_room = WaitingRoom(
            places=MAX_UNCONNECTED, of_one_address=MAX_UNCONNECTED_PER_ADDRESS, ripe_s=PROTECTED_S
        )
        self._connections: dict[str, BrowserConnection] = {}

    @property
    def unconnected(self) -> int:
        """How many offers there are whose browser is not connected yet."""
        return len(self._waiting_room)

    def knows(self, pc_id: str | None) -> bool:
        """Return whether there is a connection with this id."""
        return pc_id in self._connections

    async def answer(
        self, request: SmallWebRTCRequest, run_call: RunCall, *, address: str
    ) -> Mapping[str, str]:
        """Answer an offer; `run_call` runs only if its browser connects.

        Raises:
            OfferError: The offer cannot be answered.
            TooManyError: Too many calls are being set up.
            LookupError: The offer restarts ICE for a call that does not exist.
        """
        if not is_plausible(request.sdp):
            raise OfferError(INVALID_OFFER)
        connection = self._connections.get(request.pc_id or "")
        is_over = connection is None or connection.pc.connectionState in {"failed", "closed"}
        if is_over and (request.request_data or {}).get(RESTART_KEY):
            raise LookupError(request.pc_id)
        if connection is not None:
            return await self._answer_again(connection, request)
        return await self._answer_first(request, run_call, address)

    async def _answer_first(
        self, request: SmallWebRTCRequest, run_call: RunCall, address: str
    ) -> Mapping[str, str]:
        """Answer the offer of a new call, and run the call in a task once the browser connects.

        Without an answer, its connection is shut, and its place is free again.
        """
        connection = BrowserConnection(
            emit=self._emit,
            clock=self._clock,
            ice_servers=self._ice_servers,
            allows_private=not self._public or is_on_our_networks(address),
            allows_loopback=is_on_this_machine(address),
        )
        now = self._clock()
        guest = Guest(address=network_of(address), came_at=now, leave=connection.give_up)
        if not self._waiting_room.enter(guest, now):
            self._emit(InputRefused(transport="webrtc", reason="too_many_offers"))
            await connection.shut()
            raise TooManyError
        try:
            answer = await _await_answer(
                connection, connection.initialize(sdp=request.sdp, type=request.type)
            )
        except BaseException:  # including cancellation
            self._waiting_room.remove(guest)
            await connection.shut()
            raise
        self._connections[answer["pc_id"]] = connection
        self._tasks.create_task(
            self._run_when_connected(connection, guest, run_call), name="browser call"
        )
        return answer

    async def _answer_again(
        self, connection: BrowserConnection, request: SmallWebRTCRequest
    ) -> Mapping[str, str]:
        """Answer another offer of an existing connection."""
        restart = bool(request.restart_pc)
        again = connection.negotiate_again(sdp=request.sdp, type=request.type, restart_pc=restart)
        answer = await _await_answer(connection, again)
        self._connections[answer["pc_id"]] = connection  # a restart may change the id
        return answer

    async def add(self, patch: SmallWebRTCPatchRequest) -> None:
        """Add a browser's ICE candidates.

        Raises:
            LookupError: There is no such call.
            TooManyError: There are too many candidates, or they arrive too fast.
            OfferError: A candidate is invalid, or takes too long to read.
        """
        connection = self._connections[patch.pc_id]
        try:
            async with asyncio.timeout(OFFER_S):
                await connection.add_addresses(patch.candidates)
        except TooManyError:
            self._emit(InputRefused(transport="webrtc", reason="too_many_candidates"))
            raise
        except Exception as unreadable:
            raise OfferError("Not a candidate.") from unreadable

    def give_up(self) -> None:
        """Drop all connections that are not established yet."""
        for connection in set(self._connections.values()):
            connection.give_up()

    async def _run_when_connected(
        self, connection: BrowserConnection, guest: Guest, run_call: RunCall
    ) -> None:
        """Run the call once the browser has connected; then, or if it never does, shut down."""
        try:
            connected = await connection.connects_within(CONNECT_S)
            self._waiting_room.remove(guest)
            if connected:
                await run_call(connection)
            else:
                self._emit(InputRefused(transport="webrtc", reason="never_connected"))
        except Exception as broken:  # noqa: BLE001 - top of a call: only this call ends
            self._emit(CallFailed(where="webrtc_door", error=type(broken).__name__))
            logger.opt(exception=broken).error("a browser's call ended with an internal error")
        finally:
            self._waiting_room.remove(guest)
            self._connections = {
                pc_id: other
                for pc_id, other in self._connections.items()
                if other is not connection
            }
            await connection.shut()


async def _await_answer(
    connection: BrowserConnection, reading: Awaitable[None]
) -> Mapping[str, str]:
    """Wait until the connection has read the offer; return its answer.

    Raises:
        TooManyError: The offer has too many candidates.
        OfferError: The offer cannot be answered, or not within `OFFER_S`.
    """
    try:
        async with asyncio.timeout(OFFER_S):
            await reading
    except TooManyError:
        raise
    except Exception as unreadable:  # aiortc's parser may raise anything for an invalid SDP
        raise OfferError("The offer is not an SDP that can be answered.") from unreadable
    answer = connection.get_answer()
    if answer is None:
        raise OfferError("The offer has nothing to answer.")
    return answer


def is_plausible(sdp: str) -> bool:
    """Return whether a text looks like an offer from our page, without parsing it.

    It must not have a second audio line or video: aiortc would decode and buffer them, although
    nothing reads them. Lines are split as in aiortc, where a carriage return also ends a line.
    """
    lines = sdp.splitlines()
    media = sorted(line[2:].split(" ")[0] for line in lines if line.startswith("m="))
    return (
        sdp.startswith("v=0")
        and media in (["audio"], ["application", "audio"])
        and len(lines) <= MAX_LINES
        and sum(line.startswith("a=candidate") for line in lines) <= MAX_ADDRESSES
    )


MAX_SDP: Final = 64 * 1024  # characters; a browser's offer has about 6 kB
MAX_CANDIDATES: Final = 20  # in one request
TOO_MANY: Final = "Too many calls are being set up. Please call again in a moment."


class Offer(BaseModel):
    """A browser's offer."""

    sdp: str = Field(max_length=MAX_SDP)
    type: str = Field(pattern="^offer$")
    pc_id: str | None = Field(default=None, max_length=200)
    restart_pc: bool | None = None
    request_data: dict[str, Any] | None = None


class Candidate(BaseModel):
    """A browser's ICE candidate."""

    candidate: str = Field(max_length=500)
    sdp_mid: str = Field(max_length=100)
    sdp_mline_index: int


class Candidates(BaseModel):
    """ICE candidates that the browser found after its offer."""

    pc_id: str = Field(max_length=200)
    candidates: list[Candidate] = Field(max_length=MAX_CANDIDATES)


def webrtc_router(
    process: Process, tasks: asyncio.TaskGroup, parked: Parked, pool: WorkerPool
) -> APIRouter:
    """Return the browser's routes, and answer other processes' questions; calls run in `tasks`."""
    calls = BrowserCalls(process, tasks, parked, pool)
    routes = WebrtcRoutes(process, tasks, calls)
    pool.peers.answer("candidates", routes.take_candidates)
    pool.peers.answer("offer", routes.take_offer)
    pool.peers.answer("take_up", calls.end)
    router = APIRouter()
    router.add_api_route("/api/offer", routes.describe, methods=["GET"])
    router.add_api_route("/api/offer", routes.offer, methods=["POST"])
    router.add_api_route("/api/offer", routes.candidates, methods=["PATCH"])
    return router


class WebrtcRoutes:
    """Answers the page's requests."""

    def __init__(self, process: Process, tasks: asyncio.TaskGroup, calls: BrowserCalls) -> None:
        self._process = process
        self._pool = calls.pool
        self._calls = calls
        self._servers = process.settings.transports.webrtc.ice_servers
        self._offers = Offers(
            tasks,
            emit=process.switchboard.emit,
            clock=clock.monotonic,
            ice_servers=own_ice_servers(self._servers),
            public=process.settings.transports.webrtc.public,
        )
        process.switchboard.on_closing(self._offers.give_up)

    async def describe(self) -> Mapping[str, Any]:
        """Return the ICE servers that a browser needs for its offer."""
        return {"ice_servers": for_page(self._servers)}

    async def offer(self, offer: Offer, request: Request) -> Mapping[str, str]:
        """Answer an offer here, unless the process that has its call answers it."""
        address = address_of(request)
        public = identity_of(request).public
        worker, pc_id = _split_id(offer.pc_id)
        if worker and worker != self._pool.name:
            fields = {"offer": offer.model_dump(mode="json"), "address": address, "public": public}
            try:
                return _answer_of(await self._ask_process(worker, "offer", **fields))
            except LookupError:
                pc_id = None  # that process and its call are gone: this is a new call
        local = offer.model_copy(update={"pc_id": pc_id})
        return await self._answer_here(local, address, public=public)

    async def _answer_here(self, offer: Offer, address: str, *, public: bool) -> Mapping[str, str]:
        """Answer an offer, or raise `HTTPException`; the call begins when the browser connects."""
        token = str((offer.request_data or {}).get("resume_token") or "")
        network = (network_of(address) or "unknown") if public else ""
        if not self._offers.knows(offer.pc_id) and not await self._may_answer(token, network):
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)

        async def run_call(connection: BrowserConnection) -> None:
            await self._calls.run(connection, token, public=network)

        signalling = SmallWebRTCRequest(
            sdp=offer.sdp,
            type=offer.type,
            pc_id=offer.pc_id,
            restart_pc=offer.restart_pc,
            request_data=offer.request_data,
        )
        with _refusals_as_http():
            answer = await self._offers.answer(signalling, run_call, address=address)
        return {**answer, "pc_id": _join_id(self._pool.name, answer["pc_id"])}

    async def candidates(self, patch: Candidates) -> Mapping[str, str]:
        """Add candidates, in the process that has the connection.

        Raises:
            HTTPException: There is no such call (404).
        """
        worker, pc_id = _split_id(patch.pc_id)
        if worker in ("", self._pool.name):
            return await self._add_candidates(patch.model_copy(update={"pc_id": pc_id}))
        fields = patch.model_dump(mode="json")
        try:
            return _answer_of(await self._ask_process(worker, "candidates", patch=fields))
        except LookupError as gone:
            raise HTTPException(HTTPStatus.NOT_FOUND, "No such call.") from gone

    async def take_candidates(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add candidates that arrived at another process."""
        return await _catch_refusal(self.candidates(Candidates.model_validate(message["patch"])))

    async def take_offer(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer an offer that arrived at another process."""
        offer = Offer.model_validate(message["offer"])
        pc_id = _split_id(offer.pc_id)[1]
        local = offer.model_copy(update={"pc_id": pc_id})
        answer = self._answer_here(local, str(message["address"]), public=bool(message["public"]))
        return await _catch_refusal(answer)

    async def _ask_process(self, worker: str, what: str, **fields: Any) -> Any:
        """Return the reply of another process, which may take `OFFER_S` to answer an offer.

        Raises:
            LookupError: That process is gone or hangs.
        """
        within_s = OFFER_S + ASK_PROCESS_S
        return await self._pool.peers.ask(worker, what, within_s=within_s, **fields)

    async def _add_candidates(self, patch: Candidates) -> Mapping[str, str]:
        """Add a browser's ICE candidates (addresses) to its offer; refusals become HTTP errors."""
        candidates = [IceCandidate(**candidate.model_dump()) for candidate in patch.candidates]
        with _refusals_as_http():
            await self._offers.add(
                SmallWebRTCPatchRequest(pc_id=patch.pc_id, candidates=candidates)
            )
        return {"status": "success"}

    async def _may_answer(self, token: str, network: str) -> bool:
        """Return whether an offer may be answered: calls are taken, and a seat is left for it.

        Unconnected browsers hold no seat, so that they cannot keep telephone calls out, but their
        number must be less than that of the free seats. A page that resumes a call that still runs
        in this process gets that call's seat. For any other lost call, a seat is reserved.
        """
        if self._calls.is_running(token):
            return True
        if await self._calls.is_lost(token):
            return isinstance(await self._calls.seat(token, public=network), HeldSeat)
        free = self._process.switchboard.free_seats
        return not self._pool.why_closed and free > self._offers.unconnected


@contextmanager
def _refusals_as_http() -> Iterator[None]:
    """Translate refusals of an offer or a candidate into HTTP errors."""
    try:
        yield
    except TooManyError as many:
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY) from many
    except OfferError as unreadable:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(unreadable)) from unreadable
    except LookupError as unknown:
        raise HTTPException(HTTPStatus.NOT_FOUND, "No such call.") from unknown


def _split_id(pc_id: str | None) -> tuple[str, str | None]:
    """Return the worker that has a connection, and the connection's id there.

    The worker is empty if there is only one process.
    """
    worker, dot, own = (pc_id or "").partition(".")
    return (worker, own) if dot else ("", pc_id)


def _join_id(worker: str, pc_id: str) -> str:
    return f"{worker}.{pc_id}" if worker else pc_id


async def _catch_refusal(answer: Awaitable[Mapping[str, str]]) -> Mapping[str, Any]:
    """Return an answer, or its refusal, in a form that can be sent to another process."""
    try:
        return {"answer": await answer}
    except HTTPException as refused:
        return {"status": refused.status_code, "detail": refused.detail}


def _answer_of(reply: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the answer in another process's reply, or raise the refusal in it."""
    if "answer" in reply:
        return reply["answer"]
    raise HTTPException(reply["status"], reply["detail"])
