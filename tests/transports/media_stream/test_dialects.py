"""Each carrier's messages and commands, and the encoding of sound."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.audio.utils import create_stream_resampler

from bot.server.limits import bounds
from transports.exotel.dialect import EXOTEL, RATES_HZ
from transports.media_stream.messages import (
    ALAW,
    MULAW,
    Acknowledged,
    Codec,
    Connected,
    Dialect,
    Digit,
    MarkEchoed,
    Media,
    Message,
    Refusal,
    Started,
    Stopped,
)
from transports.media_stream.output import MAX_GAP, MAX_OVERTAKING, InOrder
from transports.media_stream.stream import GatheredAudio, Stream
from transports.plivo.dialect import CONTENT_TYPES, MAX_HEADERS_CHARS, PLIVO, read_headers
from transports.telnyx.dialect import CODECS as TELNYX_CODECS
from transports.telnyx.dialect import TELNYX
from transports.twilio.dialect import TWILIO

WIDE = Codec(encoding="pcm_big_endian", rate_hz=16000)
PLAIN = Codec(encoding="pcm", rate_hz=8000)
REF = "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ"


def telnyx_start(encoding: str = "PCMU", rate_hz: object = 8000) -> dict[str, object]:
    start = {
        "user_id": "3E6F995F-85F7-4705-9741-53B116D28237",
        "call_control_id": REF,
        "from": "+13122010094",
        "to": "+13122123456",
        "client_state": "aGF2ZSBhIG5pY2UgZGF5ID1d",
        "custom_parameters": {"token": "t", "odd": 5},
        "media_format": {"encoding": encoding, "sample_rate": rate_hz, "channels": 1},
    }
    return {"event": "start", "sequence_number": "1", "stream_id": "32DE", "start": start}


def plivo_start(encoding: str = "audio/x-mulaw", rate_hz: object = 8000) -> dict[str, object]:
    start = {
        "callId": "1234-a",
        "streamId": "8765-b",
        "accountId": "MAXXXX",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": encoding, "sampleRate": rate_hz},
    }
    headers = "userId=12345;token=abc"
    return {"event": "start", "sequenceNumber": 1, "start": start, "extra_headers": headers}


def exotel_start(encoding: str = "audio/x-raw", rate_hz: object = "8000") -> dict[str, object]:
    start = {
        "stream_sid": "s1",
        "call_sid": "c1",
        "account_sid": "exotel1",
        "from": "+911",
        "to": "+912",
        "custom_parameters": {"token": "t"},
        "media_format": {"encoding": encoding, "sample_rate": rate_hz, "bit_rate": "16"},
    }
    return {"event": "start", "sequence_number": 1, "stream_sid": "s1", "start": start}


def without(start: dict[str, object], *names: str) -> dict[str, object]:
    """Return a start that lacks some of its usual fields, wherever they are."""
    return {
        name: without(value, *names) if isinstance(value, dict) else value
        for name, value in start.items()
        if name not in names
    }


def moved_out(start: dict[str, Any], name: str) -> dict[str, object]:
    """Return a start with the stream's name next to `start`, not in it."""
    return without(start, name) | {name: start["start"].get(name, start.get(name))}


def moved_in(start: dict[str, Any], name: str) -> dict[str, object]:
    """Return a start with the stream's name in `start` alone."""
    bare = without(start, name)
    return bare | {"start": {**start["start"], name: start["start"].get(name, start.get(name))}}


TELNYX_STARTED = Started(
    stream_sid="32DE",
    call_sid=REF,
    parameters={"token": "t"},
    codec=MULAW,
    caller="+13122010094",
    called="+13122123456",
)
EXOTEL_STARTED = Started(
    stream_sid="s1",
    call_sid="c1",
    parameters={"token": "t"},
    codec=PLAIN,
    caller="+911",
    called="+912",
)
PLIVO_STARTED = Started(
    stream_sid="8765-b", call_sid="1234-a", parameters={"userId": "12345", "token": "abc"}
)

