"""Telnyx's events of an outbound call, as events of any carrier."""

import base64

import pytest

from transports.telnyx.events import (
    HANDED_ON,
    TelnyxEnd,
    answerer_of,
    encoded_state,
    end_of,
    is_handed_on,
    plain_state,
    ref_of,
)

ENDS: dict[str, tuple[str, str, str, int | None]] = {
    "talked": ("normal_clearing", "200", "completed", 200),
    "talked, without a code": ("normal_clearing", "unspecified", "completed", None),
    "talked for too long": ("time_limit", "unspecified", "completed", None),
    "busy": ("user_busy", "486", "busy", 486),
    "declined by hand": ("call_rejected", "603", "busy", 603),
    "rejected by the network": ("call_rejected", "403", "failed", 403),
    "rejected, without a code": ("call_rejected", "unspecified", "busy", 603),
    "rejected, with a code that is none": ("call_rejected", "Q.850", "busy", 603),
    "not picked up": ("timeout", "unspecified", "no-answer", None),
    "the network gave up ringing": ("normal_clearing", "480", "no-answer", 480),
    "given up by us": ("originator_cancel", "487", "canceled", 487),
    "no such number": ("not_found", "404", "failed", 404),
    "nobody knows": ("unspecified", "unspecified", "failed", None),
    "nobody knows, after a talk": ("unspecified", "200", "completed", 200),
    "a cause of tomorrow": ("weather", "503", "failed", 503),
    "nothing at all": ("", "", "failed", None),
    "a code that is none": ("user_busy", "٤٨٦", "busy", None),
    "a code without end": ("normal_clearing", "4" * 5000, "completed", None),
}


@pytest.mark.parametrize(("cause", "code", "status", "sip_code"), ENDS.values(), ids=ENDS.keys())
def test_the_end_of_a_call_is_read(
    cause: str, code: str, status: str, sip_code: int | None
) -> None:
    said = end_of({"hangup_cause": cause, "sip_hangup_cause": code})

    assert said == TelnyxEnd(status=status, sip_code=sip_code)


@pytest.mark.parametrize(
    ("event", "result", "answerer"),
    [
        ("call.machine.detection.ended", "human", "human"),
        ("call.machine.detection.ended", "machine", "machine_start"),
        ("call.machine.detection.ended", "not_sure", "unknown"),
        ("call.machine.premium.detection.ended", "human_residence", "human"),
        ("call.machine.premium.detection.ended", "human_business", "human"),
        ("call.machine.premium.detection.ended", "machine", "machine_start"),
        ("call.machine.premium.detection.ended", "silence", "unknown"),
        ("call.machine.premium.detection.ended", "fax_detected", "fax"),
        ("call.machine.greeting.ended", "beep_detected", "machine_end_beep"),
        ("call.machine.greeting.ended", "ended", "machine_end_other"),
        ("call.machine.premium.greeting.ended", "beep_detected", "machine_end_beep"),
        ("call.machine.detection.ended", "a result of tomorrow", ""),
        ("call.answered", "human", ""),
    ],
)
def test_the_answerer_is_read(event: str, result: str, answerer: str) -> None:
    assert answerer_of(event, {"result": result}) == answerer


def test_our_own_id_is_read_from_a_state() -> None:
    assert ref_of(encoded_state("d-1")) == "d-1"
    assert not is_handed_on(encoded_state("d-1"))


def test_our_own_id_is_read_from_the_state_of_a_transferred_call() -> None:
    state = base64.b64encode(f"{HANDED_ON}{plain_state('d-1')}".encode()).decode()

    assert ref_of(state) == "d-1"
    assert is_handed_on(state)


@pytest.mark.parametrize(
    "state",
    [None, "", "no base64!", base64.b64encode(b"a-token"), base64.b64encode(b"person v3:x"), 7],
)
def test_a_foreign_state_belongs_to_no_dial(state: object) -> None:
    assert ref_of(state.decode() if isinstance(state, bytes) else state) == ""


def test_an_overlong_id_is_bounded() -> None:
    assert len(ref_of(encoded_state("d" * 5000))) == 64
