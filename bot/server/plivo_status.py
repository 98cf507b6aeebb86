"""What Plivo's callbacks on a call that we placed say.

Source: plivo.com/docs/voice/api/call/make-a-call ("Callbacks") and /machine-detection. `Machine` is
documented as true for a machine; false is taken for a person, where the detection itself says it.
How long it listened is not said.
"""

from collections.abc import Mapping
from typing import Final

from bot.server.status_callbacks import MOST_WORD_CHARS
from calls.leg_progress import StatusCallback
from transports.plivo.words import ending_of

HANGUP: Final = "Hangup"
JUDGED: Final = "MachineDetection"


def plivo_callback(form: Mapping[str, str], *, ref: str) -> StatusCallback:
    """Return what a callback says.

    Args:
        form: What Plivo signed.
        ref: Our own id of the dial, from the callback's address, bounded.
    """
    status, code = form.get("CallStatus", ""), form.get("HangupCauseCode", "")
    if is_over(form):
        status = ending_of(status, code)
    return StatusCallback(
        call_ref=form["CallUUID"][:MOST_WORD_CHARS],
        ref=ref,
        status=status,
        answered_by=_answerer(form),
        reason=code[:MOST_WORD_CHARS] if status == "failed" else "",
    )


def is_over(form: Mapping[str, str]) -> bool:
    """Return whether a callback says that the call is over."""
    return form.get("Event") == HANGUP


def _answerer(form: Mapping[str, str]) -> str:
    said = (form.get("Machine") or form.get("machine") or "").lower()
    if said == "true":
        return "machine"
    return "human" if said == "false" and form.get("Event") == JUDGED else ""
