"""Pipecat's websocket transport, with the two directions of a media stream in it."""

from typing import Final

from fastapi import WebSocket
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)

from calls.handover import LONGEST_RING_S
from transports.leg import Gone
from transports.media_stream.input import StreamInput
from transports.media_stream.line import StreamLine
from transports.media_stream.output import StreamOutput
from transports.media_stream.serializer import StreamSerializer

SPARE_S: Final = 30.0  # in which the wait's own end comes first: a caller's way back takes 15


class StreamTransport(FastAPIWebsocketTransport):
    """Pipecat's transport with our two directions in it."""

    def __init__(self, websocket: WebSocket, line: StreamLine) -> None:
        self._line = line
        rate_hz = line.stream.rate_hz
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=rate_hz,
            audio_out_enabled=True,
            audio_out_sample_rate=rate_hz,
            audio_out_end_silence_secs=0,  # the last mark tells when the last word was played
            # What is being said waits for another stream longer than Pipecat lets a write wait, and
            # longer still where somebody is rung for a caller who has no stream yet.
            audio_out_write_timeout_secs=line.returns_within_s + LONGEST_RING_S + SPARE_S,
            serializer=StreamSerializer(line.stream),
            allowed_origins=[],  # a carrier is no browser and sends no Origin
        )
        super().__init__(websocket, params)
        self.stream_input = self._input = StreamInput(self, line)
        self.stream_output = self._output = StreamOutput(self, line)
        self._register_event_handler("on_gone")

    def on_gone(self, gone: Gone) -> None:
        """Have `gone` called when the far end has gone."""

        async def call(_: "StreamTransport", reason: str) -> None:
            await gone(reason)

        self.add_event_handler("on_gone", call)
        self._line.tell_gone = self._tell_gone

    def renew(self, websocket: WebSocket, stream_id: str) -> None:
        """Have both directions use another stream."""
        self._line.renew(websocket, stream_id)
        self._client._websocket = websocket  # noqa: SLF001 - Pipecat has no word for it

    async def _tell_gone(self, reason: str) -> None:
        # Pipecat runs handlers in tasks of the transport's own: what a handler does may end the
        # very task that noticed.
        await self._call_event_handler("on_gone", reason)
