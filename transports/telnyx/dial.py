"""What Telnyx says of a call that we placed, in the words that all carriers' calls are told in.

Source: developers.telnyx.com/api-reference/callbacks/call-hangup (causes),
/docs/voice/programmable-voice/answering-machine-detection (results), and the types of the vendor's
own package, github.com/team-telnyx/telnyx-python. Which cause comes with which SIP code is written
nowhere: that a code other than 200 counts for more than `normal_clearing` is chosen.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from transports.media_stream.messages import text

MOST_REF_CHARS: Final = 64  # of our own id of a dial
MARK: Final = "dial "  # before it, in the state of a leg that we placed
HANDED_ON: Final = "handed on "  # before a call's state, once somebody is rung for its caller
CALLER: Final = "caller"  # the state of a call that came in, behind that
SIP_DIGITS: Final = 3
DETECTION: Final = frozenset(
    f"call.machine.{means}{what}.ended"
    for means in ("", "premium.")
    for what in ("detection", "greeting")
)

BY_CAUSE: Final[Mapping[str, str]] = {
    "user_busy": "busy",
    "timeout": "no-answer",
    "no_answer": "no-answer",
    "originator_cancel": "canceled",
    "time_limit": "completed",
    "not_found": "failed",
}
"""The final status, in the words of `calls.leg_progress`; other causes go by the SIP code."""

BY_SIP_CODE: Final[Mapping[int, str]] = {
    200: "completed",
    408: "no-answer",
    480: "no-answer",
    487: "no-answer",
    486: "busy",
    600: "busy",
    603: "busy",  # declined by hand; `calls.dialled` has what follows for the number
}

ANSWERERS: Final[Mapping[str, str]] = {
    "human": "human",
    "human_residence": "human",
    "human_business": "human",
    "machine": "machine_start",
    "fax_detected": "fax",
    "silence": "unknown",
    "not_sure": "unknown",
    "beep_detected": "machine_end_beep",
    "ended": "machine_end_other",
}
"""A result of the detection, in the words that are told of any carrier's."""


def final_status(cause: str, sip_code: int | None) -> str:
    """Return how a call ended.

    Args:
        cause: `hangup_cause`; one of tomorrow's is no mistake.
        sip_code: `sip_hangup_cause`; None: Telnyx says none.
    """
    if cause in BY_CAUSE:
        return BY_CAUSE[cause]
    if sip_code is None:
        return "completed" if cause == "normal_clearing" else "failed"
    return BY_SIP_CODE.get(sip_code, "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxEnd:
    """How a call ended."""

    status: str
    sip_code: int | None


def end_of(payload: dict[str, Any]) -> TelnyxEnd:
    """Return what `call.hangup` says; a SIP code may be `unspecified`."""
    code = text(payload, "sip_hangup_cause")
    is_code = code.isascii() and code.isdigit() and len(code) == SIP_DIGITS
    sip_code = int(code) if is_code else None
    status = final_status(text(payload, "hangup_cause"), sip_code)
    return TelnyxEnd(status=status, sip_code=sip_code)


def answerer_of(event: str, payload: dict[str, Any]) -> str:
    """Return who picked up, by the detection's news; empty: this is no news of it."""
    return ANSWERERS.get(text(payload, "result"), "") if event in DETECTION else ""


def state_of(ref: str) -> str:
    """Return the state of a leg that we place: it comes back, signed, with all that is told of it.

    An id in the webhook's address, as Twilio has it, would not do: Telnyx signs the body alone.
    """
    return base64.b64encode(state_of_call(ref).encode()).decode()


def state_of_call(ref: str) -> str:
    """Return the text of a call's state that tells nothing else: our own id of its dial, if any."""
    return f"{MARK}{ref}" if ref else CALLER


def is_handed_on(client_state: object) -> bool:
    """Say whether somebody was rung for a call's caller, who may talk with them now."""
    return state_text(client_state).startswith(HANDED_ON)


def ref_of(client_state: object) -> str:
    """Return our own id of the dial from a leg's state; empty: we did not place it."""
    state = state_text(client_state).removeprefix(HANDED_ON)
    return state.removeprefix(MARK)[:MOST_REF_CHARS] if state.startswith(MARK) else ""


def state_text(client_state: object) -> str:
    """Return a leg's state; empty: it has none, or not one of ours."""
    try:
        return base64.b64decode(str(client_state or ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