# As the carriers' documentation shows them.
SAYS: dict[str, tuple[Dialect, object, Message]] = {
    "telnyx connected": (TELNYX, {"event": "connected", "version": "1.0.0"}, Connected()),
    "telnyx start": (TELNYX, telnyx_start(), TELNYX_STARTED),
    "telnyx media": (
        TELNYX,
        {"event": "media", "media": {"track": "inbound", "chunk": "2", "payload": "/38A"}},
        Media(payload=b"\xff\x7f\x00", place=2),
    ),
    "telnyx dtmf": (TELNYX, {"event": "dtmf", "dtmf": {"digit": "1"}}, Digit(key="1")),
    "telnyx mark": (TELNYX, {"event": "mark", "mark": {"name": "h1"}}, MarkEchoed(name="h1")),
    "telnyx stop": (TELNYX, {"event": "stop", "stop": {"user_id": "3E6F"}}, Stopped()),
    "telnyx error": (
        TELNYX,
        {"event": "error", "payload": {"code": 100004, "title": "invalid_media"}},
        Refusal(reason="telnyx_error_100004", close_code=None),
    ),
    "plivo start": (PLIVO, plivo_start(), PLIVO_STARTED),
    "plivo media": (
        PLIVO,
        {"event": "media", "media": {"track": "inbound", "chunk": 41, "payload": "/38A"}},
        Media(payload=b"\xff\x7f\x00"),
    ),
    "plivo dtmf": (PLIVO, {"event": "dtmf", "dtmf": {"digit": "#"}}, Digit(key="#")),
    "plivo playedStream": (
        PLIVO,
        {"event": "playedStream", "streamId": "8765-b", "name": "h1"},
        MarkEchoed(name="h1"),
    ),
    "plivo clearedAudio": (PLIVO, {"event": "clearedAudio", "streamId": "8"}, Acknowledged()),
    "exotel connected": (EXOTEL, {"event": "connected"}, Connected()),
    "exotel start": (EXOTEL, exotel_start(), EXOTEL_STARTED),
    "exotel media": (
        EXOTEL,
        {"event": "media", "stream_sid": "s1", "media": {"chunk": 2, "payload": "AAEC"}},
        Media(payload=b"\x00\x01\x02"),
    ),
    "exotel dtmf": (EXOTEL, {"event": "dtmf", "dtmf": {"digit": "0"}}, Digit(key="0")),
    "exotel mark": (EXOTEL, {"event": "mark", "mark": {"name": "h1"}}, MarkEchoed(name="h1")),
    "exotel stop": (EXOTEL, {"event": "stop", "stop": {"reason": "callended"}}, Stopped()),
}


@pytest.mark.parametrize(("dialect", "message", "said"), SAYS.values(), ids=SAYS.keys())
def test_a_message_is_read_as_its_carrier_documents_it(
    dialect: Dialect, message: object, said: Message
) -> None:
    assert dialect.read(json.dumps(message)) == said


CODECS: dict[str, tuple[Dialect, object, Codec | None]] = {
    "telnyx mu-law": (TELNYX, telnyx_start("PCMU"), MULAW),
    "telnyx A-law": (TELNYX, telnyx_start("PCMA"), ALAW),
    "telnyx plain": (TELNYX, telnyx_start("L16", 16000), WIDE),
    "telnyx, the rate as a text": (TELNYX, telnyx_start("L16", "16000"), WIDE),
    "telnyx mu-law at another rate": (TELNYX, telnyx_start("PCMU", 16000), None),
    "telnyx Opus": (TELNYX, telnyx_start("OPUS", 48000), None),
    "telnyx without a rate": (TELNYX, telnyx_start("PCMU", None), None),
    "telnyx in small letters": (TELNYX, telnyx_start("pcma"), ALAW),
    "telnyx, the rate as a fraction": (TELNYX, telnyx_start("PCMU", 8000.0), MULAW),
    "telnyx without a format": (TELNYX, without(telnyx_start(), "media_format"), MULAW),
    "plivo in capitals": (PLIVO, plivo_start("audio/X-MULAW"), MULAW),
    "plivo with the rate in the name": (PLIVO, plivo_start("audio/x-mulaw;rate=8000"), MULAW),
    "exotel without a format": (EXOTEL, without(exotel_start(), "media_format"), PLAIN),
    "plivo mu-law": (PLIVO, plivo_start(), MULAW),
    "plivo plain": (PLIVO, plivo_start("audio/x-l16", 8000), PLAIN),
    "plivo plain, wide": (
        PLIVO,
        plivo_start("audio/x-l16", 16000),
        Codec(encoding="pcm", rate_hz=16000),
    ),
    "plivo something else": (PLIVO, plivo_start("audio/opus", 48000), None),
    "exotel": (EXOTEL, exotel_start(), PLAIN),
    "exotel, as its other page names it": (EXOTEL, exotel_start("base64"), PLAIN),
    "exotel, wide": (
        EXOTEL,
        exotel_start(rate_hz="24000"),
        Codec(encoding="pcm", rate_hz=24000),
    ),
    "exotel, one byte a sample": (EXOTEL, exotel_start("audio/x-mulaw"), None),
    "exotel at a rate that it does not have": (EXOTEL, exotel_start(rate_hz="44100"), None),
}


