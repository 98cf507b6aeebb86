"""One media stream: its call, its dialect, and the audio gathered for it."""

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from pipecat.audio.resamplers.base_audio_resampler import BaseAudioResampler
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import (
    AudioRawFrame,
    Frame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.serializers.base_serializer import FrameSerializer

from transports.media_stream.messages import Codec, Dialect, Fields

LEAD_S: Final = 0.3  # ahead of the ear: a stall of 0.15 s plus the way there causes no gap

MAX_HZ: Final = 16_000  # Silero knows 8 and 16 kHz (pipecat/audio/vad/silero.py)


class GatheredAudio:
    """Audio that is too short to send alone.

    Attributes:
        added_bytes: Received since the beginning.
        given_bytes: Released since the beginning.
    """

    def __init__(self, *, least_bytes: int, step_bytes: int) -> None:
        self._least = least_bytes
        self._step = step_bytes
        self._waiting = bytearray()
        self.added_bytes = self.given_bytes = 0

    def add(self, payload: bytes) -> bytes:
        """Return the audio to send now that `payload` is added; empty if more must arrive first."""
        self._waiting += payload
        self.added_bytes += len(payload)
        if len(self._waiting) < self._least:
            return b""
        return self._take(len(self._waiting) // self._step * self._step)

    def rest(self, silence: bytes) -> bytes:
        """Return the gathered audio, padded with a sample's `silence` to the carrier's minimum."""
        if not self._waiting:
            return b""
        size = max(self._least, -(-len(self._waiting) // self._step) * self._step)
        missing = size - len(self._waiting)
        self._waiting += (silence * missing)[:missing]
        self.added_bytes += missing
        return self._take(size)

    def clear(self) -> None:
        """Drop the gathered audio."""
        self._waiting.clear()
        self.given_bytes = self.added_bytes

    def _take(self, size: int) -> bytes:
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        self.given_bytes += size
        return taken


def _whole_resampler() -> BaseAudioResampler:
    return create_stream_resampler(clear_after_secs=None)  # a pause of the voice loses nothing


@dataclass(slots=True, kw_only=True)
class Stream:
    """A stream's properties for both directions and the serializer.

    Attributes:
        dialect: Its carrier's dialect.
        stream_id: The carrier's id.
        ours: The codec that we send.
        theirs: The codec of the caller's audio.
        gathered: Audio that is still too short to send.
        owed_marks: Marks to send after the gathered audio: each with the number of bytes before it,
            including those in the resampler.
        resampler: From the pipeline's rate to ours; it holds the end of its input.
    """

    dialect: Dialect
    stream_id: str
    ours: Codec
    theirs: Codec
    gathered: GatheredAudio = field(init=False)
    owed_marks: deque[tuple[str, int]] = field(default_factory=deque[tuple[str, int]])
    resampler: BaseAudioResampler = field(default_factory=_whole_resampler)
    _asked_bytes: int = 0  # all audio to be played, in encoded bytes

    def __post_init__(self) -> None:
        """Start with nothing gathered."""
        self.gathered = GatheredAudio(
            least_bytes=self.dialect.least_bytes, step_bytes=self.dialect.step_bytes
        )

    def renew(self, stream_id: str) -> None:
        """Switch to another stream of the same call, with nothing gathered."""
        self.stream_id = stream_id
        self.clear()

    def clear(self) -> None:
        """Drop the gathered audio and the marks after it."""
        self.resampler = _whole_resampler()
        self.gathered.clear()
        self.owed_marks.clear()
        self._asked_bytes = self.gathered.added_bytes

    @property
    def rate_hz(self) -> int:
        """The pipeline's rate: the carrier's, up to the VAD's limit."""
        return min(self.ours.rate_hz, MAX_HZ)

    @property
    def lead_s(self) -> float:
        """How far we send ahead of the ear, plus the gathered audio."""
        return LEAD_S + self.dialect.least_bytes / self.ours.sample_bytes / self.ours.rate_hz

    def owe_mark(self, name: str) -> None:
        """Queue a mark after all audio so far."""
        self.owed_marks.append((name, self._asked_bytes))

    def due_mark(self) -> str | None:
        """Return, once, the next mark whose audio has all been sent, if any."""
        if self.owed_marks and self.owed_marks[0][1] <= self.gathered.given_bytes:
            return self.owed_marks.popleft()[0]
        return None

    def media(self, payload: bytes) -> Fields | None:
        """Return a message that plays a payload; `None` for an empty one."""
        if not payload:
            return None
        return self.dialect.media(self.stream_id, payload, self.ours)

    async def play(self, pcm: bytes, rate_hz: int) -> Fields | None:
        """Return a message that plays sound, with gathered audio first, if enough is there."""
        seconds = len(pcm) / 2 / rate_hz
        self._asked_bytes += round(seconds * self.ours.rate_hz) * self.ours.sample_bytes
        encoded = await self.ours.encode(pcm, rate_hz, self.resampler)
        return self.media(self.gathered.add(encoded))

    async def rest(self) -> Fields | None:
        """Return a message that plays the gathered audio, however short."""
        tail = await self.resampler.flush()
        encoded = await self.ours.encode(tail, self.ours.rate_hz, self.resampler)
        due = self.gathered.add(encoded) + self.gathered.rest(self.ours.silence(1))
        self._asked_bytes = whole = self.gathered.added_bytes
        self.owed_marks = deque((name, min(at, whole)) for name, at in self.owed_marks)
        return self.media(due)


class StreamSerializer(FrameSerializer):
    """Writes audio, interruptions and messages; input is read elsewhere.

    Pipecat has a serializer for each of these carriers. They send no marks, do not treat `stop` as
    an end, hang up through fixed addresses, and drop audio shorter than a carrier's minimum.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    async def serialize(self, frame: Frame) -> str | None:
        """Return the carrier's message for a frame; `None` if there is nothing to send yet."""
        stream = self._stream
        match frame:
            case InterruptionFrame():
                stream.clear()
                return json.dumps(stream.dialect.clear(stream.stream_id))
            case AudioRawFrame():
                media = await stream.play(frame.audio, frame.sample_rate)
                return json.dumps(media) if media else None
            case OutputTransportMessageFrame() | OutputTransportMessageUrgentFrame():
                return None if self.should_ignore_frame(frame) else json.dumps(frame.message)
            case _:
                return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Return nothing: the input reads the socket itself."""
        return None
