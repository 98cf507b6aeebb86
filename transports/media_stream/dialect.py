"""What differs between the carriers whose calls come over a websocket."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from transports.media_stream.codec import Codec
from transports.media_stream.messages import MAX_WIDE_BYTES, Fields, Message, Reader, read_message


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One carrier's messages, both ways, and what it asks of our audio.

    Attributes:
        carrier: As facts name it.
        readers: Read its messages, by their events.
        stream_key: Names the stream in our messages; empty: they name none.
        most_bytes: Of one of its messages.
        least_bytes: It plays nothing shorter well; shorter ones are gathered.
        step_bytes: Each payload is a multiple of this.
        ends_by_close: It says no `stop`: a socket closed in order is a caller who hung up.
        outlives_redirect: A stream goes on although its call was told to do something else, which
            is done when we close it.
    """

    carrier: str
    readers: Mapping[str, Reader]
    stream_key: str
    most_bytes: int = MAX_WIDE_BYTES
    least_bytes: int = 0
    step_bytes: int = 1
    ends_by_close: bool = False
    outlives_redirect: bool = False

    def read(self, data: str | bytes) -> Message:
        """Return what one websocket message says."""
        return read_message(data, self.readers, most_bytes=self.most_bytes)

    def media(self, stream_id: str, payload: bytes, codec: Codec) -> Fields:
        """Return the message that plays a payload."""
        del codec
        return self.message(
            "media", stream_id, media={"payload": base64.b64encode(payload).decode()}
        )

    def mark(self, stream_id: str, name: str) -> Fields:
        """Return the message that is answered when all before it was played."""
        return self.message("mark", stream_id, mark={"name": name})

    def clear(self, stream_id: str) -> Fields:
        """Return the message that throws away what is not played yet."""
        return self.message("clear", stream_id)

    def message(self, event: str, stream_id: str, **more: object) -> Fields:
        """Return a message to the carrier."""
        return {"event": event, **({self.stream_key: stream_id} if self.stream_key else {}), **more}
