"""One media stream: its dialect, its codecs, and the audio gathered for it."""

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

LEAD_S: Final = 0.3  # sent ahead, so that a stall of 0.15 s plus the way to the ear makes no gap

MAX_HZ: Final = 16_000  # Silero supports 8 and 16 kHz (pipecat/audio/vad/silero.py)


class GatheredAudio:
    """Gathers audio that is too short to be sent alone.

    Attributes:
        added_bytes: The bytes added since the beginning.
        given_bytes: The bytes returned since the beginning.
    """

    def __init__(self, *, least_bytes: int, step_bytes: int) -> None:
        self._least = least_bytes
        self._step = step_bytes
        self._waiting = bytearray()
        self.added_bytes = self.given_bytes = 0

    def add(self, payload: bytes) -> bytes:
        """Add `payload`; return the audio to send now, which is empty if there is too little."""
        self._waiting += payload
        self.added_bytes += len(payload)
        if len(self._waiting) < self._least:
            return b""
        return self._take_bytes(len(self._waiting) // self._step * self._step)

    def rest(self, silence: bytes) -> bytes:
        """Return the gathered audio, padded with `silence` to a length that the carrier plays."""
        if not self._waiting:
            return b""
        size = max(self._least, -(-len(self._waiting) // self._step) * self._step)
        missing = size - len(self._waiting)
        self._waiting += (silence * missing)[:missing]
        self.added_bytes += missing
        return self._take_bytes(size)

    def clear(self) -> None:
        """Drop the gathered audio."""
        self._waiting.clear()
        self.given_bytes = self.added_bytes

    def _take_bytes(self, size: int) -> bytes:
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        self.given_bytes += size
        return taken


def _lossless_resampler() -> BaseAudioResampler:
    return create_stream_resampler(clear_after_secs=None)  # so that a pause loses no audio


@dataclass(slots=True, kw_only=True)
class Stream:
    """A stream's properties, and the audio and marks that are not sent yet.

    Attributes:
        dialect: The carrier's dialect.
        stream_id: The carrier's id of the stream.
        ours: The codec of our audio.
        theirs: The codec of the caller's audio.
        gathered: Audio that is still too short to be sent.
        owed_marks: Marks to send after the gathered audio: each with the number of bytes before it,
            including those in the resampler.
        resampler: Resamples from the pipeline's rate to our codec's; it holds back some audio.
    """

    dialect: Dialect
    stream_id: str
    ours: Codec
    theirs: Codec
    gathered: GatheredAudio = field(init=False)
    owed_marks: deque[tuple[str, int]] = field(default_factory=deque[tuple[str, int]])
    resampler: BaseAudioResampler = field(default_factory=_lossless_resampler)
    _asked_bytes: int = 0  # all audio given to `play`, in encoded bytes

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
        """Drop the audio that is gathered or in the resampler, and the marks after it."""
        self.resampler = _lossless_resampler()
        self.gathered.clear()
        self.owed_marks.clear()
        self._asked_bytes = self.gathered.added_bytes

    @property
    def rate_hz(self) -> int:
        """The pipeline's rate: the carrier's, up to the VAD's limit."""
        return min(self.ours.rate_hz, MAX_HZ)

    @property
    def lead_s(self) -> float:
        """How far ahead audio is sent, including the gathered audio, in seconds."""
        return LEAD_S + self.dialect.least_bytes / self.ours.sample_bytes / self.ours.rate_hz

    def owe_mark(self, name: str) -> None:
        """Queue a mark after all audio so far."""
        self.owed_marks.append((name, self._asked_bytes))

    def due_mark(self) -> str | None:
        """Remove and return the next mark if all audio before it was sent; else `None`."""
        if self.owed_marks and self.owed_marks[0][1] <= self.gathered.given_bytes:
            return self.owed_marks.popleft()[0]
        return None

    def media(self, payload: bytes) -> Fields | None:
        """Return a message that plays a payload; `None` for an empty one."""
        if not payload:
            return None
        return self.dialect.media(self.stream_id, payload, self.ours)

    async def play(self, pcm: bytes, rate_hz: int) -> Fields | None:
        """Return a message that plays the gathered audio and `pcm`; `None` if it is too short.

        Then it is gathered. A part of `pcm` (16-bit, at `rate_hz`) may stay in the resampler.
        """
        seconds = len(pcm) / 2 / rate_hz
        self._asked_bytes += round(seconds * self.ours.rate_hz) * self.ours.sample_bytes
        encoded = await self.ours.encode(pcm, rate_hz, self.resampler)
        return self.media(self.gathered.add(encoded))

    async def rest(self) -> Fields | None:
        """Return a message that plays the gathered audio, however short; `None` without any.

        It includes what the resampler holds, and silence up to the carrier's minimum. All marks are
        due after it.
        """
        tail = await self.resampler.flush()
        encoded = await self.ours.encode(tail, self.ours.rate_hz, self.resampler)
        due = self.gathered.add(encoded) + self.gathered.rest(self.ours.silence(1))
        self._asked_bytes = total = self.gathered.added_bytes
        self.owed_marks = deque((name, min(at, total)) for name, at in self.owed_marks)
        return self.media(due)


class StreamSerializer(FrameSerializer):
    """Serializes audio, interruptions and messages; `StreamInput` reads the socket itself.

    Pipecat's serializers for these carriers send no marks, do not treat `stop` as the end, hang up
    through fixed addresses, and drop audio that is shorter than the carrier's minimum.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    async def serialize(self, frame: Frame) -> str | None:
        """Return the carrier's message for a frame; `None` if there is nothing to send (yet).

        An interruption also drops the gathered audio and its marks.
        """
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
        """Return `None`, because `StreamInput` reads the socket itself."""
        return None