@pytest.mark.parametrize(("dialect", "start", "codec"), CODECS.values(), ids=CODECS.keys())
def test_the_start_names_the_encoding_of_the_callers_sound(
    dialect: Dialect, start: object, codec: Codec | None
) -> None:
    said = dialect.read(json.dumps(start))

    assert (said.codec if isinstance(said, Started) else None) == codec
    if codec is None:
        assert said == Refusal(reason="unknown_codec", close_code=1003)


TWILIO_START = {"event": "start", "start": {"streamSid": "MZ1", "callSid": "CA1"}}
PLACES = {
    "twilio": (TWILIO, TWILIO_START, "streamSid"),
    "telnyx": (TELNYX, telnyx_start(), "stream_id"),
    "plivo": (PLIVO, plivo_start(), "streamId"),
    "exotel": (EXOTEL, exotel_start(), "stream_sid"),
}


@pytest.mark.parametrize("place", [moved_in, moved_out], ids=["in the start", "next to it"])
@pytest.mark.parametrize(("dialect", "start", "name"), PLACES.values(), ids=PLACES.keys())
def test_the_name_of_the_stream_is_read_wherever_it_is(
    dialect: Dialect, start: dict[str, Any], name: str, place: Callable[..., dict[str, object]]
) -> None:
    assert dialect.read(json.dumps(place(start, name))) == dialect.read(json.dumps(start))


@pytest.mark.parametrize("track", ["outbound", "outbound_track"])
@pytest.mark.parametrize("dialect", [TWILIO, TELNYX, PLIVO, EXOTEL], ids=lambda each: each.carrier)
def test_the_track_of_our_own_sound_is_ignored(dialect: Dialect, track: str) -> None:
    media = {"event": "media", "media": {"track": track, "chunk": "2", "payload": "/38A"}}

    assert dialect.read(json.dumps(media)) == Acknowledged()


ALL = (TWILIO, TELNYX, PLIVO, EXOTEL)
IDS = [dialect.carrier for dialect in ALL]
BAD: dict[str, tuple[object, str, int | None]] = {
    "an event of tomorrow": ({"event": "video"}, "unknown_event", None),
    "a key that no telephone has": (
        {"event": "dtmf", "dtmf": {"digit": "12"}},
        "unknown_key",
        None,
    ),
    "a start that is text": ({"event": "start", "start": "now"}, "incomplete_message", 1007),
    "a start without a call": ({"event": "start", "start": {}}, "incomplete_message", 1007),
    "no base64": ({"event": "media", "media": {"payload": "**"}}, "invalid_base64", 1007),
    "media without a payload": ({"event": "media"}, "incomplete_message", 1007),
}


@pytest.mark.parametrize(("message", "reason", "code"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("dialect", ALL, ids=IDS)
def test_invalid_messages_are_refused_in_every_dialect(
    dialect: Dialect, message: object, reason: str, code: int | None
) -> None:
    assert dialect.read(json.dumps(message)) == Refusal(reason=reason, close_code=code)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=8,
)
EVENTS = ("start", "media", "dtmf", "mark", "stop", "error", "playedStream", "clearedAudio")


@pytest.mark.parametrize("dialect", ALL, ids=IDS)
@given(event=st.sampled_from(EVENTS), inner=JSON, more=JSON)
def test_no_json_message_raises(dialect: Dialect, event: str, inner: object, more: object) -> None:
    names = ("start", "media", "dtmf", "mark", "payload", "extra_headers", "stream_id", "name")

    dialect.read(json.dumps({"event": event} | dict.fromkeys(names, inner)))
    dialect.read(json.dumps({"event": event, event: more, "stream_id": "s"}))


def stream(dialect: Dialect, codec: Codec) -> Stream:
    return Stream(dialect=dialect, stream_id="s1", ours=codec, theirs=codec)


def test_our_messages_are_as_each_carrier_documents_them() -> None:
    assert TELNYX.media("s1", b"\xff", MULAW) == {"event": "media", "media": {"payload": "/w=="}}
    assert TELNYX.mark("s1", "h1") == {"event": "mark", "mark": {"name": "h1"}}
    assert TELNYX.clear("s1") == {"event": "clear"}
    assert PLIVO.media("s1", b"\xff", MULAW) == {
        "event": "playAudio",
        "streamId": "s1",
        "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": "/w=="},
    }
    wide = PLIVO.media("s1", b"\0\0", Codec(encoding="pcm", rate_hz=16000))["media"]
    assert (wide["contentType"], wide["sampleRate"]) == ("audio/x-l16", 16000)
    assert PLIVO.mark("s1", "h1") == {"event": "checkpoint", "streamId": "s1", "name": "h1"}
    assert PLIVO.clear("s1") == {"event": "clearAudio", "streamId": "s1"}
    assert EXOTEL.media("s1", b"\xff", PLAIN) == {
        "event": "media",
        "stream_sid": "s1",
        "media": {"payload": "/w=="},
    }
    assert EXOTEL.mark("s1", "h1") == {
        "event": "mark",
        "stream_sid": "s1",
        "mark": {"name": "h1"},
    }
    assert EXOTEL.clear("s1") == {"event": "clear", "stream_sid": "s1"}


