"""LiveKit's terms translated into ours, as tables."""

import pytest
from livekit import rtc

from calls.handover import Handover
from calls.leg_events import LegOutcome
from transports.livekit.rooms import uri_of
from transports.livekit.words import (
    CLIENT_INITIATED,
    DUPLICATE_IDENTITY,
    KEY_CODES,
    PARTICIPANT_REMOVED,
    ROOM_CLOSED,
    ROOM_DELETED,
    SENT_AWAY,
    SIP_TRUNK_FAILURE,
    USER_REJECTED,
    USER_UNAVAILABLE,
    SipParty,
    end_of,
    handover_of,
    has_hung_up,
    is_answered,
    mask_number,
    participant_outcome_of,
    party_of,
)

ATTRIBUTES = {
    "sip.callID": "SCL_1",
    "sip.callStatus": "ringing",
    "sip.phoneNumber": "+15550199",
    "sip.trunkPhoneNumber": "+15550100",
}


def test_a_party_is_read_from_the_gateways_attributes() -> None:
    assert party_of("sip_+15550199", ATTRIBUTES) == SipParty(
        identity="sip_+15550199",
        call_ref="SCL_1",
        number="+15550199",
        our_number="+15550100",
    )


def test_a_party_with_a_hidden_number_has_none() -> None:
    assert party_of("sip_1a2b", {"sip.callID": "SCL_1"}) == SipParty(
        identity="sip_1a2b", call_ref="SCL_1"
    )


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        ("dialing", False),
        ("ringing", False),
        ("automation", False),
        ("active", True),
        ("hangup", False),
        (None, True),
    ],
)
def test_only_an_active_call_hears_us_and_non_telephones_always_do(
    status: str | None, *, answered: bool
) -> None:
    attributes = {} if status is None else {"sip.callStatus": status}

    assert is_answered(attributes) is answered


@pytest.mark.parametrize(
    ("reason", "answered", "outcome"),
    [
        (CLIENT_INITIATED, True, "completed"),
        (CLIENT_INITIATED, False, "cancelled"),
        (ROOM_DELETED, False, "cancelled"),
        (USER_UNAVAILABLE, False, "no-answer"),
        (USER_REJECTED, False, "busy"),
        (SIP_TRUNK_FAILURE, False, "failed"),
        (0, False, "failed"),
        (0, True, "completed"),
    ],
)
def test_the_reason_for_leaving_is_the_end_of_the_leg(
    reason: int, *, answered: bool, outcome: LegOutcome
) -> None:
    assert participant_outcome_of(reason, answered=answered) == outcome


@pytest.mark.parametrize(
    ("sip_code", "timed_out", "handover"),
    [
        (486, False, "busy"),
        (600, False, "busy"),
        (480, False, "no_answer"),
        (408, False, "no_answer"),
        (487, False, "no_answer"),
        (603, False, "declined"),
        (404, False, "failed"),
        (503, False, "failed"),
        (None, True, "no_answer"),
        (None, False, "failed"),
    ],
)
def test_a_refused_transfer_has_its_outcome(
    sip_code: int | None, *, timed_out: bool, handover: Handover
) -> None:
    assert handover_of(sip_code, timed_out=timed_out) == handover


def test_our_constants_equal_the_librarys() -> None:
    ours = {
        "CLIENT_INITIATED": CLIENT_INITIATED,
        "DUPLICATE_IDENTITY": DUPLICATE_IDENTITY,
        "PARTICIPANT_REMOVED": PARTICIPANT_REMOVED,
        "ROOM_DELETED": ROOM_DELETED,
        "ROOM_CLOSED": ROOM_CLOSED,
        "USER_UNAVAILABLE": USER_UNAVAILABLE,
        "USER_REJECTED": USER_REJECTED,
        "SIP_TRUNK_FAILURE": SIP_TRUNK_FAILURE,
    }

    assert {name: int(rtc.DisconnectReason.Value(name)) for name in ours} == ours


@pytest.mark.parametrize("name", ["SERVER_SHUTDOWN", "SIGNAL_CLOSE", "CONNECTION_TIMEOUT"])
def test_the_client_rejoins_after_a_failure_of_the_server(name: str) -> None:
    reason = int(rtc.DisconnectReason.Value(name))

    assert (end_of(reason, {"sip.callStatus": "active"}), reason in SENT_AWAY) == ("", False)


@pytest.mark.parametrize(
    ("reason", "status", "ended"),
    [  # what livekit-sip v1.8.0 and livekit-server v1.13.5 send when the left side happens
        pytest.param(CLIENT_INITIATED, "hangup", "caller_hung_up", id="BYE, or no media for long"),
        pytest.param(CLIENT_INITIATED, None, "caller_hung_up", id="a browser leaves"),
        pytest.param(CLIENT_INITIATED, "active", "line_lost", id="the gateway is stopped"),
        pytest.param(
            CLIENT_INITIATED,
            "ringing",
            "never_connected",
            id="the gateway is stopped during ringing",
        ),
        pytest.param(ROOM_DELETED, "active", "line_ended", id="someone deletes the room"),
        pytest.param(ROOM_CLOSED, "active", "line_ended", id="the server closes the room"),
        pytest.param(PARTICIPANT_REMOVED, "active", "line_ended", id="someone removes the caller"),
        pytest.param(USER_REJECTED, "ringing", "never_connected", id="the callee refuses"),
        pytest.param(
            USER_UNAVAILABLE, "ringing", "never_connected", id="the callee is unavailable"
        ),
        pytest.param(SIP_TRUNK_FAILURE, "dialing", "never_connected", id="the carrier fails"),
        pytest.param(DUPLICATE_IDENTITY, "active", "", id="the caller joins again"),
        pytest.param(0, "active", "", id="unknown"),
    ],
)
def test_the_reason_of_a_disconnect_decides_how_the_call_ended(
    reason: int, status: str | None, ended: str
) -> None:
    attributes = {} if status is None else {"sip.callStatus": status}

    assert end_of(reason, attributes) == ended


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("call-_+15550199123_CdvMTT8XtduG", "call-_***9123_CdvMTT8XtduG"),
        ("call-_0301234567_q1", "call-_***4567_q1"),
        ("call-dial-01JAF3K", "call-dial-01JAF3K"),
    ],
)
def test_no_log_has_the_number_in_a_rooms_name(room: str, text: str) -> None:
    assert mask_number(room) == text


def test_every_key_has_its_code() -> None:
    assert [KEY_CODES[item] for item in "09*#AD"] == [0, 9, 10, 11, 12, 15]


@pytest.mark.parametrize(
    ("number", "uri"),
    [
        ("+15550123", "tel:+15550123"),
        ("sip:desk@10.0.0.2", "sip:desk@10.0.0.2"),
        ("tel:+15550123", "tel:+15550123"),
    ],
)
def test_a_destination_is_formatted_for_a_refer(number: str, uri: str) -> None:
    assert uri_of(number) == uri


@pytest.mark.parametrize(
    ("status", "over"), [("hangup", True), ("active", False), ("ringing", False), ("", False)]
)
def test_a_call_that_the_gateway_has_given_up_is_over(status: str, *, over: bool) -> None:
    assert has_hung_up({"sip.callStatus": status} if status else {}) is over
