"""The browser's telephone: audio over WebRTC, captions over its data channel."""

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

LOST_AFTER_S: Final = 1.0  # on top of the 3 s without a ping after which Pipecat sees no peer
LOOK_EVERY_S: Final = 0.25
CONNECT_S: Final = 20.0  # an offer whose browser never connects


class WebrtcLeg(PlainLeg):
    """One browser.

    A page that is closed says so. A browser that is killed does not, and ICE notices only after
    half a minute: the page's pings and sound stop, and `watch` ends the leg. Until then a page that
    has changed its network finds its way back, and the call has gone on. It cannot be sent keys,
    and nobody can be called from it: those are a carrier's.
    """

    def __init__(self, connection: SmallWebRTCConnection) -> None:
        """Have a leg on a connection: of our own page, or of another one without a keypad."""
        ours = isinstance(connection, BrowserConnection)
        self.facts = LegFacts(transport="webrtc", sample_rate_hz=SAMPLE_RATE_HZ, keys=ours)
        self._connection = connection
        if isinstance(connection, BrowserConnection):
            connection.page.hear = self._hear
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
        """Return the processor that brings the caller's audio."""
        return self._transport.input()

    def output(self) -> WebrtcOutput:
        """Return the processor that plays to the caller."""
        return self._transport.output()

    def on_gone(self, gone: Gone) -> None:
        """Have `gone` called when the browser has gone."""
        self._gone = gone

    async def answered(self) -> None:
        """Return once the browser is connected.

        Raises:
            TimeoutError: It never was.
        """
        async with asyncio.timeout(CONNECT_S):
            await self._connected.wait()

    async def watch(self) -> None:
        """Return when nothing has come of the browser for long; tell `gone` before."""
        await self._connected.wait()
        missing_s = 0.0
        while missing_s < LOST_AFTER_S:
            await asyncio.sleep(LOOK_EVERY_S)
            missing_s = 0.0 if self._connection.is_connected() else missing_s + LOOK_EVERY_S
            if (broken_s := self._broken_s()) >= DOUBT_S:
                self._tell(LineRestored(after_s=broken_s))
        await self._tell_gone("line_lost")

    def _broken_s(self) -> float:
        """Return for how long nothing had come of the browser when something came again."""
        line = self._connection
        return line.quiet.take_longest_s() if isinstance(line, BrowserConnection) else 0.0

    async def _hear(self, said: PageKey | EarMeasured) -> None:
        """Handle what the page said: a key goes the way of a telephone's."""
        if isinstance(said, EarMeasured):
            self._tell(said)
            return
        await self.input().push_frame(InputDTMFFrame(button=KeypadEntry(said.key)))

    def _tell(self, event: Event) -> None:
        end = self.output().line_end
        if end is not None and end.tell is not None:
            end.tell(event)

    def greet_with(self, message: dict[str, Any]) -> None:
        """Send this first of all, as soon as the page listens."""
        self._connection.send_app_message(message)  # queued until the data channel opens

    def part_with(self, words: Callable[[], dict[str, Any]]) -> None:
        """Send what `words` returns last of all, when our side closes the connection.

        A pipeline's end closes it before its call can say why: nothing later would arrive.
        """
        close = self._connection.disconnect

        async def tell_and_close() -> None:
            try:
                self.show(words())
            finally:  # a line that is not closed keeps its call, and its seat
                await close()

        # Pipecat's transport closes through this one method, and only this instance is changed.
        self._connection.disconnect = tell_and_close  # type: ignore[method-assign]

    def show(self, message: dict[str, Any]) -> None:
        """Send a JSON message to the page."""
        if self._connection.is_connected():
            self._connection.send_app_message(message)

    async def hang_up(self, reason: str = "") -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _on_connected(self, _transport: Any, _client: Any) -> None:
        line = self._connection
        if isinstance(line, BrowserConnection):
            line.quiet.expect()  # one that is killed at once never sends the first thing
        self._connected.set()

    async def _on_disconnected(self, _transport: Any, _client: Any) -> None:
        await self._tell_gone("caller_hung_up")

    async def _tell_gone(self, reason: str) -> None:
        gone, self._gone = self._gone, None
        if gone:
            await gone(reason)


class _WebrtcInput(SmallWebRTCInputTransport):
    """Pipecat's input, whose sound shows that the line lives."""

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        connection = self._client._webrtc_connection  # noqa: SLF001 - Pipecat shows it nowhere
        if isinstance(connection, BrowserConnection):
            connection.quiet.note()
        await super().push_audio_frame(frame)


class _WebrtcTransport(SmallWebRTCTransport):
    """Pipecat's transport with our two directions in it."""

    def input(self) -> SmallWebRTCInputTransport:
        if self._input is None:
            self._input = _WebrtcInput(self._client, self._params, name=self._input_name)
        return self._input

    def output(self) -> WebrtcOutput:
        if not isinstance(self._output, WebrtcOutput):
            self._output = WebrtcOutput(self, self._client)
        return self._output
