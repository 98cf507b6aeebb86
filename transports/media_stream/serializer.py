"""What we send to a carrier, as the messages of its dialect."""

import json

from pipecat.frames.frames import (
    AudioRawFrame,
    Frame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.serializers.base_serializer import FrameSerializer

from transports.media_stream.stream import Stream


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
