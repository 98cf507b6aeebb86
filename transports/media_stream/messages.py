"""A carrier's media messages as values, and the parts that the carriers share."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import numpy as np
from pipecat.audio.resamplers.base_audio_resampler import BaseAudioResampler
from pipecat.audio.utils import alaw_to_pcm, pcm_to_alaw, pcm_to_ulaw, ulaw_to_pcm

Encoding: TypeAlias = Literal["mulaw", "alaw", "pcm", "pcm_big_endian"]

MESSAGE_S: Final = 1.0  # of audio in one message, at most; carriers send 0.02 to 0.1 s
ENVELOPE_BYTES: Final = 6 * 1024  # of a message's JSON around its audio; a `start` has about 1 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """The encoding of mono audio in a carrier's messages."""

    encoding: Encoding
    rate_hz: int

    @property
    def sample_bytes(self) -> int:
        """The size of one sample, in bytes."""
        return 2 if self.encoding in ("pcm", "pcm_big_endian") else 1

    @property
    def message_bytes(self) -> int:
        """The size of the largest accepted message, with `MESSAGE_S` of audio in base64."""
        return int(MESSAGE_S * self.rate_hz * self.sample_bytes) * 4 // 3 + ENVELOPE_BYTES

    def seconds(self, payload: bytes) -> float:
        """Return the length of a payload, in seconds."""
        return len(payload) / self.sample_bytes / self.rate_hz

    def silence(self, size: int) -> bytes:
        """Return `size` bytes of silence."""
        return _SILENCE[self.encoding] * size

    async def decode(self, payload: bytes, rate_hz: int, resampler: BaseAudioResampler) -> bytes:
        """Return a payload as 16-bit little-endian PCM at `rate_hz`."""
        match self.encoding:
            case "mulaw":
                return await ulaw_to_pcm(payload, self.rate_hz, rate_hz, resampler)
            case "alaw":
                return await alaw_to_pcm(payload, self.rate_hz, rate_hz, resampler)
            case "pcm":
                samples = payload[: len(payload) // 2 * 2]
            case "pcm_big_endian":
                samples = swapped(payload[: len(payload) // 2 * 2])
        return await resampler.resample(samples, self.rate_hz, rate_hz)

    async def encode(self, pcm: bytes, rate_hz: int, resampler: BaseAudioResampler) -> bytes:
        """Return 16-bit little-endian PCM at `rate_hz` as a payload."""
        match self.encoding:
            case "mulaw":
                return await pcm_to_ulaw(pcm, rate_hz, self.rate_hz, resampler)
            case "alaw":
                return await pcm_to_alaw(pcm, rate_hz, self.rate_hz, resampler)
            case "pcm":
                return await resampler.resample(pcm, rate_hz, self.rate_hz)
            case "pcm_big_endian":
                return swapped(await resampler.resample(pcm, rate_hz, self.rate_hz))


def swapped(samples: bytes) -> bytes:
    """Return 16-bit samples in the other byte order."""
    return np.frombuffer(samples, dtype="<i2").byteswap().tobytes()


_SILENCE: Final = {"mulaw": b"\xff", "alaw": b"\xd5", "pcm": b"\0", "pcm_big_endian": b"\0"}

MULAW: Final = Codec(encoding="mulaw", rate_hz=8000)
ALAW: Final = Codec(encoding="alaw", rate_hz=8000)
WIDEST: Final = Codec(encoding="pcm", rate_hz=24000)  # no carrier's messages have more bytes


MAX_MESSAGE_BYTES: Final = WIDEST.message_bytes
MAX_BRACKETS: Final = 200  # a `start` has ten; Python's own limit depends on the version (chosen)
MAX_ID_CHARS: Final = 64  # of a carrier's id; Twilio's ids have 34
MAX_DIGITS: Final = 9  # of a number, because parsing thousands of digits takes long
KEYS: Final = frozenset("0123456789*#")

NOT_ACCEPTABLE: Final = 1003  # RFC 6455, 7.4.1: unacceptable type of data
NOT_CONSISTENT: Final = 1007  # data not consistent with the type of the message
POLICY: Final = 1008  # violates the endpoint's policy
TOO_BIG: Final = 1009  # too big to process


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The first message of a socket, without information about the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The stream begins."""

    stream_sid: str
    call_sid: str
    parameters: Mapping[str, str]  # our own, such as a token, which the carrier returns
    codec: Codec = MULAW  # of the caller's audio
    caller: str = ""  # as the stream says; a signed webhook is more reliable
    called: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A piece of the caller's audio."""

    payload: bytes  # in the stream's codec
    place: int | None = None  # its number, if the carrier may send pieces out of order


@dataclass(frozen=True, slots=True, kw_only=True)
class Digit:
    """The caller pressed a key."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkEchoed:
    """All audio sent before this mark was played, or dropped by a `clear`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A message that needs no reaction, such as the confirmation of a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The stream is over: the caller hung up, or the call was ended in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message that we refuse."""

    reason: str
    close_code: int | None  # for a socket that has not identified its call; others stay open


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
    """Parse one websocket message, from an untrusted sender; never raises.

    Unknown events are refused without a close code, because a carrier may add some. A refusal with
    a close code ends a socket that has not identified its call yet; in a call, the message is
    dropped.
    """
    if isinstance(data, bytes):
        return Refusal(reason="binary_message", close_code=NOT_ACCEPTABLE)
    if len(data) > most_bytes:
        return Refusal(reason="message_too_big", close_code=TOO_BIG)
    try:
        fields = _parse_bounded_json(data)
    except ValueError:
        return Refusal(reason="not_json", close_code=NOT_CONSISTENT)
    if not isinstance(fields, dict):
        return Refusal(reason="not_a_json_object", close_code=NOT_CONSISTENT)
    event = fields.get("event")
    reader = readers.get(event) if isinstance(event, str) else None
    return reader(fields) if reader else UNKNOWN


def _parse_bounded_json(data: str) -> Any:
    """Parse JSON; raise `ValueError` if it is not, or is nested too deeply for the parser."""
    if data.count("{") + data.count("[") > MAX_BRACKETS:
        raise ValueError("nested too deeply")
    return _JSON.decode(data)


def _small_number(digits: str) -> int | None:
    """Return a number; `None` if it has more digits than any field."""
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _whole_number(digits: str) -> int | None:
    """Return 8000 for `8000.0`, as some carriers write a rate; no field has a fraction."""
    return number(digits.removesuffix(".0"))


def _no_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python's parser would accept."""
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(
    parse_int=_small_number, parse_float=_whole_number, parse_constant=_no_constant
)


def read_connected(_: Fields) -> Message:
    """Read `connected`."""
    return Connected()


def read_media(fields: Fields) -> Message:
    """Return the audio of `media`; ignore our own audio, which a stream of both tracks contains."""
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
    """Return the digit of `dtmf`."""
    key = part(fields, "dtmf").get("digit")
    if not isinstance(key, str) or key not in KEYS:
        return Refusal(reason="unknown_key", close_code=None)
    return Digit(key=key)


def read_mark(fields: Fields) -> Message:
    """Return the name of `mark`."""
    name = part(fields, "mark").get("name")
    return MarkEchoed(name=name) if isinstance(name, str) else INCOMPLETE


def read_stopped(_: Fields) -> Message:
    """Read `stop`."""
    return Stopped()


def read_parameters(given: Any) -> Mapping[str, str]:
    """Return our parameters that are texts, from an object or a list of name-value pairs.

    Anything else, and any other value, is left out.
    """
    pairs = given.items() if isinstance(given, dict) else _name_value_pairs(given)
    return {name: value for name, value in pairs if isinstance(value, str)}


def _name_value_pairs(given: Any) -> Iterator[tuple[str, Any]]:
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            yield item["name"], item.get("value")


def is_id(value: Any, most_chars: int = MAX_ID_CHARS) -> TypeGuard[str]:
    """Return whether this can be a carrier's id of a call or a stream."""
    return isinstance(value, str) and 0 < len(value) <= most_chars and value.isascii()


def part(fields: Fields, name: str) -> Fields:
    """Return an object within an object; empty if there is none."""
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def text(fields: Fields, name: str) -> str:
    """Return a text within an object; empty if there is none."""
    found = fields.get(name)
    return found if isinstance(found, str) else ""


def either(inner: Fields, outer: Fields, name: str) -> Any:
    """Return a field that a carrier puts into the inner object or into the outer one."""
    return inner.get(name) or outer.get(name)


def number(value: Any) -> int | None:
    """Return a whole number, which may be written as a text; `None` for anything else."""
    if isinstance(value, int):
        return value
    is_digits = isinstance(value, str) and value.isdecimal() and value.isascii()
    return int(value) if is_digits and len(value) <= MAX_DIGITS else None


READERS: Final[dict[str, Reader]] = {
    "connected": read_connected,
    "media": read_media,
    "dtmf": read_digit,
    "mark": read_mark,
    "stop": read_stopped,
}
"""The readers of the events that most carriers send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One carrier's messages in both directions, and its audio requirements.

    Attributes:
        carrier: The carrier's name in events.
        readers: The readers of its messages, by event.
        stream_key: The key of the stream's id in our messages; empty if they have none.
        most_bytes: The size of the largest message that it sends.
        least_bytes: The size of the shortest payload that it plays well; shorter ones are gathered.
        step_bytes: The size of each payload must be a multiple of this.
        ends_by_close: Whether it sends no `stop`, so that a clean close means a hang-up.
        outlives_redirect: Whether a stream continues after its call was redirected; then the
            redirect takes effect when we close the stream.
        opens_again: Whether it asks us what follows a stream, so that we choose when the next one
            opens. Otherwise the next step of the carrier's own flow may open it after a loss.
    """

    carrier: str
    readers: Mapping[str, Reader]
    stream_key: str
    most_bytes: int = MAX_MESSAGE_BYTES
    least_bytes: int = 0
    step_bytes: int = 1
    ends_by_close: bool = False
    outlives_redirect: bool = False
    opens_again: bool = True

    def read(self, data: str | bytes) -> Message:
        """Parse one websocket message."""
        return read_message(data, self.readers, most_bytes=self.most_bytes)

    def media(self, stream_id: str, payload: bytes, codec: Codec) -> Fields:
        """Return a message that plays a payload."""
        del codec  # for carriers whose messages name it
        return self.message(
            "media", stream_id, media={"payload": base64.b64encode(payload).decode()}
        )

    def mark(self, stream_id: str, name: str) -> Fields:
        """Return a message that is echoed when all audio before it was played."""
        return self.message("mark", stream_id, mark={"name": name})

    def clear(self, stream_id: str) -> Fields:
        """Return a message that makes the carrier drop unplayed audio."""
        return self.message("clear", stream_id)

    def message(self, event: str, stream_id: str, **more: object) -> Fields:
        """Return a message to the carrier."""
        return {"event": event, **({self.stream_key: stream_id} if self.stream_key else {}), **more}
