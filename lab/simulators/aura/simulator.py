"""Deepgram's voices: a websocket that takes text and sends audio, without contexts.

Binary messages are audio, and nothing says which text they belong to. `Flush` asks for the audio of
all text, and `Flushed` follows it; `Clear` drops the text, and `Cleared` answers it.

Source: deepgram-docs, "Text to Speech WebSocket" (Speak, Flush, Clear, Close, Metadata, Flushed,
Cleared, Warning), and what Pipecat 1.14 sends.
"""

import asyncio
import json
from typing import Any, ClassVar, Final

from aiohttp import WSMsgType, web

from lab.simulators import faults
from lab.simulators.admission import Admission, RequestRefused
from lab.simulators.deepgram import errors as deepgram_errors
from lab.simulators.deepgram.results import new_id
from lab.simulators.deepgram.simulator import SCHEMES
from lab.simulators.faults import Fault
from lab.simulators.instance import ADMISSION, Core, Instance
from lab.simulators.pace import Tempo
from lab.simulators.voices.pieces import AudioPiece, encode, uneven_ends
from lab.simulators.voices.sockets import SocketContext, VoiceSocket
from lab.simulators.voices.speaking import UtteranceOver, spoken_text
from lab.simulators.voices.voices import Speech, speak, voice_of

RATES_HZ: Final = (8000, 16000, 24000, 32000, 48000)
GARBAGE: Final = b"\x00\xff\x00"  # half a sample
CLOSE_SERVER: Final = (1011, b"An unexpected error occurred")


class AuraSimulator(Instance):
    """One simulated Deepgram project that speaks, on its own port."""

    kind: ClassVar[str] = "aura"
    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.15,
        spread=0.25,
        rate=4.0,  # seconds of audio a second
        source="chosen: Deepgram states less than 0.2 s to the first audio of Aura-2",
    )

    def __init__(self, name: str, *, api_key: str | None = None, core: Core | None = None) -> None:
        super().__init__(name, api_key=api_key, core=core)
        self.voice = voice_of(name, word_by_word=core is not None and core.word_by_word)

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the websocket."""
        return [web.get("/v1/speak", self._serve_socket)]

    @property
    def url(self) -> str:
        """The websocket base."""
        return self.server.base_url("ws")

    def is_authorised(self, request: web.Request) -> bool:
        """Accept the key in the header."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() in SCHEMES and key == self.api_key

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return Deepgram's answer for an HTTP error."""
        return deepgram_errors.response(status, code=code, retry_after_s=retry_after_s)

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        """Serve a websocket; refuse a model, rate or encoding that Deepgram does not have."""
        admission = await self.admit(request)
        query = request.query
        rate = query.get("sample_rate", "24000")
        wrong = not query.get("model", "").startswith("aura") or int(rate) not in RATES_HZ
        if wrong or query.get("encoding", "linear16") != "linear16":
            admission.mark_malformed(f"query {request.query_string}")
            raise RequestRefused(self.error_response(400))
        return await AuraSocket(self, self.voice, request, rate_hz=int(rate)).serve()


class AuraChannel:
    """The audio of one reply on its socket."""

    def __init__(self, socket: "AuraSocket", admission: Admission) -> None:
        self.closing = False
        self.piece_end = uneven_ends(admission)
        self._socket = socket

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send audio; a fault may tear a sample."""
        audio = encode(piece.samples, "pcm_s16le")
        torn = fault == faults.Mistaken(what="odd_pcm")
        await self._socket.ws.send_bytes(audio[:-1] if torn else audio)

    async def garbage(self) -> None:
        """Send bytes that are not whole samples."""
        await self._socket.ws.send_bytes(GARBAGE)

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Close with an error: there are no error messages."""
        del code, with_id
        self.closing = True
        close = CLOSE_SERVER if status >= 500 else (1008, f"DATA-{status:04d}".encode())
        await self._socket.ws.close(code=close[0], message=close[1])

    async def quota(self, code: str | None) -> None:
        """Close like an account without credit."""
        await self.failure(402, code, with_id=False)

    async def close(self) -> None:
        """Close the socket cleanly."""
        self.closing = True
        await self._socket.close()

    def reset(self) -> None:
        """Break the socket."""
        self._socket.reset()


