"""A recogniser of an owner's with a protocol of its own, and its simulator.

The client says `OPEN key rate`, sends audio, and may say `FLUSH`. The server says `SOME words`,
`ALL words` and `ERR status text`. The service was written as simply as Pipecat allows.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar

from aiohttp import WSMsgType, web
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import WebsocketSTTService
from pipecat.utils.time import time_now_iso8601
from websockets.protocol import State

from lab.simulators.admission import Admission
from lab.simulators.ears.heard import HeardAudio
from lab.simulators.recognisers.stream import Message, RecogniserDialect, RecogniserInstance, Said

SERVICE = f"{__name__}:OwnRecogniser"


class OwnRecogniser(WebsocketSTTService):
    """Connects, reads lines, and flushes when the caller stops if `flushes`."""

    def __init__(
        self,
        *,
        token: str,
        endpoint: str,
        sample_rate: int | None = None,
        flushes: bool = False,
        **kwargs: Any,
    ) -> None:
        settings = STTSettings(model="own", language=None)
        super().__init__(sample_rate=sample_rate, settings=settings, **kwargs)
        self._token, self._endpoint, self._flushes = token, endpoint, flushes
        self._reading: Any = None

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        await self._connect()

    async def _connect(self) -> None:
        await super()._connect()
        await self._connect_websocket()
        self._reading = self.create_task(self._receive_task_handler(self._report_error))

    async def _disconnect(self) -> None:
        await super()._disconnect()
        if self._reading:
            await self.cancel_task(self._reading)
        await self._disconnect_websocket()

    async def _connect_websocket(self) -> None:
        try:
            headers = {"Authorization": f"Bearer {self._token}"}
            socket = await self._websocket_connect(self._endpoint, additional_headers=headers)
            await socket.send(f"OPEN {self.sample_rate}")
            self._websocket = socket
        except Exception as error:  # noqa: BLE001 - as Pipecat's services do
            await self.push_error(f"no connection: {error}", exception=error)

    async def _disconnect_websocket(self) -> None:
        if self._websocket:
            await self._websocket.close()
        self._websocket = None

    async def _receive_messages(self) -> None:
        if self._websocket is None:
            raise RuntimeError("no connection")
        async for message in self._websocket:
            what, _, words = message.partition(" ")
            if what == "ERR":
                await self.push_error(f"error {words}")
            elif words:
                kind = TranscriptionFrame if what == "ALL" else InterimTranscriptionFrame
                await self.push_frame(kind(words, self._user_id, time_now_iso8601()))

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        if self._websocket and self._websocket.state is State.OPEN:
            await self._websocket.send(audio)
        yield None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        stopped = isinstance(frame, VADUserStoppedSpeakingFrame)
        if stopped and self._flushes and self._websocket:
            await self._websocket.send("FLUSH")


class OwnDialect(RecogniserDialect):
    """Lines."""

    def opening(self) -> Sequence[Message]:
        return ("HELLO",)

    def results(self, heard: HeardAudio, *, asked: bool) -> Sequence[Message]:
        del asked
        words = " ".join(word.text for word in heard.words)
        return (f"{'SOME' if heard.what == 'interim' else 'ALL'} {words}",)

    def error(self, status: int, code: str | None) -> Message:
        return f"ERR {status} {code}"

    def said(self, text: str) -> Said:
        return "finish" if text == "FLUSH" else "unknown"

    def closing(self) -> Sequence[Message]:
        return ()


class OwnSimulator(RecogniserInstance):
    """Its server; results become final in a pause, too."""

    kind: ClassVar[str] = "own"
    endpoint_s: ClassVar[float | None] = 0.3

    async def open(
        self, request: web.Request, admission: Admission, ws: web.WebSocketResponse
    ) -> tuple[RecogniserDialect, int]:
        del request, admission
        message = await ws.receive()
        assert message.type is WSMsgType.TEXT
        return OwnDialect(), int(message.data.partition(" ")[2])
