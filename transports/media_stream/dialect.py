"""What differs between the carriers whose calls come over a websocket."""

from collections.abc import Callable
from dataclasses import dataclass

from transports.media_stream.codec import Codec
from transports.media_stream.messages import Fields, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One carrier's messages, both ways, and what it asks of our audio.

    Attributes:
        carrier: As facts name it.
        read: Returns what one of its messages says.
        media: Returns the message that plays a payload; given the stream, the payload, its codec.
        mark: Returns the message that is answered when all before it was played.
        clear: Returns the message that throws away what is not played yet.
        least_bytes: It plays nothing shorter well; shorter ones are gathered.
        step_bytes: Each payload is a multiple of this.
        ends_by_close: It says no `stop`: a socket closed in order is a caller who hung up.
        outlives_redirect: A stream goes on although its call was told to do something else, which
            is done when we close it.
    """

    carrier: str
    read: Callable[[str | bytes], Message]
    media: Callable[[str, bytes, Codec], Fields]
    mark: Callable[[str, str], Fields]
    clear: Callable[[str], Fields]
    least_bytes: int = 0
    step_bytes: int = 1
    ends_by_close: bool = False
    outlives_redirect: bool = False
