"""Decides how to finish a dial whose process is gone, from the carrier's answer.

A contact is dialled again only after the carrier has said that it never had the call. That answer
counts only after a grace time, since a request may be on its way for as long as its time limit.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from calls.outbound import Dial, DialOutcome, DialResult
from transports.dialling import FoundCall

GRACE_S: Final = 30.0  # chosen: three times what a request to a carrier may take
MOST_CALL_S: Final = 2 * 3600.0  # a call cannot go on for longer, whatever the carrier says

FateAction: TypeAlias = Literal["settle", "ask_again", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """The action, with the result if it is "settle"."""

    action: FateAction
    result: DialResult | None = None


ASK_AGAIN: Final = Fate(action="ask_again")
RELEASE: Final = Fate(action="release")
LOST: Final = Fate(
    action="settle", result=DialResult(outcome=DialOutcome.UNKNOWN, reason="lost_at_carrier")
)


def was_never_asked(dial: Dial) -> bool:
    """Return whether the carrier was never asked to place this dial."""
    return dial.confirmed_s is None


def judge_fate(
    dial: Dial, found: FoundCall | None, *, now: float, grace_s: float = GRACE_S
) -> Fate:
    """Return what to do about a dial whose process is gone.

    Args:
        dial: As it was taken over.
        found: The carrier's answer; `None` if it has no such call.
        now: The time of that answer.
        grace_s: For this long after the last moment at which the carrier may have been asked, its
            "no such call" proves nothing.
    """
    if was_never_asked(dial):
        return RELEASE
    if found is None:
        if now < (dial.confirmed_s or 0.0) + grace_s:
            return ASK_AGAIN
        return RELEASE if dial.state == "intended" else LOST
    if found.outcome is None:
        return LOST if now > dial.intended_s + MOST_CALL_S else ASK_AGAIN
    result = DialResult(
        outcome=found.outcome, reason="found_at_carrier", length_s=found.length_s, cost=found.cost
    )
    return Fate(action="settle", result=result)
