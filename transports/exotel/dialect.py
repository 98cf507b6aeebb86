"""Exotel's Voicebot streams.

Source: developer.exotel.com/docs/agentstream/stream-voicebot-applet. Little-endian samples, in
pieces of at least 3200 bytes and multiples of 320: shorter ones break up.
"""

from typing import Final

from transports.media_stream.messages import (
    INCOMPLETE,
    READERS,
    UNKNOWN_CODEC,
    Codec,
    Dialect,
    Fields,
    Message,
    Started,
    either,
    is_id,
    number,
    part,
    read_parameters,
    text,
)

RATES_HZ: Final = (8000, 16000, 24000)  # requested by `?sample-rate=` in the applet's URL
MIN_BYTES: Final = 3200
STEP_BYTES: Final = 320


def _read_start(fields: Fields) -> Message:
    """Read `start`; refuse it without ids, or with audio that we cannot read."""
    start = part(fields, "start")
    stream_sid, call_sid = either(start, fields, "stream_sid"), start.get("call_sid")
    if not (is_id(stream_sid) and is_id(call_sid)):
        return INCOMPLETE
    media_format = part(start, "media_format")
    rate_hz = number(media_format.get("sample_rate", RATES_HZ[0]))
    # Exotel's pages name the same encoding "audio/x-raw", "raw/slin" and "base64". So we only check
    # that it is not mu-law, to which an account may be set.
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


EXOTEL: Final = Dialect(
    carrier="exotel",
    readers=READERS | {"start": _read_start},
    stream_key="stream_sid",
    least_bytes=MIN_BYTES,
    step_bytes=STEP_BYTES,
    opens_again=False,
)
