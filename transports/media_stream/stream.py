"""One media stream: whose it is, how it speaks, and what is gathered for it."""

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

LEAD_S: Final = 0.3  # ahead of the ear: a stall of 0.15 s and the way to it make no gap

MOST_HZ: Final = 16_000  # Silero knows 8 and 16 kHz (pipecat/audio/vad/silero.py)


class GatheredAudio:
    """Audio that is too short for the carrier alone.

    Attributes:
        added_bytes: That came, since the beginning.
        given_bytes: That were given out.
    """

    def __init__(self, *, least_bytes: int, step_bytes: int) -> None:
        self._least = least_bytes
        self._step = step_bytes
        self._waiting = bytearray()
        self.added_bytes = self.given_bytes = 0

    def add(self, payload: bytes) -> bytes:
        """Return what may be sent now that `payload` has come; empty: more must come first."""
        self._waiting += payload
        self.added_bytes += len(payload)
        if len(self._waiting) < self._least:
            return b""
        return self._take(len(self._waiting) // self._step * self._step)

    def rest(self, silence: bytes) -> bytes:
        """Return what waits, filled up with one sample's `silence` to what the carrier plays."""
        if not self._waiting:
            return b""
        size = max(self._least, -(-len(self._waiting) // self._step) * self._step)
        missing = size - len(self._waiting)
        self._waiting += (silence * missing)[:missing]
        self.added_bytes += missing
        return self._take(size)

    def clear(self) -> None:
        """Forget what waits."""
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
    """What both directions and the serializer know of a stream.

    Attributes:
        dialect: How its carrier speaks.
        stream_id: As the carrier names it.
        ours: How we send.
        theirs: How the caller's audio comes.
        gathered: What waits to be long enough.
        owed_marks: To be sent behind what is gathered: each with how many bytes go before it, those
            that the resampler holds too.
        resampler: From the pipeline's rate to ours; it holds the last of what it was given.
    """

    dialect: Dialect
    stream_id: str
    ours: Codec
    theirs: Codec
    gathered: GatheredAudio = field(init=False)
    owed_marks: deque[tuple[str, int]] = field(default_factory=deque[tuple[str, int]])
    resampler: BaseAudioResampler = field(default_factory=_whole_resampler)
    _asked_bytes: int = 0  # all that was to be played, as it is encoded

    def __post_init__(self) -> None:
        """Begin with nothing gathered."""
        self.gathered = GatheredAudio(
            least_bytes=self.dialect.least_bytes, step_bytes=self.dialect.step_bytes
        )

    def renew(self, stream_id: str) -> None:
        """Go over to another stream of the same call, with nothing gathered."""
        self.stream_id = stream_id
        self.clear()

    def clear(self) -> None:
        """Forget what was gathered, and the marks behind it."""
        self.resampler = _whole_resampler()
        self.gathered.clear()
        self.owed_marks.clear()
        self._asked_bytes = self.gathered.added_bytes

    @property
    def rate_hz(self) -> int:
        """Of the pipeline: the carrier's, as far as the detector of speech can follow."""
        return min(self.ours.rate_hz, MOST_HZ)

    @property
    def lead_s(self) -> float:
        """How far we send ahead of the ear, with what is gathered on top."""
        return LEAD_S + self.dialect.least_bytes / self.ours.sample_bytes / self.ours.rate_hz

    def owe_mark(self, name: str) -> None:
        """Have a mark sent behind all that came so far."""
        self.owed_marks.append((name, self._asked_bytes))

    def due_mark(self) -> str | None:
        """Return, once, the next mark before which nothing has to be sent any more, if any."""
        if self.owed_marks and self.owed_marks[0][1] <= self.gathered.given_bytes:
            return self.owed_marks.popleft()[0]
        return None

    def media(self, payload: bytes) -> Fields | None:
        """Return the message that plays a payload; None: there is nothing in it."""
        if not payload:
            return None
        return self.dialect.media(self.stream_id, payload, self.ours)

    async def play(self, pcm: bytes, rate_hz: int) -> Fields | None:
        """Return the message that plays sound, with what was gathered before it, if it is due."""
        seconds = len(pcm) / 2 / rate_hz
        self._asked_bytes += round(seconds * self.ours.rate_hz) * self.ours.sample_bytes
        encoded = await self.ours.encode(pcm, rate_hz, self.resampler)
        return self.media(self.gathered.add(encoded))

    async def rest(self) -> Fields | None:
        """Return the message that plays what was gathered, be it ever so short."""
        tail = await self.resampler.flush()
        encoded = await self.ours.encode(tail, self.ours.rate_hz, self.resampler)
        due = self.gathered.add(encoded) + self.gathered.rest(self.ours.silence(1))
        self._asked_bytes = whole = self.gathered.added_bytes
        self.owed_marks = deque((name, min(at, whole)) for name, at in self.owed_marks)
        return self.media(due)


class StreamSerializer(FrameSerializer):
    """Writes audio, interruptions and messages; what comes in is read elsewhere.

    Pipecat has a serializer for each of these carriers. They send no marks, take no stop for an
    end, hang up over addresses that cannot be set, and drop what is shorter than a carrier plays.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    async def serialize(self, frame: Frame) -> str | None:
        """Return the message that says what a frame says; None: there is nothing to send yet."""
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
