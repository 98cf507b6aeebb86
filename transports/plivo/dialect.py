"""Plivo's audio streams and transfers.

Plivo sends no `connected` and no `stop` message: the stream ends with its socket. A mark is named
`checkpoint`, and its echo `playedStream`. The response to a clear is `clearedAudio`, which does not
show what was played. The call's next step, and also a redirect of the live call, waits for the end
of the stream (`keepCallAlive`).

Source: plivo.com/docs/voice/audio-streaming/audio-streaming; for the redirect,
github.com/plivo/plivo-cli, audio-streaming-skill/SKILL.md, "Hand off to a human"; for the
instructions and the result of a transfer, plivo.com/docs/voice/xml/dial and /docs/voice/use-cases/
dial-status-reporting (statuses, an empty `DialBLegUUID` if the call is not answered), the package
`plivo`, xml/DialElement.py. A callback with `DialAction=answer` was recorded in full by a customer.
Not tried on a live account: the cause of a call that is declined by hand, and whether `answer` and
`connected` both come.
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
from transports.plivo.rest import STATUS_PATH

AFTER_PATH: Final = "/plivo/after"
TRANSFER_PATH: Final = "/plivo/transfer"
_BY_STATUS: Final[Mapping[str, Handover]] = {
    "completed": "connected",
    "busy": "busy",
    "no-answer": "no_answer",
    "timeout": "no_answer",
    "cancel": "no_answer",
    "failed": "failed",
}
_DECLINED: Final = "CALL_REJECTED"  # the network's term for a call that was declined by hand
_ANSWERED: Final = ("answer", "connected")


def transfer_url(order_id: str, *, public_url: str) -> str:
    """Return the URL of a call's transfer instructions; it does not contain the number."""
    return f"{public_url}{TRANSFER_PATH}?{urlencode({'order': order_id})}"


def dial_verb(to: Destination, *, ring_s: float, public_url: str) -> str:
    """Return the XML that rings a person: a `<User>` for a SIP URI, else a `<Number>`."""
    noun = "User" if to.number.startswith(("sip:", "sips:")) else "Number"
    attributes = {
        "action": f"{public_url}{AFTER_PATH}",
        "method": "POST",
        "timeout": str(max(1, round(ring_s))),
        "dialMusic": "real",  # the real ringing tone; without it the caller may hear silence
        "callbackUrl": f"{public_url}{STATUS_PATH}",
        "callbackMethod": "POST",
    }
    written = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<Dial {written}><{noun}>{escape(to.number)}</{noun}></Dial>"


def dial_outcome(form: Mapping[str, str]) -> Handover | None:
    """Return the transfer result in a webhook; `None` if it has none."""
    status = form.get("DialStatus")
    if status is None:
        return None
    outcome = _BY_STATUS.get(status, "failed")
    if outcome == "connected":
        return "no_answer" if form.get("DialBLegUUID") == "" else "connected"
    return "declined" if form.get("DialHangupCause") == _DECLINED else outcome


def is_about_person(form: Mapping[str, str]) -> bool:
    """Return whether a callback is about a person who is rung for a caller."""
    return "DialAction" in form


def answered_for(form: Mapping[str, str]) -> str:
    """Return the id of the caller whose person has answered; empty for any other callback."""
    if form.get("DialAction") not in _ANSWERED:
        return ""
    return form.get("DialALegUUID") or form.get("CallUUID", "")


# Little-endian, as in Plivo's own examples; not tried on a live line.
CONTENT_TYPES: Final[Mapping[str, Codec]] = {
    "audio/x-mulaw;rate=8000": MULAW,
    "audio/x-l16;rate=8000": Codec(encoding="pcm", rate_hz=8000),
    "audio/x-l16;rate=16000": Codec(encoding="pcm", rate_hz=16000),
}
MAX_HEADERS_CHARS: Final = 2048  # `extraHeaders` take 512 bytes, plus quotes and prefixes
# `\b`: without it, each letter of a long word would be tried as the start of a name.
_HEADER: Final = re.compile(r"\b(\w+)[\"']?\s*[=:]\s*[\"']?(\w+)")


def read_headers(given: object) -> Mapping[str, str]:
    """Return the `extra_headers`, a text like `token=a1;x=2` or `{X-PH-token: a1}`, as pairs.

    The sender is untrusted, so a text that is longer than Plivo allows is ignored.
    """
    if not isinstance(given, str) or len(given) > MAX_HEADERS_CHARS:
        return {}
    return dict(_HEADER.findall(given))


def _read_start(fields: Fields) -> Message:
    """Read `start`; refuse it without ids, or with audio that we cannot read."""
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


def _read_mark(fields: Fields) -> Message:
    name = fields.get("name")
    return MarkEchoed(name=name) if isinstance(name, str) else INCOMPLETE


def _acknowledge_clear(_: Fields) -> Message:
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
    readers=READERS
    | {"start": _read_start, "playedStream": _read_mark, "clearedAudio": _acknowledge_clear},
    stream_key="streamId",
    ends_by_close=True,
    outlives_redirect=True,
)
