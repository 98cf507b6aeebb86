"""Translates LiveKit's terms for a telephone call."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from calls.handover import Handover
from calls.leg_events import LegOutcome

CALL_ID: Final = "sip.callID"
STATUS: Final = "sip.callStatus"
CALLER: Final = "sip.phoneNumber"  # the far end's number, whichever side called
OURS: Final = "sip.trunkPhoneNumber"
LONG_NUMBER: Final = re.compile(r"\+?\d{3,}(?=\d{4})")  # all but its last four digits
RINGING: Final = ("dialing", "ringing")
ACTIVE: Final = "active"
HUNG_UP: Final = "hangup"  # the participant may stay in the room for 32 s more

# RFC 4733, section 3.2.
KEY_CODES: Final[Mapping[str, int]] = {key: code for code, key in enumerate("0123456789*#ABCD")}

# livekit_models.proto, DisconnectReason. Codes that are missing here mean that a server or network
# failed; then the participant returns by itself.
CLIENT_INITIATED: Final = 1
DUPLICATE_IDENTITY: Final = 2
PARTICIPANT_REMOVED: Final = 4
ROOM_DELETED: Final = 5
ROOM_CLOSED: Final = 10
USER_UNAVAILABLE: Final = 11
USER_REJECTED: Final = 12
SIP_TRUNK_FAILURE: Final = 13
CALLER_HUNG_UP: Final = "caller_hung_up"
LINE_ENDED: Final = "line_ended"
LINE_LOST: Final = "line_lost"
NEVER_CONNECTED: Final = "never_connected"
_ENDS: Final[Mapping[int, str]] = {
    CLIENT_INITIATED: LINE_LOST,  # the gateway was stopped: it has reported no hang-up
    PARTICIPANT_REMOVED: LINE_ENDED,
    ROOM_DELETED: LINE_ENDED,
    ROOM_CLOSED: LINE_ENDED,
    USER_UNAVAILABLE: NEVER_CONNECTED,
    USER_REJECTED: NEVER_CONNECTED,
    SIP_TRUNK_FAILURE: NEVER_CONNECTED,
}
"""Why a call ends, by LiveKit's code for why the far end left for good."""
SENT_AWAY: Final = frozenset({DUPLICATE_IDENTITY, PARTICIPANT_REMOVED, ROOM_DELETED, ROOM_CLOSED})
"""LiveKit's codes for why the server disconnected us for good."""

_UNANSWERED: Final[Mapping[int, LegOutcome]] = {
    CLIENT_INITIATED: "cancelled",
    PARTICIPANT_REMOVED: "cancelled",
    ROOM_DELETED: "cancelled",
    ROOM_CLOSED: "cancelled",
    USER_UNAVAILABLE: "no-answer",
    USER_REJECTED: "busy",
}
_BY_SIP_CODE: Final[Mapping[int, Handover]] = {
    408: "no_answer",
    480: "no_answer",
    486: "busy",
    487: "no_answer",
    600: "busy",
    603: "declined",
    607: "declined",
    608: "declined",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SipParty:
    """The far end, as the gateway reports it."""

    identity: str
    call_ref: str = ""
    number: str = ""
    our_number: str = ""


def party_of(identity: str, attributes: Mapping[str, str]) -> SipParty:
    """Return the far end; its numbers are empty if the dispatch rule hides them."""
    return SipParty(
        identity=identity,
        call_ref=attributes.get(CALL_ID, ""),
        number=attributes.get(CALLER, ""),
        our_number=attributes.get(OURS, ""),
    )


def is_answered(attributes: Mapping[str, str]) -> bool:
    """Return whether a participant can hear us; one without a call status, a browser, can."""
    return attributes.get(STATUS, ACTIVE) == ACTIVE


def has_hung_up(attributes: Mapping[str, str]) -> bool:
    """Return whether the call has ended, by either end or because no sound came for too long.

    The participant may still be in the room, while the gateway waits for the far end's
    confirmation, which a dead telephone never sends.
    """
    return attributes.get(STATUS) == HUNG_UP


def end_of(reason: int, attributes: Mapping[str, str]) -> str:
    """Return why a call ended when its participant left; empty if the participant may return.

    Before a participant leaves because of a hang-up, the gateway reports that in the call status. A
    browser has no status.
    """
    if reason == CLIENT_INITIATED and attributes.get(STATUS, HUNG_UP) == HUNG_UP:
        return CALLER_HUNG_UP
    if reason == CLIENT_INITIATED and not is_answered(attributes):
        return NEVER_CONNECTED
    return _ENDS.get(reason, "")


def participant_outcome_of(reason: int, *, answered: bool) -> LegOutcome:
    """Return how a leg ended, by LiveKit's code for why its participant left."""
    return "completed" if answered else _UNANSWERED.get(reason, "failed")


def mask_number(room: str) -> str:
    """Return a room's name for a log, without a number: other rules put the caller's into it."""
    return LONG_NUMBER.sub("***", room)


def handover_of(sip_code: int | None, *, timed_out: bool = False) -> Handover:
    """Return the result of a failed transfer.

    Args:
        sip_code: The status of the destination or its carrier; `None` if there was none.
        timed_out: Whether it rang too long; counts only without a status.
    """
    if sip_code is None:
        return "no_answer" if timed_out else "failed"
    return _BY_SIP_CODE.get(sip_code, "failed")
