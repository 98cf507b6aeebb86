"""Exotel's Voicebot streams as values.

Source: developer.exotel.com/docs/agentstream/stream-voicebot-applet. Plain samples, the low byte
first, in pieces of at least 3200 bytes and of whole 320: shorter ones are torn.
"""

import base64
from collections.abc import Mapping
from typing import Final

from transports.media_stream.codec import Codec
from transports.media_stream.dialect import Dialect
from transports.media_stream.messages import (
    INCOMPLETE,
    MAX_WIDE_BYTES,
    UNKNOWN_CODEC,
    Fields,
    Message,
    Reader,
    Started,
    either,
    is_id,
    number,
    part,
    read_connected,
    read_digit,
    read_mark,
    read_media,
    read_message,
    read_parameters,
    read_stopped,
    text,
)

RATES_HZ: Final = (8000, 16000, 24000)  # as `?sample-rate=` in the applet's URL asks
LEAST_BYTES: Final = 3200
STEP_BYTES: Final = 320


def read(data: str | bytes) -> Message:
    """Return what one websocket message says."""
    return read_message(data, _READERS, most_bytes=MAX_WIDE_BYTES)


def _started(fields: Fields) -> Message:
    start = part(fields, "start")
    stream_sid, call_sid = either(start, fields, "stream_sid"), start.get("call_sid")
    if not (is_id(stream_sid) and is_id(call_sid)):
        return INCOMPLETE
    media_format = part(start, "media_format")
    rate_hz = number(media_format.get("sample_rate", RATES_HZ[0]))
    # "audio/x-raw" is written "raw/slin" and "base64" elsewhere, so the name decides nothing but
    # that it is not the telephone's one-byte code, which an account may be set to.
    if rate_hz not in RATES_HZ or "mulaw" in text(media_format, "encoding"):
        return UNKNOWN_CODEC
    return Started(
        stream_sid=stream_sid,
        call_sid=call_sid,
        parameters=read_parameters(start.get("custom_parameters")),
        codec=Codec(encoding="pcm", rate_hz=rate_hz),
        caller=text(start, "from"),
        called=text(start, "to"),
    )


def _media(stream_sid: str, payload: bytes, _: Codec) -> Fields:
    media = {"payload": base64.b64encode(payload).decode()}
    return {"event": "media", "stream_sid": stream_sid, "media": media}


def _mark(stream_sid: str, name: str) -> Fields:
    return {"event": "mark", "stream_sid": stream_sid, "mark": {"name": name}}


def _clear(stream_sid: str) -> Fields:
    return {"event": "clear", "stream_sid": stream_sid}


_READERS: Final[Mapping[str, Reader]] = {
    "connected": read_connected,
    "start": _started,
    "media": read_media,
    "dtmf": read_digit,
    "mark": read_mark,
    "stop": read_stopped,
}

EXOTEL: Final = Dialect(
    carrier="exotel",
    read=read,
    media=_media,
    mark=_mark,
    clear=_clear,
    least_bytes=LEAST_BYTES,
    step_bytes=STEP_BYTES,
)