@pytest.mark.parametrize(
    ("dialect", "start", "name"),
    [
        (TELNYX, telnyx_start(), "call_control_id"),
        (TELNYX, telnyx_start(), "stream_id"),
        (PLIVO, plivo_start(), "callId"),
        (PLIVO, plivo_start(), "streamId"),
        (EXOTEL, exotel_start(), "call_sid"),
        (EXOTEL, exotel_start(), "stream_sid"),
    ],
)
def test_a_start_with_an_empty_name_is_invalid(
    dialect: Dialect, start: dict[str, object], name: str
) -> None:
    def emptied(fields: dict[str, object]) -> dict[str, object]:
        inner = {
            key: emptied(value) if isinstance(value, dict) else value
            for key, value in fields.items()
        }
        return inner | {name: ""} if name in fields else inner

    said = dialect.read(json.dumps(emptied(start)))

    assert isinstance(said, Refusal)
    assert said.reason == "incomplete_message"


HEADERS: dict[str, tuple[object, dict[str, str]]] = {
    "as documented": ("userId=1;token=abc", {"userId": "1", "token": "abc"}),
    "by commas": ("a=1,token=abc", {"a": "1", "token": "abc"}),
    "with the prefix of SIP": ("{X-PH-token: abc}", {"token": "abc"}),
    "as JSON": ('{"token":"abc"}', {"token": "abc"}),
    "nothing": ("", {}),
    "no text": ({"token": "abc"}, {}),
}


@pytest.mark.parametrize(("given_headers", "read"), HEADERS.values(), ids=HEADERS.keys())
def test_plivos_extra_headers_are_read_in_every_observed_form(
    given_headers: object, read: dict[str, str]
) -> None:
    assert read_headers(given_headers) == read


def cost_s(dialect: Dialect, message: object) -> float:
    """Return the processor time that reading a message takes: the least of five tries."""
    data, took_s = json.dumps(message), []
    for _ in range(5):
        began_s = time.thread_time()
        dialect.read(data)
        took_s.append(time.thread_time() - began_s)
    return min(took_s)


STARTS: dict[str, object] = {
    "twilio": TWILIO_START,
    "telnyx": telnyx_start(),
    "plivo": plivo_start(),
    "exotel": exotel_start(),
}
FILLERS = ("extra_headers", "custom_parameters", "customParameters", "from", "to")


