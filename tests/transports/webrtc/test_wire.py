"""A page's messages, and which of them are accepted."""

import json
from typing import Any

import pytest

from calls.leg_events import EarMeasured
from transports.webrtc.wire import ForPipecat, PageKey, Unwanted, read_page_message

EAR = {
    "type": "ear",
    "turn": 3,
    "buffer_s": 0.13,
    "playout_s": 0.02,
    "network_s": 0.001,
    "made_up_s": 0,
}
STATUS = {"type": "trackStatus", "receiver_index": 0, "enabled": False}


def test_a_plausible_playback_delay_is_read() -> None:
    assert read_page_message(json.dumps(EAR)) == EarMeasured(
        turn=3, buffer_s=0.13, playout_s=0.02, network_s=0.001, made_up_s=0.0
    )


@pytest.mark.parametrize(
    "lie",
    [
        {"turn": 0},
        {"turn": 10**9},
        {"turn": True},
        {"turn": 1.5},
        {"turn": "3"},
        {"buffer_s": -0.1},
        {"buffer_s": 11},
        {"buffer_s": True},
        {"buffer_s": None},
        {"playout_s": "0.02\n\x1b[31m"},
        {"network_s": [0.1]},
        {"network_s": 10**400},
        {"made_up_s": float("nan")},
        {"made_up_s": float("inf")},
    ],
    ids=str,
)
def test_an_implausible_playback_delay_is_refused(lie: dict[str, Any]) -> None:
    assert read_page_message(json.dumps(EAR | lie)) == Unwanted("unknown_data_message")


@pytest.mark.parametrize("key", "0123456789*#")
def test_each_key_is_read(key: str) -> None:
    assert read_page_message(json.dumps({"type": "key", "key": key})) == PageKey(key)


@pytest.mark.parametrize("key", ["", "12", "A", "a", "٣", 5, None, ["5"]], ids=str)
def test_a_key_outside_the_keypad_is_refused(key: object) -> None:
    assert read_page_message(json.dumps({"type": "key", "key": key})) == Unwanted(
        "unknown_data_message"
    )


@pytest.mark.parametrize("text", ["ping: 1", json.dumps({"type": "signalling", "message": STATUS})])
def test_pipecats_own_messages_are_left_to_pipecat(text: str) -> None:
    assert read_page_message(text) == ForPipecat()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        "null",
        "NaN",
        '"text"',
        "[" * 900,
        '{"type": ["signalling"]}',
        json.dumps({"type": "signalling", "message": {"type": "trackStatus"}}),
        json.dumps({"type": "signalling", "message": STATUS | {"receiver_index": 3}}),
        json.dumps({"type": "signalling", "message": {"type": "renegotiate"}}),
        "\n2026-01-01 | ERROR | a forged line \x1b[31m",
    ],
)
def test_other_messages_are_ignored(text: str) -> None:
    assert read_page_message(text) == Unwanted("unknown_data_message")


@pytest.mark.parametrize("message", ["ping" + "x" * 60_000, b"\x00" * 9], ids=["long", "bytes"])
def test_a_large_or_binary_message_is_not_parsed(message: str | bytes) -> None:
    assert read_page_message(message) == Unwanted("data_message_too_big")
