"""Twilio Media Streams as values: what may come in, what is refused, and how far was played.

Source: twilio.com/docs/voice/media-streams/websocket-messages.
"""

import base64
import binascii
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeGuard

RATE_HZ: Final = 8000  # audio/x-mulaw, mono: the only format of a Media Stream
MAX_MESSAGE_BYTES: Final = 16 * 1024  # a media message of 20 ms has about 350, one second 10,700
MAX_PAYLOAD_BYTES: Final = 8000  # one second of mu-law; Twilio sends 160
MAX_ID_CHARS: Final = 64  # Twilio's have 34; what is longer is kept and sent back by nobody
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
    parameters: Mapping[str, str]  # what the TwiML's <Parameter>s said


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A piece of the caller's audio."""

    payload: bytes  # G.711 mu-law, 8000 Hz, one byte a sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Digit:
    """The caller pressed a key."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkEchoed:
    """All audio sent before this mark was played, or thrown away by a `clear`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The stream is over: the caller hung up or the call was ended elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message that we do not take."""

    reason: str
    close_code: int | None  # None: ignored, the socket stays


Message: TypeAlias = Connected | Started | Media | Digit | MarkEchoed | Stopped | Refusal

_Fields: TypeAlias = dict[str, Any]

_UNKNOWN: Final = Refusal(reason="unknown_event", close_code=None)
_INCOMPLETE: Final = Refusal(reason="incomplete_message", close_code=NOT_CONSISTENT)


def read(data: str | bytes) -> Message:
    """Return what one websocket message says.

    Events that we do not know are ignored, since Twilio may add some. What Twilio cannot have
    sent closes the socket: the far end is somebody else, or broken beyond a conversation.
    """
    if isinstance(data, bytes):
        return Refusal(reason="binary_message", close_code=NOT_ACCEPTABLE)
    if len(data) > MAX_MESSAGE_BYTES:
        return Refusal(reason="message_too_big", close_code=TOO_BIG)
    try:
        fields = _JSON.decode(data)
    except (ValueError, RecursionError):  # thousands of open brackets end in the latter
        return Refusal(reason="not_json", close_code=NOT_CONSISTENT)
    if not isinstance(fields, dict):
        return Refusal(reason="not_a_json_object", close_code=NOT_CONSISTENT)
    event = fields.get("event")
    reader = _READERS.get(event) if isinstance(event, str) else None
    return reader(fields) if reader else _UNKNOWN


def _no_number(_: str) -> None:
    """Return nothing: Twilio's numbers are texts, and digits by the thousand cost time to read."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_JSON: Final = json.JSONDecoder(
    parse_int=_no_number, parse_float=_no_number, parse_constant=_no_constant
)


def _connected(_: _Fields) -> Message:
    return Connected()


def _started(fields: _Fields) -> Message:
    start = _part(fields, "start")
    stream_sid, call_sid = start.get("streamSid"), start.get("callSid")
    if not (_is_id(stream_sid) and _is_id(call_sid)):
        return _INCOMPLETE
    parameters = {
        name: value
        for name, value in _part(start, "customParameters").items()
        if isinstance(value, str)
    }
    return Started(stream_sid=stream_sid, call_sid=call_sid, parameters=parameters)


def _media(fields: _Fields) -> Message:
    payload = _part(fields, "media").get("payload")
    if not isinstance(payload, str):
        return _INCOMPLETE
    try:
        audio = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return Refusal(reason="invalid_base64", close_code=NOT_CONSISTENT)
    if len(audio) > MAX_PAYLOAD_BYTES:
        return Refusal(reason="media_too_long", close_code=TOO_BIG)
    return Media(payload=audio)


def _digit(fields: _Fields) -> Message:
    key = _part(fields, "dtmf").get("digit")
    if not isinstance(key, str) or key not in KEYS:
        return Refusal(reason="unknown_key", close_code=None)
    return Digit(key=key)


def _mark(fields: _Fields) -> Message:
    name = _part(fields, "mark").get("name")
    return MarkEchoed(name=name) if isinstance(name, str) else _INCOMPLETE


def _stopped(_: _Fields) -> Message:
    return Stopped()


def _is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= MAX_ID_CHARS and value.isascii()


def _part(fields: _Fields, name: str) -> _Fields:
    part = fields.get(name)
    return part if isinstance(part, dict) else {}


_READERS: Final[Mapping[str, Callable[[_Fields], Message]]] = {
    "connected": _connected,
    "start": _started,
    "media": _media,
    "dtmf": _digit,
    "mark": _mark,
    "stop": _stopped,
}


class Marks:
    """Counts what the far end says it has played.

    A mark goes out behind every `EVERY_S` of audio and behind the last of an utterance; its echo
    says that the audio before it was played. `clear` makes the far end echo all pending marks at
    once, which says nothing of having been played: those are forgotten when we send the `clear`.
    What was played but not yet echoed at that moment is not counted: never more than was heard.
    """

    EVERY_S: Final = 0.2
    MAX_PENDING: Final = 512  # 100 s of audio unplayed; then audio goes on, unmarked

    def __init__(self) -> None:
        self.played_s = 0.0
        self._unmarked_s = 0.0
        self._pending: deque[tuple[str, float]] = deque()
        self._count = 0

    @property
    def all_played(self) -> bool:
        """Whether nothing that was marked is still to be played."""
        return not self._pending

    def sent(self, audio_s: float) -> str | None:
        """Count audio as sent; return the name of the mark that is due behind it, if any."""
        self._unmarked_s += audio_s
        return self.close() if self._unmarked_s >= self.EVERY_S else None

    def close(self) -> str | None:
        """Return the name of a mark for the audio sent since the last one, if there was any."""
        if self._unmarked_s <= 0 or len(self._pending) >= self.MAX_PENDING:
            return None
        self._count += 1
        name = f"h{self._count}"
        self._pending.append((name, self._unmarked_s))
        self._unmarked_s = 0.0
        return name

    @property
    def last_pending(self) -> str | None:
        """The newest mark that is not echoed yet, or None."""
        return self._pending[-1][0] if self._pending else None

    def pending(self, name: str) -> bool:
        """Say whether a mark is still to be echoed."""
        return any(name == each for each, _ in self._pending)

    def echoed(self, name: str) -> float:
        """Count everything up to this mark as played, and return how much that is, in seconds.

        Names of forgotten marks do nothing.
        """
        before_s = self.played_s
        if self.pending(name):  # asked once: 512 of them are looked through each time
            echoed = ""
            while echoed != name:
                echoed, audio_s = self._pending.popleft()
                self.played_s += audio_s
        return self.played_s - before_s

    def cleared(self) -> None:
        """Forget what is not known to be played."""
        self._pending.clear()
        self._unmarked_s = 0.0
