"""Browsers' offers: few that are not connected yet, and nothing built before they are.

Pipecat's own handler begins a call with the offer, leaves a half-made peer connection open when the
offer is bad, and bounds nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiortc import RTCIceServer
from loguru import logger
from pipecat.transports.smallwebrtc.request_handler import (
    SmallWebRTCPatchRequest,
    SmallWebRTCRequest,
)

from bot.server.waiting_room_rules import Guest, WaitingRoom
from calls.entry import Tell
from calls.events import CallFailed, InputRefused
from transports.webrtc.connection import BrowserConnection, TooManyError

UNCONNECTED: Final = 12  # chosen: a browser needs a tenth of a second, and a slow one some seconds
OF_ONE_ADDRESS: Final = 6  # an office behind one address
RIPE_S: Final = 3.0  # one that has waited so long makes room; before, it may be connecting
CONNECT_S: Final = 10.0  # then it is given up
ANSWER_S: Final = 5.0  # to read an offer: names of the local network are looked up, 1 s each
MAX_LINES: Final = 1000  # of an offer; a browser's has some 200
MAX_MEDIA: Final = 4  # a microphone, a camera, a screen, and the data channel
MAX_ADDRESSES: Final = 50
RESTART: Final = "ice_restart"  # in an offer's `request_data`: for this call, or for none

Begin = Callable[[BrowserConnection], Awaitable[None]]
"""Runs the call of a browser that has connected, to its end."""


class OfferError(Exception):
    """The offer cannot be answered; the text is a sentence for the caller."""


class Offers:
    """All browsers' connections."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        *,
        tell: Tell,
        clock: Callable[[], float],
        ice_servers: Sequence[RTCIceServer] = (),
    ) -> None:
        """Have none; connections are followed in `tasks`."""
        self._tasks = tasks
        self._ice_servers = ice_servers
        self._tell = tell
        self._clock = clock
        self._room = WaitingRoom(places=UNCONNECTED, of_one_address=OF_ONE_ADDRESS, ripe_s=RIPE_S)
        self._lines: dict[str, BrowserConnection] = {}

    @property
    def unconnected(self) -> int:
        """How many were answered and are not connected yet."""
        return len(self._room)

    def knows(self, pc_id: str | None) -> bool:
        """Return whether this is the name of a connection that there is."""
        return pc_id in self._lines

    async def answer(
        self, request: SmallWebRTCRequest, begin: Begin, *, address: str
    ) -> Mapping[str, str]:
        """Answer an offer; `begin` runs when, and only if, its browser has connected.

        Raises:
            OfferError: It is none that could be answered.
            TooManyError: Too many are being set up.
            LookupError: It restarts the ICE of a call that there is no more.
        """
        if not plausible(request.sdp):
            raise OfferError("The offer is not an SDP with an audio line.")
        line = self._lines.get(request.pc_id or "")
        over = line is None or line.pc.connectionState in {"failed", "closed"}
        if over and (request.request_data or {}).get(RESTART):
            raise LookupError(request.pc_id)
        if line is not None:
            return await self._answer_again(line, request)
        return await self._answer_first(request, begin, address)

    async def _answer_first(
        self, request: SmallWebRTCRequest, begin: Begin, address: str
    ) -> Mapping[str, str]:
        line = BrowserConnection(tell=self._tell, clock=self._clock, ice_servers=self._ice_servers)
        now = self._clock()
        guest = Guest(address=address, came_at=now, leave=line.give_up)
        if not self._room.enter(guest, now):
            self._tell(InputRefused(transport="webrtc", reason="too_many_offers"))
            await line.shut()
            raise TooManyError
        try:
            answer = await _await_answer(line, line.initialize(sdp=request.sdp, type=request.type))
        except BaseException:  # also when the request is cancelled
            self._room.remove(guest)
            await line.shut()
            raise
        self._lines[answer["pc_id"]] = line
        self._tasks.create_task(self._follow(line, guest, begin), name="browser call")
        return answer

    async def _answer_again(
        self, line: BrowserConnection, request: SmallWebRTCRequest
    ) -> Mapping[str, str]:
        restart = bool(request.restart_pc)
        again = line.negotiate_again(sdp=request.sdp, type=request.type, restart_pc=restart)
        answer = await _await_answer(line, again)
        self._lines[answer["pc_id"]] = line  # a restart has given it a new name
        return answer

    async def add(self, patch: SmallWebRTCPatchRequest) -> None:
        """Add network addresses of a browser.

        Raises:
            LookupError: There is no such call.
            TooManyError: They are too many, or come too fast.
            OfferError: One is none.
        """
        line = self._lines[patch.pc_id]
        try:
            async with asyncio.timeout(ANSWER_S):
                await line.add_addresses(patch.candidates)
        except TooManyError:
            self._tell(InputRefused(transport="webrtc", reason="too_many_candidates"))
            raise
        except Exception as unreadable:
            raise OfferError("Not a candidate.") from unreadable

    def give_up(self) -> None:
        """Wait for none of those that are not connected yet."""
        for line in set(self._lines.values()):
            line.give_up()

    async def _follow(self, line: BrowserConnection, guest: Guest, begin: Begin) -> None:
        try:
            connected = await line.connects_within(CONNECT_S)
            self._room.remove(guest)
            if connected:
                await begin(line)
            else:
                self._tell(InputRefused(transport="webrtc", reason="never_connected"))
        except Exception as broken:  # noqa: BLE001 - the top of a call: it ends, and no other
            self._tell(CallFailed(where="webrtc_door", error=type(broken).__name__))
            logger.opt(exception=broken).error("a browser's call ended with a mistake of ours")
        finally:
            self._room.remove(guest)
            self._lines = {name: each for name, each in self._lines.items() if each is not line}
            await line.shut()


async def _await_answer(line: BrowserConnection, reading: Awaitable[None]) -> Mapping[str, str]:
    try:
        async with asyncio.timeout(ANSWER_S):
            await reading
    except TooManyError:
        raise
    except Exception as unreadable:  # aiortc raises whatever its parser meets in a bad SDP
        raise OfferError("The offer is not an SDP that can be answered.") from unreadable
    answer = line.get_answer()
    if answer is None:
        raise OfferError("The offer has nothing to answer.")
    return answer


def plausible(sdp: str) -> bool:
    """Say whether a text looks like a browser's offer; costs little, whatever it is.

    Its lines are counted as aiortc finds them, which ends one at a carriage return, too.
    """
    lines = sdp.splitlines()
    return (
        sdp.startswith("v=0")
        and any(each.startswith("m=audio") for each in lines)
        and len(lines) <= MAX_LINES
        and sum(each.startswith("m=") for each in lines) <= MAX_MEDIA
        and sum(each.startswith("a=candidate") for each in lines) <= MAX_ADDRESSES
    )
