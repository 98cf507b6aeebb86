"""An open `/v1/listen` stream: audio and messages in, results out.

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

from lab.simulators.admission import POLL_S
from lab.simulators.clock import monotonic
from lab.simulators.deepgram.errors import CLOSE_BAD_DATA, CLOSE_NO_DATA
from lab.simulators.deepgram.results import Query, ResultsBuilder, error
from lab.simulators.deepgram.sender import DeepgramStream, Sender, StreamOver
from lab.simulators.ears.ears import EarsError, EarStream
from lab.simulators.ears.heard import ENCODINGS, HeardAudio
from lab.simulators.ears.known import KnownStream
from lab.simulators.instance import Instance

COMPRESSED: Final = (b"ID3", b"fLaC", b"OggS")  # how compressed files begin
BURST_S: Final = 0.25  # audio accepted at once before the intake cap applies: two or three packets
PIECE_S: Final = 0.1  # the longest piece for the recogniser, so that no caller blocks the others

FlushReason: TypeAlias = Literal["finalize", "close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """The provider's limits.

    Attributes:
        intake_cap: Audio seconds accepted per second, times the lab's speed; `None` for no cap.
        idle_s: A stream is closed after this time without audio or KeepAlive.
        first_audio_s: A stream that has had no audio at all is closed after this time; `None` to
            disable.
    """

    intake_cap: float | None = 1.25  # deepgram-docs, "Recovering from connection errors"
    idle_s: float = 10.0
    first_audio_s: float | None = 10.0


class ReceivedAudio:
    """The audio received on a stream."""

    def __init__(self, bytes_a_second: int) -> None:
        self.bytes_a_second = bytes_a_second
        self.count_bytes = 0
        self.digest = hashlib.sha256()

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.count_bytes / self.bytes_a_second

    def add(self, audio: bytes) -> None:
        """Count more audio."""
        self.count_bytes += len(audio)
        self.digest.update(audio)


class IntakeRate:
    """Limits how fast audio is accepted.

    Args:
        rate: Seconds of audio per second; `None` for no limit.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._taken_until = 0.0

    def take(self, audio_s: float) -> float:
        """Count this much audio; return the seconds to wait before accepting it, if above 0."""
        if self._rate is None:
            return 0.0
        now = monotonic()
        self._taken_until = max(self._taken_until, now) + audio_s / self._rate
        return self._taken_until - now - BURST_S / self._rate


class UtteranceEnd:
    """Detects the end of an utterance by the times of its words.

    Args:
        wait_s: The time after the last word; `None` for never.
    """

    def __init__(self, wait_s: float | None) -> None:
        self._wait_s = wait_s
        self._last_word_s: float | None = None  # its end, until reported

    def find_end(self, heard: HeardAudio) -> float | None:
        """Take a result; return when the last word ended, if the time after that is over.

        It returns each utterance's end once, and otherwise `None`.
        """
        if self._wait_s is None:
            return None
        if heard.words:
            self._last_word_s = heard.words[-1].end_s
        elif self._last_word_s is not None and heard.end_s - self._last_word_s >= self._wait_s:
            last_word_s, self._last_word_s = self._last_word_s, None
            return last_word_s
        return None


