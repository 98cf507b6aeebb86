"""Plivo's words for how a call ended, in the words that all carriers' callbacks are read in.

Source: plivo.com/docs/voice/xml/request/call-status (the statuses) and plivo.com/docs/voice/
troubleshooting/hangup-causes (the codes). The page of codes was not to be had whole: 1000, 4000 and
4010 stand in what was read of it; 3000, 3010, 3020 and 6010 are what customers' code reads in
callbacks and records of theirs (3010 with `CallStatus=busy` in one that was recorded in full). A
code that is not here says nothing.
"""

from collections.abc import Mapping
from typing import Final

UNANSWERED: Final[Mapping[str, str]] = {
    "1000": "canceled",
    "3000": "no-answer",
    "3010": "busy",
    "3020": "busy",  # the red button: carriers record it so, and `calls/dialled.py` does
    "6010": "no-answer",  # it rang for as long as it was allowed to
}
"""By the code of the hang-up, of calls that nobody answered."""

STATUSES: Final[Mapping[str, str]] = {
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no-answer",
    "cancel": "canceled",
    "canceled": "canceled",
    "cancelled": "canceled",
}
"""By the status of a call that is over."""

FAILED: Final = "failed"  # also `timeout`: a carrier did not connect the call in time


def ending_of(status: str, code: str) -> str:
    """Return how a call ended.

    The code goes first: Plivo's own page says that a hang-up's status is always `completed`, and
    what was recorded of one says otherwise.
    """
    return UNANSWERED.get(code) or STATUSES.get(status, FAILED)
