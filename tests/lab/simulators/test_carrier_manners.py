"""Each carrier of the lab follows its documentation, and reports everything else."""

import base64

import numpy as np
import pytest

from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from lab.simulators.carrier.manner import (
    ClearOrder,
    Complaint,
    MarkOrder,
    Order,
    PlayOrder,
    WireMessage,
)
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.carrier.sound_code import MULAW_CODE, SoundCode, plain_code
from lab.simulators.carrier.telnyx import TelnyxAccount, TelnyxManner, telnyx_call

EXOTEL, EXOTEL_CALL = ExotelManner(), exotel_call()
PLIVO, PLIVO_CALL = PlivoManner(PlivoAccount()), plivo_call()
TELNYX, TELNYX_CALL = TelnyxManner(TelnyxAccount()), telnyx_call()
ALL = {
    "exotel": (EXOTEL, EXOTEL_CALL),
    "plivo": (PLIVO, PLIVO_CALL),
    "telnyx": (TELNYX, TELNYX_CALL),
}


def payload(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def exotel(event: str, **more: object) -> WireMessage:
    return {"event": event, "stream_sid": EXOTEL_CALL.stream_sid} | more


def plivo(event: str, **more: object) -> WireMessage:
    return {"event": event, "streamId": PLIVO_CALL.stream_sid} | more


def sound(size: int, content_type: str = "audio/x-mulaw", rate: object = 8000) -> WireMessage:
    media = {"contentType": content_type, "sampleRate": rate, "payload": payload(size)}
    return plivo("playAudio", media=media)


OBEYED: dict[str, tuple[str, WireMessage, Order]] = {
    "exotel plays": (
        "exotel",
        exotel("media", media={"payload": payload(3200)}),
        PlayOrder(bytes(3200)),
    ),
    "exotel marks": ("exotel", exotel("mark", mark={"name": "h1"}), MarkOrder("h1")),
    "exotel clears": ("exotel", exotel("clear"), ClearOrder()),
    "plivo plays": ("plivo", sound(160), PlayOrder(bytes(160))),
    "plivo marks": ("plivo", plivo("checkpoint", name="h1"), MarkOrder("h1")),
    "plivo clears": ("plivo", plivo("clearAudio"), ClearOrder()),
    "telnyx plays": (
        "telnyx",
        {"event": "media", "media": {"payload": payload(160)}},
        PlayOrder(bytes(160)),
    ),
    "telnyx marks": ("telnyx", {"event": "mark", "mark": {"name": "h1"}}, MarkOrder("h1")),
    "telnyx clears": ("telnyx", {"event": "clear"}, ClearOrder()),
}


@pytest.mark.parametrize(("carrier", "said", "order"), OBEYED.values(), ids=OBEYED.keys())
def test_documented_messages_are_obeyed(carrier: str, said: WireMessage, order: Order) -> None:
    manner, phone = ALL[carrier]

    assert manner.order(said, phone) == order


COMPLAINED: dict[str, tuple[str, WireMessage]] = {
    "exotel, a piece that would be torn": (
        "exotel",
        exotel("media", media={"payload": payload(640)}),
    ),
    "exotel, no multiple of 320": ("exotel", exotel("media", media={"payload": payload(3210)})),
    "exotel, too long": ("exotel", exotel("media", media={"payload": payload(102_720)})),
    "exotel, another stream": (
        "exotel",
        exotel("clear") | {"stream_sid": "other"},
    ),
    "exotel, the name that its stream does not have": (
        "exotel",
        {"event": "clear", "stream_id": EXOTEL_CALL.stream_sid},
    ),
    "plivo, another code": ("plivo", sound(160, "audio/x-l16")),
    "plivo, another rate": ("plivo", sound(160, rate=16000)),
    "plivo, another stream": ("plivo", plivo("clearAudio") | {"streamId": "other"}),
    "plivo, a mark as Twilio has it": ("plivo", plivo("mark", mark={"name": "h1"})),
    "telnyx, under 20 ms": ("telnyx", {"event": "media", "media": {"payload": payload(80)}}),
    "telnyx, over 30 s": ("telnyx", {"event": "media", "media": {"payload": payload(240_160)}}),
    "telnyx, something else": ("telnyx", {"event": "dance"}),
}


@pytest.mark.parametrize(("carrier", "said"), COMPLAINED.values(), ids=COMPLAINED.keys())
def test_undocumented_messages_are_reported(carrier: str, said: WireMessage) -> None:
    manner, phone = ALL[carrier]

    assert isinstance(manner.order(said, phone), Complaint)


@pytest.mark.parametrize(
    ("code", "tolerance"),
    [(MULAW_CODE, 400), (plain_code(16000), 0), (plain_code(16000, high_byte_first=True), 0)],
    ids=["mu-law", "low byte first", "high byte first"],
)
def test_sound_returns_unchanged(code: SoundCode, tolerance: int) -> None:
    samples = np.array([0, 1, -1, 300, -20_000, 20_000], dtype=np.int16)

    back = code.decode(code.encode(samples)).astype(int)

    assert np.abs(back - samples).max() <= tolerance
    assert code.decode(code.silence).tolist() == [0]
