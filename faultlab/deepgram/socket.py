"""One open `/v1/listen` stream: audio and messages in, what the ears hear out.

Source: deepgram-docs, "Finalize", "Audio Keep Alive", "Close Stream", "Utterance End" and
"WebSocket DATA and NET errors".
"""

import asyncio
import hashlib
import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from aiohttp import WSMsgType

from faultlab.admission import POLL_S
from faultlab.clock import monotonic
from faultlab.deepgram.errors import CLOSE_BAD_DATA, CLOSE_NO_DATA
from faultlab.deepgram.results import Teller, error
from faultlab.deepgram.sender import DeepgramStream, Sender, StreamOver
from faultlab.ears.ears import EarsError, EarStream
from faultlab.ears.heard import HeardAudio
from faultlab.ears.intake import ENCODINGS
from faultlab.instance import Instance

COMPRESSED: Final = (b"ID3", b"fLaC", b"OggS")  # how such files begin
BURST_S: Final = 0.25  # audio taken at once before the intake cap holds: two or three packets
PIECE_S: Final = 0.1  # longest piece handed to the ears, so that one caller does not block others

Why: TypeAlias = Literal["finalize", "close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What the provider puts up with.

    Attributes:
        intake_cap: Audio seconds taken in a second, times the lab's speed; None: as many as come.
        idle_s: Without audio or KeepAlive for so long, it closes.
        first_audio_s: So does a stream that had no audio at all by then; None: KeepAlive is enough.
    """

    intake_cap: float | None = 1.25  # deepgram-docs, "Recovering from connection errors"
    idle_s: float = 10.0
    first_audio_s: float | None = 10.0


class DeepgramSocket:
    """Runs one stream until it ends."""

    def __init__(
        self,
        instance: Instance,
        line: DeepgramStream,
        *,
        teller: Teller,
        ears: EarStream,
        limits: StreamLimits,
    ) -> None:
        self._instance = instance
        self._ws = line.ws
        self._request = line.admission.request
        self._admission = line.admission
        self._teller = teller
        self._ears = ears
        self._limits = limits
        self._sender = Sender(instance, line, teller=teller)
        query = teller.query
        self._bytes_a_second = ENCODINGS[query.encoding or "linear16"] * (query.rate_hz or 16_000)
        self._opened_at = self._told_at = monotonic()
        self._audio_bytes = 0
        self._taken_until = 0.0
        self._digest = hashlib.sha256()
        self._flushes: deque[tuple[Why, float]] = deque()
        self._last_word_s: float | None = None  # when it ended, until UtteranceEnd was sent

    async def run(self) -> None:
        """Serve the stream until one side ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (self._receive, self._listen, self._sender.run, self._watch):
                    tasks.create_task(part())
        except* StreamOver as ends:
            self._admission.close(str(ends.exceptions[0]))
        except* ConnectionError:
            self._admission.close("connection gone")
        finally:
            self._request.details["audio_s"] = round(self._audio_s, 3)
            await self._ears.close()

    @property
    def _audio_s(self) -> float:
        return self._audio_bytes / self._bytes_a_second

    async def _receive(self) -> None:
        while True:
            message = await self._ws.receive()
            self._told_at = monotonic()
            match message.type:
                case WSMsgType.BINARY:
                    await self._take(message.data)
                case WSMsgType.TEXT:
                    await self._obey(message.data)
                case WSMsgType.CLOSING:  # by ourselves: whoever closes says why
                    return
                case _:
                    raise StreamOver(f"closed by the client: {self._ws.close_code}")

    async def _take(self, audio: bytes) -> None:
        if not audio:  # an empty frame means: no more audio
            await self._flush("close")
            return
        if not self._audio_bytes and not self._plausible(audio):
            self._admission.malformed("no encoding stated and no container recognised")
            await self._ws.close(code=CLOSE_BAD_DATA[0], message=CLOSE_BAD_DATA[1])
            raise StreamOver("DATA-0000")
        self._audio_bytes += len(audio)
        self._digest.update(audio)
        piece = max(2, int(self._bytes_a_second * PIECE_S) & ~1)
        for at in range(0, len(audio), piece):
            await self._not_too_fast(len(audio[at : at + piece]) / self._bytes_a_second)
            await self._ears.hear(audio[at : at + piece])

    def _plausible(self, audio: bytes) -> bool:
        """Return whether the first bytes are what the query announced."""
        if self._teller.query.encoding is None:
            return False  # a container in a stream: real, rare, not simulated
        return not audio.startswith(COMPRESSED)

    async def _not_too_fast(self, audio_s: float) -> None:
        if self._limits.intake_cap is None:
            return
        rate = self._limits.intake_cap * self._instance.speed
        self._taken_until = max(self._taken_until, monotonic()) + audio_s / rate
        ahead_s = self._taken_until - monotonic() - BURST_S / rate
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
            self._told_at = monotonic()  # what is waiting to be read counts as having come

    async def _obey(self, text: str) -> None:
        try:
            message: Any = json.loads(text)
            kind = message["type"]
        except (ValueError, TypeError, KeyError) as wrong:
            await self._not_understood(text, str(wrong))
            return
        match kind:
            case "Finalize":
                await self._flush("finalize")
            case "CloseStream":
                await self._flush("close")
            case "KeepAlive":
                self._request.details["keep_alives"] = (
                    self._request.details.get("keep_alives", 0) + 1
                )
            case "Configure":
                configured = {"type": "ConfigureSuccess", "request_id": self._teller.request_id}
                await self._sender.put(event=configured)
            case _:
                await self._not_understood(text, f"unknown type {kind!r}")

    async def _not_understood(self, text: str, why: str) -> None:
        self._admission.malformed(f"message not understood: {text[:200]}")
        told = error(description=f"could not parse the message: {why}", message=text[:200])
        await self._sender.put(event=told)

    async def _flush(self, why: Why) -> None:
        self._flushes.append((why, monotonic()))
        self._request.mark("flush", self._instance.gate.now_s())
        await self._ears.flush()

    async def _listen(self) -> None:
        try:
            async for heard in self._ears.results():
                await self._tell(heard)
        except EarsError as wrong:
            await self._sender.put(event=error(description=str(wrong)), last=True)

    async def _tell(self, heard: HeardAudio) -> None:
        query = self._teller.query
        match heard.what:
            case "speech_started":
                if query.vad_events:
                    await self._sender.put(event=self._teller.speech_started(heard))
            case "interim":
                if query.interim:
                    await self._sender.put(heard=heard)
                await self._end_utterance(heard)
            case "final":
                await self._sender.put(heard=heard)
                await self._end_utterance(heard)
            case _:
                await self._flushed(heard)

    async def _flushed(self, heard: HeardAudio) -> None:
        why, since_s = self._flushes.popleft()
        await self._sender.put(heard=heard, since_s=since_s, from_finalize=why == "finalize")
        if why == "close":
            metadata = self._teller.metadata(audio_s=self._audio_s, audio=self._digest)
            await self._sender.put(event=metadata, since_s=since_s, last=True)
        else:
            await self._end_utterance(heard)

    async def _end_utterance(self, heard: HeardAudio) -> None:
        wait_s = self._teller.query.utterance_end_s
        if wait_s is None:
            return
        if heard.words:
            self._last_word_s = heard.words[-1].end_s
        elif self._last_word_s is not None and heard.end_s - self._last_word_s >= wait_s:
            event = self._teller.utterance_end(last_word_end_s=self._last_word_s)
            self._last_word_s = None
            await self._sender.put(event=event)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._sender.act()
            now = monotonic()
            first_s = self._limits.first_audio_s
            mute = first_s is not None and not self._audio_bytes and now - self._opened_at > first_s
            if mute or now - self._told_at > self._limits.idle_s:
                await self._ws.close(code=CLOSE_NO_DATA[0], message=CLOSE_NO_DATA[1])
                raise StreamOver("NET-0001")
