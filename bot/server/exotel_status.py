"""What Exotel's callbacks on a call that we placed say, in whichever form they come.

Source: developer.exotel.com/docs/voice-v1/api-reference/status-callback and /api/statuscallback
(the fields), support.exotel.com/support/solutions/articles/48278 ("as multipart/form-data"). JSON
comes where an account is set to it. Whoever's callback is read here has proven itself already.
"""

import json
from collections.abc import Mapping
from email import message_from_bytes
from email.message import Message
from typing import Any, Final, cast

from bot.server.status_callbacks import MOST_WORD_CHARS
from bot.server.webhook import read_form
from calls.leg_progress import StatusCallback
from transports.exotel.calls import ending_of
from transports.media_stream.messages import is_id

STATUSES: Final[Mapping[str, str]] = {"ringing": "ringing", "answered": "in-progress"}
"""By the event; what a callback's `Status` says of a call that goes on says nothing sure."""

OVER: Final = "terminal"


def read_callback(body: bytes, content_type: str) -> dict[str, str] | None:
    """Return a callback's fields, their names in lower case; None: it has none.

    Args:
        body: Bounded; a form of either kind, or JSON.
        content_type: As its header says.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        fields = _of_json(body)
    elif kind == "multipart/form-data":
        fields = _of_parts(body, content_type)
    else:
        fields = read_form(body)
    return {name.lower(): value for name, value in fields.items()} if fields else None


def exotel_callback(fields: Mapping[str, str], *, ref: str) -> StatusCallback | None:
    """Return what a callback says; None: it names no call.

    Args:
        fields: As they were read.
        ref: Our own id of the dial, which the address has proven.
    """
    call_sid = fields.get("callsid", "")
    if not is_id(call_sid):
        return None
    event, word = fields.get("eventtype", "").lower(), fields.get("status", "").lower()
    status = STATUSES.get(event) or ending_of(word)
    if event == OVER and not status:
        status = "failed"  # it is over, in a word that no page has
    return StatusCallback(
        call_ref=call_sid,
        ref=ref,
        status=status,
        reason=word[:MOST_WORD_CHARS] if status == "failed" != word else "",
    )


def _of_json(body: bytes) -> dict[str, str] | None:
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    fields = cast("dict[str, Any]", told)
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _of_parts(body: bytes, content_type: str) -> dict[str, str]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = cast("list[object] | str", message_from_bytes(head + body).get_payload())
    return dict(_field(each) for each in parts if isinstance(each, Message))


def _field(part: Message) -> tuple[str, str]:
    name = part.get_param("name", header="content-disposition")
    value = part.get_payload(decode=True)
    text = value.decode(errors="replace") if isinstance(value, bytes) else ""
    return (name if isinstance(name, str) else ""), text
