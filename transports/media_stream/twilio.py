"""Twilio Media Streams as values.

Source: twilio.com/docs/voice/media-streams/websocket-messages.
"""

import base64
from collections.abc import Mapping
from typing import Final

from transports.media_stream.codec import Codec
from transports.media_stream.dialect import Dialect
from transports.media_stream.messages import (
    INCOMPLETE,
    Fields,
    Message,
    Reader,
    Started,
    either,
    is_id,
    part,
    read_connected,
    read_digit,
    read_mark,
    read_media,
    read_message,
    read_parameters,
    read_stopped,
)

RATE_HZ: Final = 8000  # audio/x-mulaw, mono: the only format of a Media Stream


def read(data: str | bytes) -> Message:
    """Return what one websocket message says."""
    return read_message(data, _READERS)


def _started(fields: Fields) -> Message:
    start = part(fields, "start")
    stream_sid, call_sid = either(start, fields, "streamSid"), start.get("callSid")
    if not (is_id(stream_sid) and is_id(call_sid)):
        return INCOMPLETE
    parameters = read_parameters(start.get("customParameters"))
    return Started(stream_sid=stream_sid, call_sid=call_sid, parameters=parameters)


def _media(stream_sid: str, payload: bytes, _: Codec) -> Fields:
    media = {"payload": base64.b64encode(payload).decode()}
    return {"event": "media", "streamSid": stream_sid, "media": media}


def _mark(stream_sid: str, name: str) -> Fields:
    return {"event": "mark", "streamSid": stream_sid, "mark": {"name": name}}


def _clear(stream_sid: str) -> Fields:
    return {"event": "clear", "streamSid": stream_sid}


_READERS: Final[Mapping[str, Reader]] = {
    "connected": read_connected,
    "start": _started,
    "media": read_media,
    "dtmf": read_digit,
    "mark": read_mark,
    "stop": read_stopped,
}

TWILIO: Final = Dialect(carrier="twilio", read=read, media=_media, mark=_mark, clear=_clear)
