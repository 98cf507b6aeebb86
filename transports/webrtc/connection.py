"""A browser's peer connection with limits on its messages and time.

Pipecat's own connection parses every message of a data channel, logs those that it cannot parse,
and passes the others into the pipeline. Before the call is connected, it keeps them without limit.
It does not support ICE restarts either. With one, a browser reconnects after its network has
changed (`ice_restart.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiortc import RTCDataChannel, RTCIceServer, RTCSessionDescription
from aiortc.rtcdtlstransport import X509_DIGEST_ALGORITHMS
from aiortc.sdp import SessionDescription, candidate_from_sdp
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
# After this time without sound or a ping, the browser may not hear us. Sound arrives every 20 ms,
# and a ping every second.
DOUBT_S: Final = 1.2
LOST_S: Final = 7.0  # after this time the line counts as lost; a page gives up after 4 s
CLOSE_PEER_S: Final = 5.0
LAST_MESSAGE_S: Final = (
    2.0  # how long the last message may take to a browser that has just connected
)
SENT_CHECK_S: Final = 0.05  # whether it was sent


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
        """Create a connection without an offer.

        Args:
            emit: Publishes events about refused messages.
            clock: The time in seconds; monotonic.
            allows_private: Whether the browser may be on one of our networks.
            allows_loopback: Whether the browser runs on this machine.
            ice_servers: Servers through which we can be reached; only the first STUN server and the
                first TURN server are used.
        """
        # These are needed by the listeners, which Pipecat's `__init__` sets up.
        self._settled = asyncio.Event()
        self.quiet = Quiet(clock)  # time without sound or messages from the browser
        self.page = PageMessages(emit=emit, heard=self.quiet.note)
        self.intake = BrowserIntake(clock=clock, refused=self.page.refused, on_over=self.give_up)
        self._theirs: IceNames | None = None  # of the browser's latest offer
        self._filter = CandidateFilter(
            allows_private=allows_private, allows_loopback=allows_loopback
        )
        self._patches = FloodLimit(per_s=PATCHES_PER_S, cap=PATCHES_CAP)
        self._candidates_left = MAX_CANDIDATES
        self._negotiations_left = MAX_NEGOTIATIONS
        super().__init__(ice_servers=list(ice_servers))
        for name in ("video_input_track", "screen_video_input_track"):
            setattr(self, name, lambda: None)  # video is refused; Pipecat would log a warning

    def is_connected(self) -> bool:
        """Return whether the browser is connected, or may soon be connected again.

        Pipecat's own method uses only pings, and drops messages in the fourth second without one.
        """
        alive = self.pc.connectionState == "connected" and self.quiet.now_s < LOST_S
        return self._connect_invoked and alive

    async def connects_within(self, wait_s: float) -> bool:
        """Wait for the browser; return whether it connected within `wait_s`, and keeps the limits.

        A failed connection and `give_up` end the wait.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._settled.wait()
        except TimeoutError:
            return False
        return self.pc.connectionState == "connected" and not self.intake.over

    def give_up(self) -> None:
        """End the wait in `connects_within`, also a later one."""
        self._settled.set()

    async def negotiate_again(self, *, sdp: str, type: str, restart_pc: bool) -> None:  # noqa: A002 - as Pipecat calls it
        """Answer another offer for the same call, which has a new limit of addresses.

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
        """Answer an offer as Pipecat does, and handle an ICE restart.

        The offer is untrusted: its candidates are filtered, and what the browser sends is limited
        before it gets the answer.

        Raises:
            ValueError: It has no fingerprint of a kind that aiortc knows.
        """
        sdp = self._filter.without_others(sdp)
        _check_fingerprint(sdp)
        previous, self._theirs = self._theirs, names_in(sdp)
        restarts = previous is not None and self._theirs not in (None, previous)
        if restarts and self._theirs:  # the second test is for the type checker
            for transport in transports_of(self._pc):
                await ice_restart.restart(transport, self._theirs)
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type=type))
        self.force_transceivers_to_send_recv()
        if previous is None:
            hand_on_early(self._pc)
            for transport in transports_of(self._pc):
                ice_restart.make_quick(transport)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        self.intake.watch(self._pc)
        self._answer = self._pc.localDescription
        self._check_candidates()

    def _check_candidates(self) -> None:
        """Report excess addresses, once; after a second offer, try new ones, as aiortc does not."""
        if self._filter.excess:
            self.page.refused("too_many_candidates")
        if self._negotiations_left < MAX_NEGOTIATIONS:
            for transport in transports_of(self._pc):
                ice_restart.try_untried_pairs(transport)

    async def add_addresses(self, addresses: list[IceCandidate]) -> None:
        """Add network addresses of the browser.

        Raises:
            TooManyError: There were too many, or they arrived too fast.
            ValueError: An address is malformed.
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
        self._check_candidates()

    async def send_last(self, message: dict[str, Any]) -> None:
        """Send a browser that gets no call a last message; wait at most `LAST_MESSAGE_S` for it."""
        self.send_app_message(message)  # Pipecat queues it until the data channel is open
        try:
            async with asyncio.timeout(LAST_MESSAGE_S):
                while not _all_sent(self._data_channel):  # noqa: ASYNC110 - aiortc has no event for it
                    await asyncio.sleep(SENT_CHECK_S)
        except TimeoutError:
            return

    async def _close(self) -> None:
        """Close the connection, waiting at most `CLOSE_PEER_S`.

        All callers wait for one task, which goes on if a caller is cancelled. If aiortc's own close
        were cancelled, the sockets would stay open, and a later close would wait for ever.
        """
        if self._closing is None:
            for transport in transports_of(self._pc):
                ice_restart.part_quickly(transport)
            closing = super()._close()
            self._closing = asyncio.create_task(closing)  # noqa: TID251 - ends in seconds, kept here
        done, _ = await asyncio.wait(
            {self._closing}, timeout=CLOSE_PEER_S
        )  # the task goes on after it
        for closed in done:
            closed.result()
        if not done:
            logger.warning("a peer connection did not close within {:g} s", CLOSE_PEER_S)

    async def shut(self) -> None:
        """Close the connection in any state; never raises."""
        try:
            await self._close()
        except Exception as error:  # noqa: BLE001 - on a half-made connection aiortc may raise anything
            logger.warning("a peer connection did not close: {}", type(error).__name__)

    def _setup_listeners(self) -> None:
        """Also record the connection's state, and filter the messages of its one data channel."""
        super()._setup_listeners()
        self._theirs = None  # a new peer connection has not had an offer
        self._closing: asyncio.Task[None] | None = None
        channels: list[RTCDataChannel] = []

        @self._pc.on("connectionstatechange")
        def settle() -> None:
            if self._pc.connectionState in {"connected", "failed", "closed"}:
                self._settled.set()

        @self._pc.on("datachannel")
        def accept(channel: RTCDataChannel) -> None:
            """Let the first data channel's messages through a check; close every other channel."""
            channels.append(channel)
            listeners = _remove_listeners(channel)
            if len(channels) == 1:
                channel.on("message", _checking_listener(self.page, listeners))
                return
            self.page.refused("second_data_channel")
            self._data_channel = channels[0]  # Pipecat's own listener has replaced it
            del channels[1:]
            channel.close()