@pytest.mark.parametrize("length", [MAX_HEADERS_CHARS, 14_000])
@pytest.mark.parametrize("dialect", ALL, ids=IDS)
def test_parsing_an_untrusted_start_takes_linear_time(dialect: Dialect, length: int) -> None:
    start: dict[str, dict[str, object]] = json.loads(json.dumps(STARTS[dialect.carrier]))

    for name in FILLERS:
        filled = start | {name: "a" * length, "start": start["start"] | {name: "a" * (length // 9)}}
        control = cost_s(dialect, filled | {"event": "of tomorrow"})

        assert cost_s(dialect, filled) < 200 * control  # ten thousand times, by its square


def test_overlong_extra_headers_of_plivo_are_not_read() -> None:
    pairs = "token=abc;" + "a" * MAX_HEADERS_CHARS

    assert read_headers(pairs[:MAX_HEADERS_CHARS]) == {"token": "abc"}
    assert read_headers(pairs) == {}


def now(coming: Awaitable[bytes]) -> bytes:
    async def wait() -> bytes:
        return await coming

    return asyncio.run(wait())


@pytest.mark.parametrize(
    ("codec", "pcm", "payload"),
    [
        (MULAW, [0, -32124, 32124], b"\xff\x00\x80"),
        (ALAW, [8, 32256, -32256], b"\xd5\xaa\x2a"),  # A-law has no zero
        (PLAIN, [0, 258, -2], b"\x00\x00\x02\x01\xfe\xff"),
        (WIDE, [0, 258, -2], b"\x00\x00\x01\x02\xff\xfe"),
    ],
    ids=["mu-law", "A-law", "low byte first", "high byte first"],
)
def test_sound_is_encoded_and_decoded_in_each_encoding(
    codec: Codec, pcm: list[int], payload: bytes
) -> None:
    samples = np.array(pcm, dtype="<i2").tobytes()
    resampler = create_stream_resampler()

    assert now(codec.encode(samples, codec.rate_hz, resampler)) == payload
    assert now(codec.decode(payload, codec.rate_hz, resampler)) == samples
    assert codec.seconds(payload) == pytest.approx(3 / codec.rate_hz)


def test_half_a_sample_is_dropped() -> None:
    assert now(PLAIN.decode(b"\x01\x02\x03", 8000, create_stream_resampler())) == b"\x01\x02"


@given(pieces=st.lists(st.integers(min_value=1, max_value=2000), max_size=40))
def test_buffered_sound_leaves_whole_in_pieces_that_exotel_plays(pieces: list[int]) -> None:
    gathered = GatheredAudio(least_bytes=3200, step_bytes=320)
    came = [bytes([number % 255 + 1]) * size for number, size in enumerate(pieces)]

    sent = [gathered.add(item) for item in came]
    rest = gathered.rest(b"\0\0")

    whole = [item for item in (*sent, rest) if item]
    assert all(len(item) >= 3200 and len(item) % 320 == 0 for item in whole)
    assert b"".join(whole).rstrip(b"\0") == b"".join(came)
    assert gathered.given_bytes == gathered.added_bytes
    assert gathered.rest(b"\0\0") == b""


def test_a_carrier_that_plays_any_piece_gets_each_at_once() -> None:
    gathered = GatheredAudio(least_bytes=0, step_bytes=1)

    assert gathered.add(b"abc") == b"abc"
    assert gathered.given_bytes == gathered.added_bytes


def test_buffered_sound_is_dropped_when_it_is_cleared() -> None:
    gathered = GatheredAudio(least_bytes=3200, step_bytes=320)
    gathered.add(b"abc")

    gathered.clear()

    assert gathered.rest(b"\0\0") == b""


def test_a_carrier_of_long_pieces_gets_sound_further_ahead() -> None:
    assert stream(TELNYX, MULAW).lead_s == pytest.approx(0.3)
    assert stream(EXOTEL, PLAIN).lead_s == pytest.approx(0.3 + 0.2)


def test_reordered_pieces_are_put_in_order() -> None:
    queue: InOrder[int] = InOrder()

    heard = [item for place in (1, 3, 2, 4, 6, 7, 5, 8) for item in queue.add(place, place)]

    assert heard == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_missing_piece_is_given_up_and_not_heard_later() -> None:
    queue: InOrder[int] = InOrder()
    places = [1, *range(3, 3 + MAX_OVERTAKING + 1), 2, 9, 9]

    heard = [item for place in places for item in queue.add(place, place)]

    assert heard == [1, 3, 4, 5, 6, 7, 8, 9]


def test_a_restarted_count_is_followed() -> None:
    queue: InOrder[int] = InOrder()

    heard = [item for place in (MAX_GAP * 3, 1, 2) for item in queue.add(place, place)]

    assert heard == [MAX_GAP * 3, 1, 2]


@given(shifts=st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=60))
def test_nothing_is_heard_twice_or_out_of_order(shifts: list[int]) -> None:
    queue: InOrder[int] = InOrder()
    places = sorted(range(1, len(shifts) + 1), key=lambda place: place + shifts[place - 1] * 1.5)

    heard = [item for place in places for item in queue.add(place, place)]

    assert heard == sorted(set(heard))


SECONDS = [
    (TWILIO, MULAW),
    *((TELNYX, replace(codec, rate_hz=24_000)) for codec in TELNYX_CODECS.values()),
    *((PLIVO, codec) for codec in CONTENT_TYPES.values()),
    *((EXOTEL, Codec(encoding="pcm", rate_hz=rate_hz)) for rate_hz in RATES_HZ),
]


@pytest.mark.parametrize(("dialect", "codec"), SECONDS)
def test_a_second_of_audio_in_every_codec_is_within_the_servers_limit(
    dialect: Dialect, codec: Codec
) -> None:
    second = base64.b64encode(bytes(codec.rate_hz * codec.sample_bytes)).decode()
    more = {"track": "inbound", "chunk": "123456789", "timestamp": "123456789", "x": "x" * 4_000}
    data = json.dumps({"event": "media", "media": {**more, "payload": second}})

    assert isinstance(dialect.read(data), Media)
    assert len(data) <= bounds()["ws_max_size"]
