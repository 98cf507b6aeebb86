"""A browser's peer connection with limits on its messages and time.

Pipecat's own parses every message of a data channel, logs what it cannot parse, passes the rest
into the pipeline, and keeps it without bound before the call is connected. It does not support ICE
restarts either: a browser whose network changed reconnects here (`ice_restart.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiortc import RTCDataChannel, RTCIceServer, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from loguru import logger
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.request_handler import IceCandidate

from calls.entry import Emit
from transports.far_end import FloodLimit, Quiet
from transports.leg import Clock
from transports.webrtc import ice_restart
from transports.webrtc.candidate_rules import CandidateFilter
from transports.webrtc.ice_restart import IceNames, names_in, transports_of
from transports.webrtc.intake import BrowserIntake, hand_on_early
from transports.webrtc.wire import PageMessages

MAX_CANDIDATES: Final = 64  # between two offers; a browser with several networks has a dozen
PATCHES_PER_S: Final = 10.0
PATCHES_CAP: Final = 40.0  # browsers send each address separately
MAX_NEGOTIATIONS: Final = 10  # of one call, after the first
DOUBT_S: Final = 1.2  # without sound or ping: sound arrives every 20 ms, a ping every second
LOST_S: Final = 7.0  # then the line is final: a page gives up on it after 4 s
CLOSE_S: Final = 5.0
PART_S: Final = 2.0  # for the last message to a browser that has just connected
LOOK_S: Final = 0.05


class TooManyError(Exception):
    """A browser sent more messages of a kind than any call needs."""


class BrowserConnection(SmallWebRTCConnection):
    """One browser's connection, from its offer to the end of its call."""

    def __init__(
        self,
        *,
        emit: Emit,
        clock: Clock,
        ice_servers: Sequence[RTCIceServer] = (),
        allows_private: bool = True,
        allows_loopback: bool = True,
    ) -> None:
        """Wait for an offer.

        Args:
            emit: Takes events about refused messages.
            clock: Monotonic seconds.
            allows_private: Whether the browser may be on one of our networks.
            allows_loopback: Whether it runs on this machine.
            ice_servers: Servers to reach us through; the first STUN and the first TURN count.
        """
        # Before Pipecat's own, which sets up the listeners.
        self._settled = asyncio.Event()
        self.quiet = Quiet(clock)  # time without sound or messages from the browser
        self.page = PageMessages(emit=emit, heard=self.quiet.note)
        self.intake = BrowserIntake(clock=clock, refused=self.page.refused, on_over=self.give_up)
        self._theirs: IceNames | None = None
        self._filter = CandidateFilter(
            allows_private=allows_private, allows_loopback=allows_loopback
        )
        self._patches = FloodLimit(per_s=PATCHES_PER_S, cap=PATCHES_CAP)
        self._candidates_left = MAX_CANDIDATES
        self._negotiations_left = MAX_NEGOTIATIONS
        super().__init__(ice_servers=list(ice_servers))
        for name in ("video_input_track", "screen_video_input_track"):
            setattr(self, name, lambda: None)  # offers of video are refused; Pipecat logs a warning

    def is_connected(self) -> bool:
        """Return whether the browser is connected, or may be again in a moment.

        Pipecat's own relies only on pings, and drops messages in the fourth second without one.
        """
        alive = self.pc.connectionState == "connected" and self.quiet.now_s < LOST_S
        return self._connect_invoked and alive

    async def connects_within(self, wait_s: float) -> bool:
        """Return whether the browser connected in time and `give_up` was not called."""
        try:
            async with asyncio.timeout(wait_s):
                await self._settled.wait()
        except TimeoutError:
            return False
        return self.pc.connectionState == "connected" and not self.intake.over

    def give_up(self) -> None:
        """Stop waiting for the browser."""
        self._settled.set()

    async def negotiate_again(self, *, sdp: str, type: str, restart_pc: bool) -> None:  # noqa: A002 - as Pipecat calls it
        """Answer another offer for the same call.

        Raises:
            TooManyError: There were too many.
        """
        if not self._negotiations_left:
            raise TooManyError
        self._negotiations_left -= 1
        self._candidates_left = MAX_CANDIDATES
        self._filter.renew()
        await self.renegotiate(sdp=sdp, type=type, restart_pc=restart_pc)

    async def _create_answer(self, sdp: str, type: str) -> None:  # noqa: A002 - as Pipecat calls it
        """Answer an offer as Pipecat does, and handle an ICE restart."""
        sdp = self._filter.without_others(sdp)
        before, self._theirs = self._theirs, names_in(sdp)
        restarts = before is not None and self._theirs not in (None, before)
        if restarts and self._theirs:
            for way in transports_of(self._pc):
                await ice_restart.restart(way, self._theirs)
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type=type))
        self.force_transceivers_to_send_recv()
        if before is None:
            hand_on_early(self._pc)
            for way in transports_of(self._pc):
                ice_restart.make_quick(way)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        self.intake.watch(self._pc)
        self._answer = self._pc.localDescription
        self._check()

    def _check(self) -> None:
        """Try new addresses at once; the first checks, if they still run, include them anyway."""
        if self._filter.excess:
            self.page.refused("too_many_candidates")
        if self._negotiations_left < MAX_NEGOTIATIONS:
            for way in transports_of(self._pc):
                ice_restart.check(way)

    async def add_addresses(self, addresses: list[IceCandidate]) -> None:
        """Add the browser's network addresses.

        Raises:
            TooManyError: There were too many, or they arrived too fast.
            ValueError: One is malformed.
        """
        self._candidates_left -= len(addresses)
        if self._candidates_left < 0 or not await self._patches.take(1):
            raise TooManyError
        for address in addresses:
            candidate = None  # an empty one marks the end (RFC 8840)
            if address.candidate:
                candidate = candidate_from_sdp(address.candidate)
                if not self._filter.keeps(address.candidate.removeprefix("candidate:")):
                    continue
                candidate.sdpMid = address.sdp_mid
                candidate.sdpMLineIndex = address.sdp_mline_index
            await self.add_ice_candidate(candidate)
        self._check()

    async def part(self, message: dict[str, Any]) -> None:
        """Send the reason to a browser without a call, and wait until it has arrived."""
        self.send_app_message(message)  # waits for the open data channel
        try:
            async with asyncio.timeout(PART_S):
                while not _said_all(self._data_channel):  # noqa: ASYNC110 - aiortc has no event for it
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return

    async def _close(self) -> None:
        """Close once and completely, even if one of several callers is cancelled.

        No caller waits for longer than `CLOSE_S`.

        aiortc's own close, if interrupted, keeps its sockets, and later ones wait for ever.
        """
        if self._closing is None:
            for way in transports_of(self._pc):
                ice_restart.part_quickly(way)
            closing = super()._close()
            self._closing = asyncio.create_task(closing)  # noqa: TID251 - ends in seconds, kept here
        done, _ = await asyncio.wait({self._closing}, timeout=CLOSE_S)  # it goes on after our wait
        for closed in done:
            closed.result()
        if not done:
            logger.warning("a peer connection did not close within {:g} s", CLOSE_S)

    async def shut(self) -> None:
        """Close everything that is still open, in any state; never raises."""
        try:
            await self._close()
        except Exception as broken:  # noqa: BLE001 - aiortc raises whatever a half-made connection meets
            logger.warning("a peer connection did not close: {}", type(broken).__name__)

    def _setup_listeners(self) -> None:
        super()._setup_listeners()
        self._theirs = None  # a new peer connection has no remote end
        self._closing: asyncio.Task[None] | None = None
        channels: list[RTCDataChannel] = []

        @self._pc.on("connectionstatechange")
        def settle() -> None:
            if self._pc.connectionState in {"connected", "failed", "closed"}:
                self._settled.set()

        @self._pc.on("datachannel")
        def bound(channel: RTCDataChannel) -> None:
            channels.append(channel)
            heard = _unheard(channel)
            if len(channels) == 1:
                channel.on("message", _pass_bounded(self.page, heard))
                return
            self.page.refused("second_data_channel")
            self._data_channel = channels.pop(0)
            channels[:] = [self._data_channel]
            channel.close()


def _pass_bounded(
    page: PageMessages, heard: list[Callable[..., Any]]
) -> Callable[[str | bytes], Awaitable[None]]:
    async def on_message(message: str | bytes) -> None:
        if await page.take(message):
            for item in heard:
                await item(message)

    return on_message


def _said_all(channel: RTCDataChannel | None) -> bool:
    return channel is not None and channel.readyState == "open" and not channel.bufferedAmount


def _unheard(channel: RTCDataChannel) -> list[Callable[..., Any]]:
    """Remove a channel's listeners, and return them."""
    heard = list(channel.listeners("message"))
    for listener in heard:
        channel.remove_listener("message", listener)
    return heard
