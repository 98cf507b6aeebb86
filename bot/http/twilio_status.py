"""What Twilio's status callbacks and its verdicts on answering machines say."""

from collections.abc import Mapping
from typing import Final

from bot.http.status_callbacks import MOST_WORD_CHARS, small_number
from calls.leg_progress import StatusCallback

_MILLISECOND: Final = 0.001


def twilio_callback(form: Mapping[str, str], *, ref: str) -> StatusCallback:
    """Return what a callback says.

    Args:
        form: What Twilio signed.
        ref: Our own id of the dial, from the callback's address.
    """
    judged = small_number(form.get("MachineDetectionDuration", ""))
    return StatusCallback(
        call_ref=form["CallSid"][:MOST_WORD_CHARS],
        ref=ref[:MOST_WORD_CHARS],
        status=form.get("CallStatus", ""),
        sip_code=small_number(form.get("SipResponseCode", "")),
        answered_by=form.get("AnsweredBy", "")[:MOST_WORD_CHARS],
        judged_after_s=(judged or 0) * _MILLISECOND,
        reason=form.get("ErrorCode", "")[:MOST_WORD_CHARS],
    )
