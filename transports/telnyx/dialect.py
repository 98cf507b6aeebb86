"""Telnyx Media Streaming.

The stream's id is next to the `start` object, not in it. Media may arrive out of order. Each
direction has its own codec: the caller's is in `start`, and ours was set by `streaming_start`.

Source: developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from transports.media_stream.messages import (
    ALAW,
    INCOMPLETE,
    MULAW,
    READERS,
    UNKNOWN_CODEC,
    Codec,
    Dialect,
    Fields,
    Media,
    Message,
    Refusal,
    Started,
    either,
    is_id,
    number,
    part,
    read_media,
    read_parameters,
    text,
)

MAX_REF_CHARS: Final = 128  # a call_control_id has about 60

# L16 is sent as in RTP, big-endian (RFC 3551, 4.5.11); not tried on a live line.
CODECS: Final[Mapping[str, Codec]] = {
    "PCMU": MULAW,
    "PCMA": ALAW,
    "L16": Codec(encoding="pcm_big_endian", rate_hz=16000),
}


def _read_start(fields: Fields) -> Message:
    """Read `start`; refuse it without ids, or with audio that we cannot read."""
    start = part(fields, "start")
    stream_id, call_id = either(start, fields, "stream_id"), start.get("call_control_id")
    if not (is_id(stream_id, MAX_REF_CHARS) and is_id(call_id, MAX_REF_CHARS)):
        return INCOMPLETE
    codec = codec_of(part(start, "media_format"))
    if codec is None:
        return UNKNOWN_CODEC
    return Started(
        stream_sid=stream_id,
        call_sid=call_id,
        parameters=read_parameters(start.get("custom_parameters")),
        codec=codec,
        caller=text(start, "from"),
        called=text(start, "to"),
    )


def codec_of(media_format: Fields) -> Codec | None:
    """Return the codec of a `media_format`; `None` for an unsupported one."""
    codec = CODECS.get((text(media_format, "encoding") or "PCMU").upper())
    if codec is None:
        return None
    rate_hz = number(media_format.get("sample_rate", codec.rate_hz))
    if rate_hz not in (8000, 16000, 24000):
        return None
    if codec.sample_bytes == 1 and rate_hz != codec.rate_hz:
        return None
    return replace(codec, rate_hz=rate_hz)


def _read_numbered_media(fields: Fields) -> Message:
    message = read_media(fields)
    place = number(part(fields, "media").get("chunk"))
    return replace(message, place=place) if isinstance(message, Media) else message


def _read_error(fields: Fields) -> Message:
    code = number(part(fields, "payload").get("code"))
    return Refusal(reason=f"telnyx_error_{code}" if code else "telnyx_error", close_code=None)


TELNYX: Final = Dialect(
    carrier="telnyx",
    readers=READERS | {"start": _read_start, "media": _read_numbered_media, "error": _read_error},
    stream_key="",
)
