"""A browser's peer connection with bounds: what it may say, how often, and how long it may take.

Pipecat's own parses whatever comes over a data channel, logs what it cannot parse, hands the rest
into the pipeline, and keeps it without bound before the call is connected. Ours needs two kinds of
message: the ping, and whether a track is sent.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCDataChannel
from aiortc.sdp import candidate_from_sdp
from loguru import logger
from pipecat.transports.smallwebrtc.connection import SIGNALLING_TYPE, SmallWebRTCConnection
from pipecat.transports.smallwebrtc.request_handler import IceCandidate

from calls.entry import Tell
from calls.events import InputRefused
from transports.flood_limit import FloodLimit

MAX_MESSAGE_CHARS: Final = 1000  # a ping has 20, the status of a track 100
MESSAGES_PER_S: Final = 10.0  # the page pings once a second
MESSAGES_CAP: Final = 50.0
MAX_CANDIDATES: Final = 64  # in the whole call; a browser with several networks has a dozen
PATCHES_PER_S: Final = 10.0
PATCHES_CAP: Final = 40.0  # browsers send each address by itself
MAX_NEGOTIATIONS: Final = 10  # of one call, after the first
RECEIVERS: Final = 3  # Pipecat knows a microphone, a camera and a screen
CLOSE_S: Final = 5.0
PART_S: Final = 2.0  # for last words to a browser that has just connected
LOOK_S: Final = 0.05


class TooManyError(Exception):
    """A browser sent more of something than any call needs."""


class BrowserConnection(SmallWebRTCConnection):
    """One browser's connection, from its offer to the end of its call."""

    def __init__(self, *, tell: Tell) -> None:
        # Before Pipecat's own: that sets up the listeners.
        self._settled = asyncio.Event()
        self._tell = tell
        self._told: set[str] = set()
        self._messages = FloodLimit(per_s=MESSAGES_PER_S, cap=MESSAGES_CAP)
        self._patches = FloodLimit(per_s=PATCHES_PER_S, cap=PATCHES_CAP)
        self._candidates_left = MAX_CANDIDATES
        self._negotiations_left = MAX_NEGOTIATIONS
        super().__init__()

    async def connects_within(self, wait_s: float) -> bool:
        """Return whether the browser was connected in time, and `give_up` was not called."""
        try:
            async with asyncio.timeout(wait_s):
                await self._settled.wait()
        except TimeoutError:
            return False
        return self.pc.connectionState == "connected"

    def give_up(self) -> None:
        """Wait for the browser no longer."""
        self._settled.set()

    async def negotiate_again(self, *, sdp: str, type: str, restart_pc: bool) -> None:  # noqa: A002 - as Pipecat calls it
        """Take another offer for the same call.

        Raises:
            TooManyError: There were too many.
        """
        if not self._negotiations_left:
            raise TooManyError
        self._negotiations_left -= 1
        await self.renegotiate(sdp=sdp, type=type, restart_pc=restart_pc)

    async def add_addresses(self, addresses: list[IceCandidate]) -> None:
        """Take more of the browser's network addresses.

        Raises:
            TooManyError: There were too many, or they come too fast.
            ValueError: One is none.
        """
        self._candidates_left -= len(addresses)
        if self._candidates_left < 0 or not await self._patches.take(1):
            raise TooManyError
        for each in addresses:
            candidate = None  # an empty one is the end of them (RFC 8840)
            if each.candidate:
                candidate = candidate_from_sdp(each.candidate)
                candidate.sdpMid = each.sdp_mid
                candidate.sdpMLineIndex = each.sdp_mline_index
            await self.add_ice_candidate(candidate)

    async def part(self, message: dict[str, Any]) -> None:
        """Tell a browser that has no call why, and give the words the time to arrive."""
        self.send_app_message(message)  # waits until the data channel is open
        try:
            async with asyncio.timeout(PART_S):
                while not self._said_all():  # noqa: ASYNC110 - aiortc has no event for it
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return

    def _said_all(self) -> bool:
        channel = self._data_channel
        return channel is not None and channel.readyState == "open" and not channel.bufferedAmount

    async def shut(self) -> None:
        """Close what is still open, whatever state it is in; never raises."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._close()
        except Exception as broken:  # noqa: BLE001 - aiortc raises whatever a half-made connection meets
            logger.warning("a peer connection did not close: {}", type(broken).__name__)

    def _setup_listeners(self) -> None:
        super()._setup_listeners()
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
                channel.on("message", self._bounded(heard))
                return
            self._refused("second_data_channel")
            self._data_channel = channels.pop(0)
            channels[:] = [self._data_channel]
            channel.close()

    def _bounded(self, heard: list[Callable[..., Any]]) -> Callable[..., Any]:
        async def on_message(message: str | bytes) -> None:
            if not isinstance(message, str) or len(message) > MAX_MESSAGE_CHARS:
                self._refused("data_message_too_big")
            elif not await self._messages.take(1):
                self._refused("data_messages_too_fast")
            elif not wanted(message):
                self._refused("unknown_data_message")
            else:
                for each in heard:
                    await each(message)

        return on_message

    def _refused(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self._tell(InputRefused(transport="webrtc", reason=reason))


def _unheard(channel: RTCDataChannel) -> list[Callable[..., Any]]:
    """Take a channel's listeners off, and return them."""
    heard = list(channel.listeners("message"))
    for each in heard:
        channel.remove_listener("message", each)
    return heard


def wanted(message: str) -> bool:
    """Say whether a text is of a kind that a call needs: a ping, or the status of a track."""
    if message.startswith("ping"):
        return True
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        return False
    match fields:
        case {"type": kind, "message": {"type": "trackStatus", "receiver_index": int(index)} as of}:
            known = kind == SIGNALLING_TYPE and index in range(RECEIVERS)
            return known and isinstance(of.get("enabled"), bool)
        case _:
            return False
