"""Twilio Media Streams.

Source: twilio.com/docs/voice/media-streams/websocket-messages.
"""

from typing import Final

from transports.media_stream.messages import (
    INCOMPLETE,
    MULAW,
    READERS,
    Dialect,
    Fields,
    Message,
    Started,
    either,
    is_id,
    part,
    read_parameters,
)


def _read_start(fields: Fields) -> Message:
    """Read a `start` message; `INCOMPLETE` without a valid stream and call."""
    start = part(fields, "start")
    stream_sid, call_sid = either(start, fields, "streamSid"), start.get("callSid")
    if not (is_id(stream_sid) and is_id(call_sid)):
        return INCOMPLETE
    parameters = read_parameters(start.get("customParameters"))
    return Started(stream_sid=stream_sid, call_sid=call_sid, parameters=parameters)


TWILIO: Final = Dialect(
    carrier="twilio",
    readers=READERS | {"start": _read_start},
    stream_key="streamSid",
    most_bytes=MULAW.message_bytes,
)
