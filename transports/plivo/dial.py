"""Handing a live call of Plivo's on: what it is told to do, and what is said to have come of it.

Source: plivo.com/docs/voice/xml/dial and /docs/voice/use-cases/dial-status-reporting (statuses, an
empty `DialBLegUUID` when nobody answers), the package `plivo`, xml/DialElement.py. A callback with
`DialAction=answer` was recorded in full by a customer. Not tried on a live account: the cause of a
call that is declined by hand, and whether `answer` and `connected` both come.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

from calls.handover import Destination, Handover
from transports.plivo.calls import STATUS_PATH

AFTER_PATH: Final = "/plivo/after"
TRANSFER_PATH: Final = "/plivo/transfer"
_FATES: Final[Mapping[str, Handover]] = {
    "completed": "connected",
    "busy": "busy",
    "no-answer": "no_answer",
    "timeout": "no_answer",
    "cancel": "no_answer",
    "failed": "failed",
}
_DECLINED: Final = "CALL_REJECTED"  # the network's own word for a call that was declined by hand
_ANSWERED: Final = ("answer", "connected")


def transfer_url(order_id: str, *, public_url: str) -> str:
    """Return where Plivo is to ask what to do with a call; whom to ring does not stand in it."""
    return f"{public_url}{TRANSFER_PATH}?{urlencode({'order': order_id})}"


def dial_verb(to: Destination, *, ring_s: float, public_url: str) -> str:
    """Return what connects the caller with somebody: `<User>` for a SIP URI, else `<Number>`."""
    noun = "User" if to.number.startswith(("sip:", "sips:")) else "Number"
    attributes = {
        "action": f"{public_url}{AFTER_PATH}",
        "method": "POST",
        "timeout": str(max(1, round(ring_s))),
        "dialMusic": "real",  # the ringing itself; without it the caller may hear silence
        "callbackUrl": f"{public_url}{STATUS_PATH}",
        "callbackMethod": "POST",
    }
    said = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<Dial {said}><{noun}>{escape(to.number)}</{noun}></Dial>"


def dial_outcome(form: Mapping[str, str]) -> Handover | None:
    """Return what a webhook says to have come of handing on; None: it says nothing of it."""
    status = form.get("DialStatus")
    if status is None:
        return None
    outcome = _FATES.get(status, "failed")
    if outcome == "connected":
        return "no_answer" if form.get("DialBLegUUID") == "" else "connected"
    return "declined" if form.get("DialHangupCause") == _DECLINED else outcome


def is_dial_news(form: Mapping[str, str]) -> bool:
    """Return whether a callback is about somebody who is rung for a caller."""
    return "DialAction" in form


def answered_for(form: Mapping[str, str]) -> str:
    """Return whose caller is being talked to by the person who answered; empty: nobody's."""
    if form.get("DialAction") not in _ANSWERED:
        return ""
    return form.get("DialALegUUID") or form.get("CallUUID", "")