class AuraReply(SocketContext[str]):
    """The texts up to one `Flush`."""

    def __init__(self, socket: "AuraSocket", name: str, *, admission: Admission) -> None:
        self._channel = AuraChannel(socket, admission)
        super().__init__(socket.instance, name, admission=admission, channel=self._channel)
        self._socket = socket
        self._cleared = False

    @property
    def is_closing(self) -> bool:
        """Whether the reply itself is closing the socket."""
        return self._channel.closing

    def put(self, text: str) -> None:
        """Queue a text; an empty one ends the reply."""
        self._queue_input(text, text, "en")

    def clear(self) -> None:
        """Cancel the reply: drop what is not sent. A faulty server goes on for a while."""
        self._cleared = True
        self._admission.close("cancelled")
        late = isinstance(self._admission.fault_now(), faults.LateAfterCancel)
        if self._task is not None and not late:
            self._task.cancel()

    async def _run(self) -> None:
        """Speak each text until the empty one, then end the reply."""
        spoken: Speech | None = None
        try:
            while text := await self._inbox.get():
                text = spoken_text(text, self._admission.fault_now())
                if not text.strip():
                    continue
                spoken = await speak(
                    text, voice=self._socket.voice, rate_hz=self._socket.rate_hz, language="en"
                )
                await self._utterance.say(spoken, fresh=not self._utterance.begun)
                if self._cleared:
                    break
            await self._end_reply(spoken)
        except (UtteranceOver, ConnectionError):
            pass
        finally:
            self._admission.close("connection gone")  # no effect if it is already closed

    async def _end_reply(self, spoken: Speech | None) -> None:
        """Send `Flushed`; after a clear, send nothing, or late audio if the fault demands it."""
        fault = self._admission.fault_now()
        if self._cleared:
            if spoken is not None and isinstance(fault, faults.LateAfterCancel):
                await self._utterance.repeat(spoken, for_s=fault.delay_s)
            return
        if fault != faults.Mistaken(what="no_final"):
            await self._socket.send({"type": "Flushed", "sequence_id": 0})
        self._admission.close("done")


class AuraSocket(VoiceSocket[AuraReply]):
    """One websocket of one client."""

    def __init__(
        self, instance: AuraSimulator, voice: Any, request: web.Request, *, rate_hz: int
    ) -> None:
        super().__init__(instance, voice, request)
        self.rate_hz = rate_hz
        self.ws.headers[deepgram_errors.REQUEST_ID] = new_id()
        self._replies = 0
        self._current: AuraReply | None = None

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        """Take messages until the client closes the socket, or asks to close it."""
        await self.send({"type": "Metadata", "request_id": new_id(), "model_name": "aura-2"})
        async for message in self.ws:
            if message.type is not WSMsgType.TEXT:
                self._request[ADMISSION].mark_malformed("a binary message")
                continue
            asked = json.loads(message.data)
            if asked.get("type") == "Close":
                break
            await self._obey_message(asked, tasks)
        await self.close()

    async def _obey_message(self, asked: dict[str, Any], tasks: asyncio.TaskGroup) -> None:
        """Carry out a message; answer an unknown one with a warning."""
        match asked:
            case {"type": "Speak", "text": str(text)}:
                self._current_or_new_reply(tasks).put(text)
            case {"type": "Flush"}:
                self._current_or_new_reply(tasks).put("")
                self._current = None
            case {"type": "Clear"}:
                for reply in self._contexts.values():
                    reply.clear()
                self._contexts.clear()
                self._current = None
                await self.send({"type": "Cleared", "sequence_id": 0})
            case _:
                self._request[ADMISSION].mark_malformed(str(asked.get("type")))
                await self.send({"type": "Warning", "description": "unknown", "code": "DATA-0000"})

    def _current_or_new_reply(self, tasks: asyncio.TaskGroup) -> AuraReply:
        """Return the current reply; begin one, as a request of its own, if there is none."""
        if self._current is None:
            self._replies += 1
            name = str(self._replies)
            self._current = AuraReply(self, name, admission=self._admit_context(name))
            self._contexts[name] = self._current
            self._current.start(tasks)
        return self._current
