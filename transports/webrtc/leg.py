"""A call from a browser, as a leg: audio over WebRTC, captions over its data channel."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputAudioRawFrame, InputDTMFFrame
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import (
    SmallWebRTCInputTransport,
    SmallWebRTCTransport,
)

from calls.events import Event
from calls.leg_events import EarMeasured, LineRestored
from transports.leg import Gone, LegFacts, PlainLeg
from transports.webrtc.connection import DOUBT_S, BrowserConnection
from transports.webrtc.output import SAMPLE_RATE_HZ, WebrtcOutput
from transports.webrtc.wire import PageKey

LOST_AFTER_S: Final = 1.0  # how long the connection must be down to count as lost
CONNECTED_CHECK_S: Final = 0.25  # whether the browser is connected
CONNECT_S: Final = 20.0  # how long the browser may take to connect after its offer


class WebrtcLeg(PlainLeg):
    """A browser's audio connection to a call.

    A page that is closed reports it. A killed browser does not, and ICE notices it only after
    half a minute. So `watch` ends the leg earlier, when the page's pings and sound have stopped for
    a while. Until then, a page whose network has changed can reconnect, and the call goes on. We
    cannot send keys to a browser, nor transfer its caller: that needs a carrier.
    """

    def __init__(self, connection: SmallWebRTCConnection, *, public: bool = False) -> None:
        """Create a leg on a browser's connection.

        Args:
            connection: The connection; a `BrowserConnection` if it is from our own page, which has
                a keypad.
            public: Whether the caller did not have to sign in.
        """
        ours = isinstance(connection, BrowserConnection)
        self.facts = LegFacts(
            transport="webrtc",
            sample_rate_hz=SAMPLE_RATE_HZ,
            keys=ours,
            screen=True,
            public=public,
        )
        self._connection = connection
        if isinstance(connection, BrowserConnection):
            connection.page.hear = self._handle_message
        self._gone: Gone | None = None
        self._connected = asyncio.Event()
        self._transport = _WebrtcTransport(
            webrtc_connection=connection,
            params=TransportParams(
                audio_in_enabled=True,
                audio_out_enabled=True,
                audio_out_10ms_chunks=2,
                audio_out_end_silence_secs=0,
            ),
        )
        self._transport.add_event_handler("on_client_connected", self._on_connected)
        self._transport.add_event_handler("on_client_disconnected", self._on_disconnected)

    def input(self) -> BaseInputTransport:
        """Return the processor that receives the caller's audio."""
        return self._transport.input()

    def output(self) -> WebrtcOutput:
        """Return the processor that plays to the caller."""
        return self._transport.output()

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the browser is gone."""
        self._gone = gone

    async def answered(self) -> None:
        """Wait until the browser is connected.

        Raises:
            TimeoutError: It did not connect within `CONNECT_S`.
        """
        async with asyncio.timeout(CONNECT_S):
            await self._connected.wait()

    async def watch(self) -> None:
        """Wait until the connection has been lost for `LOST_AFTER_S`; then report the loss.

        A shorter silence after which the browser is back is published as `LineRestored`.
        """
        await self._connected.wait()
        missing_s = 0.0
        while missing_s < LOST_AFTER_S:
            await asyncio.sleep(CONNECTED_CHECK_S)
            missing_s = 0.0 if self._connection.is_connected() else missing_s + CONNECTED_CHECK_S
            if (broken_s := self._broken_s()) >= DOUBT_S:
                self._emit_in_call(LineRestored(after_s=broken_s))
        await self._emit_gone("line_lost")

    def _broken_s(self) -> float:
        """Return the longest silence of the browser that has ended since the last call."""
        line = self._connection
        return line.quiet.take_longest_s() if isinstance(line, BrowserConnection) else 0.0

    async def _handle_message(self, message: PageKey | EarMeasured) -> None:
        """Handle a message of the page; a key is treated like one of a telephone."""
        if isinstance(message, EarMeasured):
            self._emit_in_call(message)
            return
        await self.input().push_frame(InputDTMFFrame(button=KeypadEntry(message.key)))

    def _emit_in_call(self, event: Event) -> None:
        """Publish an event of the call; drop it before the call has begun."""
        end = self.output().line_end
        if end is not None and end.emit is not None:
            end.emit(event)

    def send_on_open(self, message: dict[str, Any]) -> None:
        """Send a message once the data channel is open, before any other."""
        self._connection.send_app_message(message)  # Pipecat queues it until then

    def send_on_close(self, make_message: Callable[[], dict[str, Any]]) -> None:
        """Send the result of `make_message` right before our side closes the connection.

        It is called at that moment; a browser that is gone gets nothing.

        The pipeline closes the connection at its end, and the call can send its reason only here.
        """
        close = self._connection.disconnect

        async def send_and_close() -> None:
            try:
                self.show(make_message())
            finally:  # otherwise the open connection would keep the call and its seat
                await close()

        # Pipecat's transport closes through this one method; only this instance is changed.
        self._connection.disconnect = send_and_close  # type: ignore[method-assign]

    def show(self, message: dict[str, Any]) -> None:
        """Send a JSON message to the page, unless it has stopped reading them."""
        line = self._connection
        reads = not isinstance(line, BrowserConnection) or line.intake.reads(line._data_channel)  # noqa: SLF001 - Pipecat shows it nowhere
        if reads and line.is_connected():
            line.send_app_message(message)

    async def hang_up(self, reason: str = "") -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _on_connected(self, _transport: Any, _client: Any) -> None:
        line = self._connection
        if isinstance(line, BrowserConnection):
            line.quiet.expect()  # from now on, because a browser may be killed before any message
        self._connected.set()

    async def _on_disconnected(self, _transport: Any, _client: Any) -> None:
        await self._emit_gone("caller_hung_up")

    async def _emit_gone(self, reason: str) -> None:
        """Report the end to the listener of `on_gone`, once, with the first reason."""
        gone, self._gone = self._gone, None
        if gone:
            await gone(reason)


class _WebrtcInput(SmallWebRTCInputTransport):
    """Pipecat's input; sound also counts as a sign of life."""

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        """Record that audio arrived, which proves that the browser is there; then pass it on."""
        connection = self._client._webrtc_connection  # noqa: SLF001 - Pipecat shows it nowhere
        if isinstance(connection, BrowserConnection):
            connection.quiet.note()
        await super().push_audio_frame(frame)


class _WebrtcTransport(SmallWebRTCTransport):
    """Pipecat's transport with our input and output."""

    def input(self) -> SmallWebRTCInputTransport:
        if self._input is None:
            self._input = _WebrtcInput(self._client, self._params, name=self._input_name)
        return self._input

    def output(self) -> WebrtcOutput:
        if not isinstance(self._output, WebrtcOutput):
            self._output = WebrtcOutput(self, self._client)
        return self._output
