"""Plivo's audio streams as values.

Source: plivo.com/docs/voice/audio-streaming/audio-streaming. There is no `connected` and no `stop`:
the socket's end is the stream's. A mark is a `checkpoint`, its echo `playedStream`; a clear is
answered by `clearedAudio`, which says nothing of what was played. What follows a stream waits for
its end (`keepCallAlive`), and so does what a live call is told to do: github.com/plivo/plivo-cli,
audio-streaming-skill/SKILL.md, "Hand off to a human".
"""

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

from calls.handover import Destination, Handover
from transports.media_stream.messages import (
    INCOMPLETE,
    MULAW,
    READERS,
    UNKNOWN_CODEC,
    Acknowledged,
    Codec,
    Dialect,
    Fields,
    MarkEchoed,
    Message,
    Started,
    either,
    is_id,
    number,
    part,
    text,
)
from transports.plivo.calls import STATUS_PATH

# Handing a live call of Plivo's on: what it is told to do, and what is said to have come of it.
#
# Source: plivo.com/docs/voice/xml/dial and /docs/voice/use-cases/dial-status-reporting (statuses,
# an empty `DialBLegUUID` when nobody answers), the package `plivo`, xml/DialElement.py. A callback
# with `DialAction=answer` was recorded in full by a customer. Not tried on a live account: the
# cause of a call that is declined by hand, and whether `answer` and `connected` both come.

AFTER_PATH: Final = "/plivo/after"
TRANSFER_PATH: Final = "/plivo/transfer"
_FATES: Final[Mapping[str, Handover]] = {
    "completed": "connected",
    "busy": "busy",
    "no-answer": "no_answer",
    "timeout": "no_answer",
    "cancel": "no_answer",
    "failed": "failed",
}
_DECLINED: Final = "CALL_REJECTED"  # the network's own word for a call that was declined by hand
_ANSWERED: Final = ("answer", "connected")


def transfer_url(order_id: str, *, public_url: str) -> str:
    """Return where Plivo is to ask what to do with a call; whom to ring does not stand in it."""
    return f"{public_url}{TRANSFER_PATH}?{urlencode({'order': order_id})}"


def dial_verb(to: Destination, *, ring_s: float, public_url: str) -> str:
    """Return what connects the caller with somebody: `<User>` for a SIP URI, else `<Number>`."""
    noun = "User" if to.number.startswith(("sip:", "sips:")) else "Number"
    attributes = {
        "action": f"{public_url}{AFTER_PATH}",
        "method": "POST",
        "timeout": str(max(1, round(ring_s))),
        "dialMusic": "real",  # the ringing itself; without it the caller may hear silence
        "callbackUrl": f"{public_url}{STATUS_PATH}",
        "callbackMethod": "POST",
    }
    said = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<Dial {said}><{noun}>{escape(to.number)}</{noun}></Dial>"


def dial_outcome(form: Mapping[str, str]) -> Handover | None:
    """Return what a webhook says to have come of handing on; None: it says nothing of it."""
    status = form.get("DialStatus")
    if status is None:
        return None
    outcome = _FATES.get(status, "failed")
    if outcome == "connected":
        return "no_answer" if form.get("DialBLegUUID") == "" else "connected"
    return "declined" if form.get("DialHangupCause") == _DECLINED else outcome


def is_dial_news(form: Mapping[str, str]) -> bool:
    """Return whether a callback is about somebody who is rung for a caller."""
    return "DialAction" in form


def answered_for(form: Mapping[str, str]) -> str:
    """Return whose caller is being talked to by the person who answered; empty: nobody's."""
    if form.get("DialAction") not in _ANSWERED:
        return ""
    return form.get("DialALegUUID") or form.get("CallUUID", "")


# The low byte first, as Plivo's own examples write it; not tried on a live line.
CONTENT_TYPES: Final[Mapping[str, Codec]] = {
    "audio/x-mulaw;rate=8000": MULAW,
    "audio/x-l16;rate=8000": Codec(encoding="pcm", rate_hz=8000),
    "audio/x-l16;rate=16000": Codec(encoding="pcm", rate_hz=16000),
}
MAX_HEADERS_CHARS: Final = 2048  # `extraHeaders` take 512 bytes; quotes and prefixes come on top
# `\b`: a name begins where a word does, or each letter of a long word is tried as a beginning.
_HEADER: Final = re.compile(r"\b(\w+)[\"']?\s*[=:]\s*[\"']?(\w+)")


def read_headers(given: object) -> Mapping[str, str]:
    """Return `extra_headers`: pairs in one text, as `token=a1;x=2` or `{X-PH-token: a1}`.

    Anybody may send this: a text that is longer than Plivo's can be has none, and is not read.
    """
    if not isinstance(given, str) or len(given) > MAX_HEADERS_CHARS:
        return {}
    return dict(_HEADER.findall(given))


def _started(fields: Fields) -> Message:
    start = part(fields, "start")
    stream_id, call_id = either(start, fields, "streamId"), start.get("callId")
    if not (is_id(stream_id) and is_id(call_id)):
        return INCOMPLETE
    media_format = part(start, "mediaFormat")
    encoding = text(media_format, "encoding").lower().partition(";")[0]
    rate_hz = number(media_format.get("sampleRate", MULAW.rate_hz))
    codec = CONTENT_TYPES.get(f"{encoding};rate={rate_hz}")
    if codec is None:
        return UNKNOWN_CODEC
    parameters = read_headers(fields.get("extra_headers"))
    return Started(stream_sid=stream_id, call_sid=call_id, parameters=parameters, codec=codec)


def _played(fields: Fields) -> Message:
    name = fields.get("name")
    return MarkEchoed(name=name) if isinstance(name, str) else INCOMPLETE


def _cleared(_: Fields) -> Message:
    return Acknowledged()


class _Plivo(Dialect):
    def media(self, stream_id: str, payload: bytes, codec: Codec) -> Fields:
        media = {
            "contentType": "audio/x-mulaw" if codec == MULAW else "audio/x-l16",
            "sampleRate": codec.rate_hz,
            "payload": base64.b64encode(payload).decode(),
        }
        return self.message("playAudio", stream_id, media=media)

    def mark(self, stream_id: str, name: str) -> Fields:
        return self.message("checkpoint", stream_id, name=name)

    def clear(self, stream_id: str) -> Fields:
        return self.message("clearAudio", stream_id)


PLIVO: Final = _Plivo(
    carrier="plivo",
    readers=READERS | {"start": _started, "playedStream": _played, "clearedAudio": _cleared},
    stream_key="streamId",
    ends_by_close=True,
    outlives_redirect=True,
)
