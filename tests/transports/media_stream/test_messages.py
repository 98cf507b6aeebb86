"""Messages, marks, and limits on incoming data."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.media_stream.line import Marks
from transports.media_stream.messages import (
    Connected,
    Digit,
    MarkEchoed,
    Media,
    Message,
    Refusal,
    Started,
    Stopped,
)
from transports.twilio.dialect import TWILIO

# As Twilio's documentation shows them.
START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t", "odd": 5},
    },
    "streamSid": "MZ1",
}
SAYS: dict[str, tuple[object, Message]] = {
    "connected": ({"event": "connected", "protocol": "Call", "version": "1.0.0"}, Connected()),
    "start": (START, Started(stream_sid="MZ1", call_sid="CA1", parameters={"token": "t"})),
    "media": (
        {"event": "media", "media": {"track": "inbound", "chunk": "1", "payload": "/38A"}},
        Media(payload=b"\xff\x7f\x00"),
    ),
    "dtmf": ({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "#"}}, Digit(key="#")),
    "mark": ({"event": "mark", "mark": {"name": "h1"}}, MarkEchoed(name="h1")),
    "stop": ({"event": "stop", "stop": {"accountSid": "AC1", "callSid": "CA1"}}, Stopped()),
}


@pytest.mark.parametrize(("message", "said"), SAYS.values(), ids=SAYS.keys())
def test_a_message_is_read_as_twilio_documents_it(message: object, said: Message) -> None:
    assert TWILIO.read(json.dumps(message)) == said


REFUSED: dict[str, tuple[object, int | None]] = {
    "no event": ({}, None),
    "an event that is a list": ({"event": ["media"]}, None),
    "a start without a call": ({"event": "start", "start": {"streamSid": "MZ1"}}, 1007),
    "media that is a number": ({"event": "media", "media": 5}, 1007),
    "a payload that is a number": ({"event": "media", "media": {"payload": 5}}, 1007),
    "a payload that is not ASCII": ({"event": "media", "media": {"payload": "ä"}}, 1007),
    "a mark without a name": ({"event": "mark"}, 1007),
}


@pytest.mark.parametrize(("message", "close_code"), REFUSED.values(), ids=REFUSED.keys())
def test_an_unknown_message_is_refused(message: object, close_code: int | None) -> None:
    said = TWILIO.read(json.dumps(message))

    assert isinstance(said, Refusal)
    assert said.close_code == close_code


COSTLY = {
    "no number": ('{"event": "media", "media": {"payload": NaN}}', "not_json"),
    "no end": ('{"event": -Infinity}', "not_json"),
    "brackets": ("[" * 16_000, "not_json"),
    "nested objects": ('{"a":' * 2_500 + "1" + "}" * 2_500, "not_json"),
    "objects nested less deeply": ('{"a":' * 300 + "1" + "}" * 300, "not_json"),
    "a number of 15,000 digits": ('{"event": ' + "9" * 15_000 + "}", "unknown_event"),
    "an exponent": ('{"event": 1e99999}', "unknown_event"),
    "more than 16 kB": (json.dumps({"event": "media", "x": "y" * 17_000}), "message_too_big"),
    "a number for a stream": (
        '{"event": "start", "start": {"streamSid": 5, "callSid": "CA1"}}',
        "incomplete_message",
    ),
    "a stream's name without end": (
        json.dumps({"event": "start", "start": {"streamSid": "M" * 99, "callSid": "CA1"}}),
        "incomplete_message",
    ),
    "a stream's name that is no text": (
        r'{"event": "start", "start": {"streamSid": "\ud800", "callSid": "CA1"}}',
        "incomplete_message",
    ),
}


@pytest.mark.parametrize(("text", "reason"), COSTLY.values(), ids=COSTLY.keys())
def test_an_expensive_message_is_refused(text: str, reason: str) -> None:
    said = TWILIO.read(text)

    assert isinstance(said, Refusal)
    assert said.reason == reason


@given(st.text() | st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_incoming_message_raises(data: str | bytes) -> None:
    TWILIO.read(data)


def test_a_mark_is_due_every_fifth_of_a_second_of_audio() -> None:
    marks = Marks()

    assert [marks.sent(0.05) for _ in range(8)] == [None, None, None, "h1", None, None, None, "h2"]


def test_an_echo_counts_everything_before_it() -> None:
    marks = Marks()
    marks.sent(0.2)
    marks.sent(0.2)
    marks.sent(0.2)

    marks.echoed("h2")

    assert marks.played_s == pytest.approx(0.4)
    assert not marks.all_played


def test_the_rest_of_an_utterance_gets_a_mark_and_silence_gets_none() -> None:
    marks = Marks()
    marks.sent(0.1)

    assert marks.close() == "h1"
    assert marks.close() is None


def test_echoes_after_a_clear_do_not_mean_heard() -> None:
    marks = Marks()
    marks.sent(0.2)
    marks.sent(0.2)
    marks.echoed("h1")

    marks.cleared()
    marks.echoed("h2")

    assert marks.played_s == pytest.approx(0.2)
    assert marks.all_played


def test_a_far_end_without_echoes_fills_no_memory() -> None:
    marks = Marks()

    names = [marks.sent(0.2) for _ in range(10_000)]

    assert sum(name is not None for name in names) == Marks.MAX_PENDING


@given(st.lists(st.sampled_from(["send", "clear", "echo", "echo a stranger"]), max_size=60))
def test_never_more_is_counted_as_played_than_was_sent(steps: list[str]) -> None:
    marks, names, sent_s = Marks(), ["h999"], 0.0
    for step in steps:
        if step == "send":
            sent_s += 0.1
            names += [name] if (name := marks.sent(0.1)) else []
        elif step == "clear":
            marks.cleared()
        else:
            marks.echoed(names[-1 if step == "echo" else 0])

        assert 0 <= marks.played_s <= sent_s + 1e-9
