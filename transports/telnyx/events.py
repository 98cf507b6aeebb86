"""Telnyx's events of outbound calls, in the terms that all carriers share.

Source: developers.telnyx.com/api-reference/callbacks/call-hangup (causes),
/docs/voice/programmable-voice/answering-machine-detection (results), and the types of the vendor's
own package, github.com/team-telnyx/telnyx-python. No page says which cause comes with which SIP
code. We chose that with `normal_clearing` the SIP code decides.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from calls.caller import Attestation, attestation_from
from calls.leg_progress import StatusCallback
from transports.media_stream.messages import text
from transports.rest import number_of

MAX_REF_CHARS: Final = 64  # of our own id of a dial, and of Telnyx's cause of a hang-up
MARK: Final = "dial "  # in the state of a call that we placed, before our own id of the dial
HANDED_ON: Final = "handed on "  # prefix of a call's state while a person is rung for its caller
CALLER: Final = "caller"  # the state of an inbound call, after that prefix
SIP_DIGITS: Final = 3
DETECTION: Final = frozenset(
    f"call.machine.{mode}{what}.ended"
    for mode in ("", "premium.")
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
"""The final status, in the terms of `calls.leg_progress`; for other causes, see `BY_SIP_CODE`."""

SIP_BY_CAUSE: Final[Mapping[str, int]] = {"not_found": 404, "call_rejected": 603}
"""The SIP code that a cause stands for, if Telnyx gives none.

A call that was rejected without a code counts as declined by hand, as in a transfer: in doubt, the
person is not called again.
"""

BY_SIP_CODE: Final[Mapping[int, str]] = {
    200: "completed",
    408: "no-answer",
    480: "no-answer",
    487: "no-answer",
    486: "busy",
    600: "busy",
    603: "busy",  # declined by hand; `calls.dialled` defines what follows for the number
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
"""A detection result, in the terms that all carriers share."""


def final_status(cause: str, sip_code: int | None) -> str:
    """Return how a call ended.

    Args:
        cause: `hangup_cause`; it may be unknown to us.
        sip_code: `sip_hangup_cause`; `None` if Telnyx gives none.
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
    """Return how a call ended, from `call.hangup`, whose SIP code may be `unspecified`."""
    code = text(payload, "sip_hangup_cause")
    is_code = code.isascii() and code.isdigit() and len(code) == SIP_DIGITS
    sip_code = int(code) if is_code else None
    cause = text(payload, "hangup_cause")
    sip_code = SIP_BY_CAUSE.get(cause) if sip_code is None else sip_code
    return TelnyxEnd(status=final_status(cause, sip_code), sip_code=sip_code)


def answerer_of(event: str, payload: dict[str, Any]) -> str:
    """Return the kind of answerer from a detection event; empty for other events."""
    return ANSWERERS.get(text(payload, "result"), "") if event in DETECTION else ""


def attestation_of(payload: dict[str, Any]) -> Attestation:
    """Return the attestation in `call.initiated`; "unknown" if Telnyx has not checked it."""
    level, valid = text(payload, "shaken_stir_attestation"), payload.get("shaken_stir_validated")
    if not level or not isinstance(valid, bool):
        return "unknown"
    return attestation_from(f"TN-Validation-{f'Passed-{level}' if valid else 'Failed'}")


def encoded_state(ref: str) -> str:
    """Return the encoded state of a call, which Telnyx sends back, signed, with all its events.

    An id in the webhook's URL, as for Twilio, would not be authenticated: Telnyx signs only the
    body.
    """
    return base64.b64encode(plain_state(ref).encode()).decode()


def plain_state(ref: str) -> str:
    """Return a call's state before encoding: our own id of its dial, or `CALLER` without one."""
    return f"{MARK}{ref}" if ref else CALLER


def is_handed_on(client_state: object) -> bool:
    """Return whether a person was rung for the call's caller; the two may be talking."""
    return state_text(client_state).startswith(HANDED_ON)


def ref_of(client_state: object) -> str:
    """Return our own id of the dial from a leg's state; empty if we did not place it."""
    state = state_text(client_state).removeprefix(HANDED_ON)
    return state.removeprefix(MARK)[:MAX_REF_CHARS] if state.startswith(MARK) else ""


def state_text(client_state: object) -> str:
    """Return a leg's decoded state; empty if it has none, or one that we did not write."""
    try:
        return base64.b64decode(str(client_state or ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


STATUSES: Final[Mapping[str, str]] = {
    "call.initiated": "ringing",
    "call.answered": "in-progress",
    "call.hangup": "",  # depends on the cause
}
COST: Final = "call.cost"


def progress_in(
    call_id: str, event: str, payload: dict[str, Any], ref: str
) -> StatusCallback | None:
    """Return the progress in a webhook about a dial; `None` if there is none.

    Telnyx does not report ringing, so `call.initiated` of an outbound leg counts as ringing. Telnyx
    reports the price in `call.cost` if the application's "call cost" is switched on.

    Source: developers.telnyx.com/docs/voice/programmable-voice/voice-api-webhooks,
    apispec.telnyx.com/call-cost-received-event-7389933d0.
    """
    answerer = answerer_of(event, payload)
    cost = _price_in_payload(payload) if event == COST else None
    if event not in STATUSES and not answerer and cost is None:
        return None
    status, sip_code = STATUSES.get(event, ""), None
    if event == "call.hangup":
        end = end_of(payload)
        status, sip_code = end.status, end.sip_code
    return StatusCallback(
        call_ref=call_id,
        ref=ref,
        status=status,
        sip_code=sip_code,
        answered_by=answerer,
        reason=text(payload, "hangup_cause")[:MAX_REF_CHARS],
        cost=cost,
    )


def _price_in_payload(payload: dict[str, Any]) -> float | None:
    price = number_of(payload.get("total_cost"))
    return price if price is not None and price >= 0 else None