class DeepgramSocket:
    """Serves one stream."""

    def __init__(
        self,
        instance: Instance,
        stream: DeepgramStream,
        *,
        builder: ResultsBuilder,
        ears: EarStream | KnownStream,
        limits: StreamLimits,
    ) -> None:
        """Prepare the parts that read audio and send results; `run` serves the stream."""
        self._instance = instance
        self._ws = stream.ws
        self._request = stream.admission.request
        self._admission = stream.admission
        self._builder = builder
        self._ears = ears
        self._limits = limits
        self._sender = Sender(instance, stream, builder=builder)
        query = builder.query
        bytes_a_second = ENCODINGS[query.encoding or "linear16"] * (query.rate_hz or 16_000)
        self._audio = ReceivedAudio(bytes_a_second)
        self._opened_at = self._received_at = monotonic()
        cap = None if limits.intake_cap is None else limits.intake_cap * instance.speed
        self._intake = IntakeRate(cap)
        self._flushes: deque[tuple[FlushReason, float]] = deque()
        self._utterance_end = UtteranceEnd(query.utterance_end_s)

    async def run(self) -> None:
        """Serve the stream until one side ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (
                    self._receive_messages,
                    self._queue_results,
                    self._sender.run,
                    self._watch_faults_and_timeouts,
                ):
                    tasks.create_task(part())
        except* StreamOver as ends:
            self._admission.close(str(ends.exceptions[0]))
        except* ConnectionError:
            self._admission.close("connection gone")
        finally:
            self._request.details["audio_s"] = round(self._audio.seconds, 3)
            await self._ears.close()

    async def _receive_messages(self) -> None:
        """Take the client's messages; raise `StreamOver` when the client closes the stream."""
        while True:
            message = await self._ws.receive()
            self._received_at = monotonic()
            match message.type:
                case WSMsgType.BINARY:
                    await self._take_audio(message.data)
                case WSMsgType.TEXT:
                    await self._obey_message(message.data)
                case WSMsgType.CLOSING:  # we close it: the reason has been recorded
                    return
                case _:
                    raise StreamOver(f"closed by the client: {self._ws.close_code}")

    async def _take_audio(self, audio: bytes) -> None:
        """Pass audio to the recogniser, no faster than the intake cap allows."""
        if not audio:  # an empty frame means that no more audio will come
            await self._request_final_result("close")
            return
        if not self._audio.count_bytes and not _is_plausible(audio, self._builder.query):
            self._admission.mark_malformed("no encoding stated and no container recognised")
            await self._ws.close(code=CLOSE_BAD_DATA[0], message=CLOSE_BAD_DATA[1])
            raise StreamOver("DATA-0000")
        self._audio.add(audio)
        bytes_a_second = self._audio.bytes_a_second
        piece = max(2, int(bytes_a_second * PIECE_S) & ~1)
        for at in range(0, len(audio), piece):
            ahead_s = self._intake.take(len(audio[at : at + piece]) / bytes_a_second)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
                self._received_at = monotonic()  # messages that wait meanwhile count as received
            await self._ears.hear(audio[at : at + piece])

    async def _obey_message(self, text: str) -> None:
        """Carry out a text message; report an invalid or unknown one, and keep the stream open."""
        try:
            message: Any = json.loads(text)
            kind = message["type"]
        except (ValueError, TypeError, KeyError) as wrong:
            await self._reject_message(text, str(wrong))
            return
        match kind:
            case "Finalize":
                await self._request_final_result("finalize")
            case "CloseStream":
                await self._request_final_result("close")
            case "KeepAlive":
                self._request.details["keep_alives"] = (
                    self._request.details.get("keep_alives", 0) + 1
                )
            case "Configure":
                configured = {"type": "ConfigureSuccess", "request_id": self._builder.request_id}
                await self._sender.put(event=configured)
            case _:
                await self._reject_message(text, f"unknown type {kind!r}")

    async def _reject_message(self, text: str, why: str) -> None:
        self._admission.mark_malformed(f"message not understood: {text[:200]}")
        report = error(description=f"could not parse the message: {why}", message=text[:200])
        await self._sender.put(event=report)

    async def _request_final_result(self, why: FlushReason) -> None:
        """Ask the recogniser for a final result, and remember why and when."""
        self._flushes.append((why, monotonic()))
        self._request.mark("flush", self._instance.gate.now_s())
        await self._ears.flush()

    async def _queue_results(self) -> None:
        """Queue the messages for each result; an error of the recogniser ends the stream."""
        try:
            async for heard in self._ears.results():
                await self._queue_result(heard)
        except EarsError as wrong:
            await self._sender.put(event=error(description=str(wrong)), last=True)

    async def _queue_result(self, heard: HeardAudio) -> None:
        """Queue the messages for a result; some are sent only if the query asks for them."""
        query = self._builder.query
        match heard.what:
            case "speech_started":
                if query.vad_events:
                    await self._sender.put(event=self._builder.speech_started(heard))
            case "interim":
                if query.interim:
                    await self._sender.put(heard=heard)
                await self._end_utterance(heard)
            case "final":
                await self._sender.put(heard=heard)
                await self._end_utterance(heard)
            case _:
                await self._answer_flush(heard)

    async def _answer_flush(self, heard: HeardAudio) -> None:
        """Queue the answer to the oldest flush; after one that closes, end the stream."""
        why, since_s = self._flushes.popleft()
        await self._sender.put(heard=heard, since_s=since_s, from_finalize=why == "finalize")
        if why == "close":
            metadata = self._builder.metadata(audio_s=self._audio.seconds, audio=self._audio.digest)
            await self._sender.put(event=metadata, since_s=since_s, last=True)
        else:
            await self._end_utterance(heard)

    async def _end_utterance(self, heard: HeardAudio) -> None:
        """Queue Deepgram's `UtteranceEnd` if the result completes an utterance."""
        last_word_s = self._utterance_end.find_end(heard)
        if last_word_s is not None:
            event = self._builder.utterance_end(last_word_end_s=last_word_s)
            await self._sender.put(event=event)

    async def _watch_faults_and_timeouts(self) -> None:
        """Apply faults at once; close a stream that gets no audio, or no message, in time."""
        while True:
            await asyncio.sleep(POLL_S)
            await self._sender.apply_fault()
            now = monotonic()
            first_s = self._limits.first_audio_s
            mute = (
                first_s is not None
                and not self._audio.count_bytes
                and now - self._opened_at > first_s
            )
            if mute or now - self._received_at > self._limits.idle_s:
                await self._ws.close(code=CLOSE_NO_DATA[0], message=CLOSE_NO_DATA[1])
                raise StreamOver("NET-0001")


def _is_plausible(audio: bytes, query: Query) -> bool:
    """Return whether the first bytes match the query."""
    if query.encoding is None:
        return False  # a container in a stream is possible but rare, and not simulated
    return not audio.startswith(COMPRESSED)