def _checking_listener(
    page: PageMessages, listeners: list[Callable[..., Any]]
) -> Callable[[str | bytes], Awaitable[None]]:
    """Return a listener that passes to these listeners only the messages that Pipecat needs."""

    async def on_message(message: str | bytes) -> None:
        if await page.take(message):
            for listener in listeners:
                await listener(message)

    return on_message


def _check_fingerprint(sdp: str) -> None:
    """Check an offer's fingerprint, without which aiortc would fail later, in a task of its own.

    Raises:
        ValueError: It has no fingerprint of a kind that aiortc knows.
    """
    offer = SessionDescription.parse(sdp)
    bundled = {item for group in offer.group if len(group.items) > 1 for item in group.items}
    for media in offer.media:
        if media.kind != "audio" and media.rtp.muxId in bundled:
            continue  # it uses the transport of the sound (RFC 8843)
        fingerprints = media.dtls.fingerprints if media.dtls else ()
        if not any(item.algorithm.lower() in X509_DIGEST_ALGORITHMS for item in fingerprints):
            raise ValueError("no fingerprint")


def _all_sent(channel: RTCDataChannel | None) -> bool:
    return channel is not None and channel.readyState == "open" and not channel.bufferedAmount


def _remove_listeners(channel: RTCDataChannel) -> list[Callable[..., Any]]:
    """Remove a channel's message listeners, and return them."""
    listeners = list(channel.listeners("message"))
    for listener in listeners:
        channel.remove_listener("message", listener)
    return listeners
