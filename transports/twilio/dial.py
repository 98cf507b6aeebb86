"""Handing a live call of Twilio's on: what it is told to do, and what is said to have come of it.

Source: twilio.com/docs/voice/twiml/dial, /voice/twiml/number, /voice/twiml/refer, /voice/twiml/sip.
"""

from collections.abc import Mapping
from typing import Final

from twilio.twiml.voice_response import Dial, Refer, VoiceResponse

from calls.handover import Destination, Handover

AFTER_PATH: Final = "/twilio/after"
STATUS_PATH: Final = "/twilio/status"
MOST_RING_S: Final = 600
_FATES: Final[Mapping[str, Handover]] = {
    "completed": "connected",
    "answered": "connected",
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
}
_SIP: Final[Mapping[str, Handover]] = {
    "200": "connected",
    "486": "busy",
    "600": "busy",
    "408": "no_answer",
    "480": "no_answer",
    "487": "no_answer",
    "603": "declined",
}


def dial_twiml(to: Destination, *, ring_s: float, public_url: str) -> str:
    """Return what connects the caller with somebody: `<Refer>` for a SIP URI, else `<Dial>`."""
    answer, action = VoiceResponse(), f"{public_url}{AFTER_PATH}"
    if to.number.startswith(("sip:", "sips:")):
        refer = Refer(action=action)
        refer.sip(to.number)
        answer.append(refer)
        return str(answer)
    timeout = max(5, min(MOST_RING_S, round(ring_s)))
    dial = Dial(action=action, timeout=timeout, answer_on_bridge=True)
    dial.number(
        to.number,
        status_callback=f"{public_url}{STATUS_PATH}",
        status_callback_event="answered",
    )
    answer.append(dial)
    return str(answer)


def dial_outcome(form: Mapping[str, str]) -> Handover | None:
    """Return what a webhook says to have come of handing on; None: it says nothing of it."""
    if sip := form.get("DialSipResponseCode") or form.get("NotifySipResponseCode"):
        known = _SIP.get(sip)
        if known is not None and known != "connected":
            return known
    if "ReferCallStatus" in form:
        return _SIP.get(form.get("NotifySipResponseCode") or "", "failed")
    status = form.get("DialCallStatus")
    return None if status is None else _FATES.get(status, "failed")


def answered_for(form: Mapping[str, str]) -> str:
    """Return whose caller is being talked to by the person who answered; empty: nobody's."""
    return form.get("ParentCallSid", "") if form.get("CallStatus") == "in-progress" else ""
