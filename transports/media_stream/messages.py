"""What a carrier's media socket says, as values, and what every carrier's messages share."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeGuard

from transports.media_stream.codec import MULAW, Codec

MAX_MESSAGE_BYTES: Final = 16 * 1024  # a message with a second of mu-law has 10,700
MAX_WIDE_BYTES: Final = 68 * 1024  # a second of 24 kHz samples has 64,000
MAX_BRACKETS: Final = 200  # chosen: a start has ten; the limit of Python itself differs by version
MAX_ID_CHARS: Final = 64  # Twilio's have 34; what is longer is kept and sent back by nobody
MAX_DIGITS: Final = 9  # of a number; digits by the thousand cost time to read
KEYS: Final = frozenset("0123456789*#")

NOT_ACCEPTABLE: Final = 1003  # RFC 6455, 7.4.1: a type of data that cannot be accepted
NOT_CONSISTENT: Final = 1007  # data not consistent with the type of the message
POLICY: Final = 1008  # violates the endpoint's policy
TOO_BIG: Final = 1009  # too big to process


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The first message of a socket; it says nothing of the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The stream begins."""

    stream_sid: str
    call_sid: str
    parameters: Mapping[str, str]  # what we gave the carrier to be shown here, such as a token
    codec: Codec = MULAW  # of the caller's audio
    caller: str = ""  # by the stream's own word: a signed webhook's is better
    called: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A piece of the caller's audio."""

    payload: bytes  # in the stream's codec
    place: int | None = None  # among the pieces, where a carrier may send them out of order


@dataclass(frozen=True, slots=True, kw_only=True)
class Digit:
    """The caller pressed a key."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkEchoed:
    """All audio sent before this mark was played, or thrown away by a `clear`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """Something that we asked for was done; nothing follows from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The stream is over: the caller hung up or the call was ended elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message that we do not take."""

    reason: str
    close_code: int | None  # before a call begins; in a call the socket stays open


Message: TypeAlias = (
    Connected | Started | Media | Digit | MarkEchoed | Acknowledged | Stopped | Refusal
)
Fields: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Fields], Message]

UNKNOWN: Final = Refusal(reason="unknown_event", close_code=None)
INCOMPLETE: Final = Refusal(reason="incomplete_message", close_code=NOT_CONSISTENT)
UNKNOWN_CODEC: Final = Refusal(reason="unknown_codec", close_code=NOT_ACCEPTABLE)


def read_message(
    data: str | bytes, readers: Mapping[str, Reader], *, most_bytes: int = MAX_MESSAGE_BYTES
) -> Message:
    """Return what one websocket message says.

    Unknown events are ignored: a carrier may add some. A refusal with a close code ends a socket
    that has not shown yet whose call it is; in a call the message is dropped.
    """
    if isinstance(data, bytes):
        return Refusal(reason="binary_message", close_code=NOT_ACCEPTABLE)
    if len(data) > most_bytes:
        return Refusal(reason="message_too_big", close_code=TOO_BIG)
    try:
        fields = _decode(data)
    except ValueError:
        return Refusal(reason="not_json", close_code=NOT_CONSISTENT)
    if not isinstance(fields, dict):
        return Refusal(reason="not_a_json_object", close_code=NOT_CONSISTENT)
    event = fields.get("event")
    reader = readers.get(event) if isinstance(event, str) else None
    return reader(fields) if reader else UNKNOWN


def _decode(data: str) -> Any:
    if data.count("{") + data.count("[") > MAX_BRACKETS:
        raise ValueError("nested too deeply")
    return _JSON.decode(data)


def _small_number(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _whole_number(digits: str) -> int | None:
    """Return 8000 for `8000.0`: some write a rate so, and nothing that we read is a fraction."""
    return number(digits.removesuffix(".0"))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_JSON: Final = json.JSONDecoder(
    parse_int=_small_number, parse_float=_whole_number, parse_constant=_no_constant
)


def read_connected(_: Fields) -> Message:
    """Return that a socket has begun."""
    return Connected()


def read_media(fields: Fields) -> Message:
    """Return the audio of `media`; our own, which a stream of both tracks repeats, is no news."""
    media = part(fields, "media")
    if text(media, "track").startswith("outbound"):
        return Acknowledged()
    payload = media.get("payload")
    if not isinstance(payload, str):
        return INCOMPLETE
    try:
        audio = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return Refusal(reason="invalid_base64", close_code=NOT_CONSISTENT)
    return Media(payload=audio)


def read_digit(fields: Fields) -> Message:
    """Return the key of `dtmf`."""
    key = part(fields, "dtmf").get("digit")
    if not isinstance(key, str) or key not in KEYS:
        return Refusal(reason="unknown_key", close_code=None)
    return Digit(key=key)


def read_mark(fields: Fields) -> Message:
    """Return the name of `mark`."""
    name = part(fields, "mark").get("name")
    return MarkEchoed(name=name) if isinstance(name, str) else INCOMPLETE


def read_stopped(_: Fields) -> Message:
    """Return that the stream is over."""
    return Stopped()


def read_parameters(given: Any) -> Mapping[str, str]:
    """Return the texts among what we gave the carrier, be they an object or a list of pairs."""
    pairs = given.items() if isinstance(given, dict) else _pairs(given)
    return {name: value for name, value in pairs if isinstance(value, str)}


def _pairs(given: Any) -> Iterator[tuple[str, Any]]:
    for each in given if isinstance(given, list) else ():
        if isinstance(each, dict) and isinstance(each.get("name"), str):
            yield each["name"], each.get("value")


def is_id(value: Any, most_chars: int = MAX_ID_CHARS) -> TypeGuard[str]:
    """Return whether this can be a carrier's name of a call or a stream."""
    return isinstance(value, str) and 0 < len(value) <= most_chars and value.isascii()


def part(fields: Fields, name: str) -> Fields:
    """Return an object within an object; an empty one when there is none."""
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def text(fields: Fields, name: str) -> str:
    """Return a text within an object; an empty one when there is none."""
    found = fields.get(name)
    return found if isinstance(found, str) else ""


def either(inner: Fields, outer: Fields, name: str) -> Any:
    """Return what a carrier writes into `start`, or next to it."""
    return inner.get(name) or outer.get(name)


def number(value: Any) -> int | None:
    """Return a whole number, be it written as a text or not; None: it is something else."""
    if isinstance(value, int):
        return value
    digits = isinstance(value, str) and value.isdecimal() and value.isascii()
    return int(value) if digits and len(value) <= MAX_DIGITS else None


READERS: Final[dict[str, Reader]] = {
    "connected": read_connected,
    "media": read_media,
    "dtmf": read_digit,
    "mark": read_mark,
    "stop": read_stopped,
}
"""Readers of the events that most carriers send."""
