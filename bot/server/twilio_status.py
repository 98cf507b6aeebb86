"""Twilio's status callbacks and verdicts on answering machines, as they are told of any carrier."""

from collections.abc import Mapping
from typing import Final

from bot.server.status_callbacks import MOST_WORD_CHARS
from calls.leg_progress import StatusCallback

_MILLISECOND: Final = 0.001


def twilio_callback(form: Mapping[str, str], *, ref: str) -> StatusCallback:
    """Return what a callback says.

    Args:
        form: What Twilio signed.
        ref: Our own id of the dial, from the callback's address.
    """
    sip, judged = form.get("SipResponseCode", ""), form.get("MachineDetectionDuration", "")
    return StatusCallback(
        call_ref=form["CallSid"][:MOST_WORD_CHARS],
        ref=ref[:MOST_WORD_CHARS],
        status=form.get("CallStatus", ""),
        sip_code=int(sip) if _is_number(sip) else None,
        answered_by=form.get("AnsweredBy", "")[:MOST_WORD_CHARS],
        judged_after_s=int(judged) * _MILLISECOND if _is_number(judged) else 0.0,
        reason=form.get("ErrorCode", "")[:MOST_WORD_CHARS],
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7
