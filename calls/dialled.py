"""The result of dialling a number, from the SIP status, and what follows from it, as a table.

If there is a SIP status, it alone decides. The gateway also reports an HTTP status and a code of
its own, but their meaning differs from the usual one: its 429 is a busy callee, not a rate limit.

Each verdict answers two independent questions: whether to dial this number again, and whether the
trunk, which carries all dials, is healthy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from calls.leg_events import LegOutcome

Again: TypeAlias = Literal["no", "later", "never"]
"""Advice on another dial. `no`: the dial was answered or cancelled. `never`: dialling this number
is useless."""

Trunk: TypeAlias = Literal["well", "strained", "refusing"]
"""The state of the trunk. `strained`: a failure that counts towards the breaker. `refusing`: a
person must act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialVerdict:
    """The meaning of a dial's result.

    Attributes:
        outcome: The outcome for the record.
        reason: A code to filter by.
        again: Whether this number should be dialled again.
        trunk: The state of the trunk.
    """

    outcome: LegOutcome
    reason: str
    again: Again = "later"
    trunk: Trunk = "well"


ANSWERED: Final = DialVerdict(outcome="completed", reason="answered", again="no")
RANG_OUT: Final = DialVerdict(outcome="no-answer", reason="rang_out")
GATEWAY_LOST: Final = DialVerdict(outcome="failed", reason="gateway_lost", trunk="strained")
_GATEWAY_FULL: Final = DialVerdict(outcome="failed", reason="gateway_full", trunk="strained")

_BUSY: Final = DialVerdict(outcome="busy", reason="busy")
_AWAY: Final = DialVerdict(outcome="no-answer", reason="unavailable")
_CANCELLED: Final = DialVerdict(outcome="cancelled", reason="cancelled", again="no")
# Carriers record a declined call as "busy"; the difference is in whether to dial again.
_DECLINED: Final = DialVerdict(outcome="busy", reason="declined", again="never")
_NO_SUCH_NUMBER: Final = DialVerdict(outcome="failed", reason="no_such_number", again="never")
_MOVED: Final = DialVerdict(outcome="failed", reason="number_changed", again="never")
_LOGIN: Final = DialVerdict(outcome="failed", reason="login_refused", trunk="refusing")
_UNPAID: Final = DialVerdict(outcome="failed", reason="payment_required", trunk="refusing")
_FORBIDDEN: Final = DialVerdict(outcome="failed", reason="forbidden", trunk="refusing")
_OUR_NUMBER: Final = DialVerdict(outcome="failed", reason="our_number_refused", trunk="refusing")
_MEDIA: Final = DialVerdict(outcome="failed", reason="no_common_media", trunk="refusing")
_CARRIER: Final = DialVerdict(outcome="failed", reason="carrier_trouble", trunk="strained")
_OTHER: Final = DialVerdict(outcome="failed", reason="refused")

# RFC 3261, section 21; 433: RFC 5079; 607: RFC 8197; 608: RFC 8688.
VERDICTS: Final[Mapping[int, DialVerdict]] = MappingProxyType(
    {
        301: _MOVED,
        302: _MOVED,
        400: _NO_SUCH_NUMBER,
        401: _LOGIN,
        402: _UNPAID,
        403: _FORBIDDEN,
        404: _NO_SUCH_NUMBER,
        405: _MEDIA,
        407: _LOGIN,
        408: _AWAY,
        410: _NO_SUCH_NUMBER,
        415: _MEDIA,
        433: _OUR_NUMBER,  # the callee rejects calls without a number
        480: _AWAY,
        484: _NO_SUCH_NUMBER,
        486: _BUSY,
        487: _CANCELLED,
        488: _MEDIA,
        491: _CANCELLED,
        504: _AWAY,
        600: _BUSY,
        603: _DECLINED,
        604: _NO_SUCH_NUMBER,
        606: _MEDIA,
        607: _DECLINED,
        608: _OUR_NUMBER,  # a network in between blocked us, not the callee
    }
)
# Without a SIP status, the call never left the gateway, or got no response. Then the gateway's own
# code decides. It says nothing about the contact's number, so no such code means "never".
_WITHOUT_STATUS: Final[Mapping[str, DialVerdict]] = MappingProxyType(
    {
        "canceled": RANG_OUT,
        "deadline_exceeded": GATEWAY_LOST,  # the gateway's own limit, after the ringing limit
        "failed_precondition": _LOGIN,  # the gateway gave up after five tries to log in
        # Our request is wrong, or the trunk's host has no address (livekit-sip,
        # `classifyInviteError`).
        "invalid_argument": DialVerdict(outcome="failed", reason="bad_request", trunk="refusing"),
        "not_found": DialVerdict(outcome="failed", reason="no_such_trunk", trunk="refusing"),
        "permission_denied": DialVerdict(outcome="failed", reason="key_refused", trunk="refusing"),
        "resource_exhausted": _GATEWAY_FULL,
        "unauthenticated": DialVerdict(outcome="failed", reason="key_refused", trunk="refusing"),
        "unavailable": _GATEWAY_FULL,
    }
)
# An unreachable trunk has the same code as a callee who does not answer; only the text differs.
# Source: livekit-sip, pkg/sip/outbound.go, `sipResponse`.
_GAVE_UP: Final = frozenset({"canceled", "deadline_exceeded"})
_BY_WORDS: Final[Mapping[str, DialVerdict]] = MappingProxyType(
    {
        "sip request timed out": RANG_OUT,
        "transaction failed": _CARRIER,
        "response channel closed": _CARRIER,
        "shutting down": GATEWAY_LOST,
    }
)


def judge_dial(sip_code: int | None, *, code: str = "", words: str = "") -> DialVerdict:
    """Return the meaning of a dial that was not answered.

    Args:
        sip_code: The SIP status from the callee or the carrier; `None` if there was none.
        code: The gateway's own code, used only without a status.
        words: The gateway's text, used only if the gateway gave up the call.
    """
    if sip_code is None:
        text = words.lower() if code in _GAVE_UP else ""
        known = (verdict for part, verdict in _BY_WORDS.items() if part in text)
        return next(known, _WITHOUT_STATUS.get(code, GATEWAY_LOST))
    if sip_code in VERDICTS:
        return VERDICTS[sip_code]
    return _CARRIER if 500 <= sip_code < 600 else _OTHER
