"""Turns a carrier's status callbacks into leg events, each once and never backwards.

Callbacks may come twice and in any order. A late one does not move a call backwards: a call that
has ended stays ended, even if a ringing callback arrives afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from calls.leg_events import (
    AnswererJudged,
    LegAnswered,
    LegCharged,
    LegEnded,
    LegOutcome,
    LegRinging,
)

OUTCOMES: Final[Mapping[str, LegOutcome]] = {
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no-answer",
    "failed": "failed",
    "canceled": "cancelled",
}
"""By the carrier's final status."""

MACHINES: Final = ("machine", "fax")

LegEvent: TypeAlias = LegRinging | LegAnswered | LegEnded | LegCharged | AnswererJudged


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCallback:
    """One callback.

    Attributes:
        call_ref: The carrier's id of the call.
        ref: Our own id of the dial, if we placed the call.
        status: In the carrier's words; empty if the callback has none.
        sip_code: Of the answer to the call, if the carrier gives one.
        answered_by: The result of answering machine detection; empty if there is none.
        judged_after_s: How long that took.
        reason: The name of an error, if there is one.
        cost: The cost of the call; `None` if the callback has none.
    """

    call_ref: str
    ref: str = ""
    status: str = ""
    sip_code: int | None = None
    answered_by: str = ""
    judged_after_s: float = 0.0
    reason: str = ""
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegProgress:
    """How far a call has come, from the callbacks so far."""

    began_at: float  # the first sign of it, monotonic
    ringing: bool = False
    answered: bool = False
    ended: bool = False
    answered_by: str = ""
    charged: bool = False

    def after(self, said: StatusCallback, now: float) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        """Return the progress after a callback, and the new events."""
        judged, facts = self._judge(said)
        moved, more = judged._move(said, now)  # noqa: SLF001 - another instance of this class
        if said.cost is None or self.charged:
            return moved, (*facts, *more)
        price = LegCharged(call_ref=said.call_ref, ref=said.ref, cost=said.cost)
        return replace(moved, charged=True), (*facts, *more, price)

    def _judge(self, said: StatusCallback) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        if not said.answered_by or self.answered_by:
            return self, ()
        fact = AnswererJudged(
            call_ref=said.call_ref,
            ref=said.ref,
            answerer=said.answered_by,
            machine=said.answered_by.startswith(MACHINES),
            after_s=said.judged_after_s,
        )
        return replace(self, answered_by=said.answered_by), (fact,)

    def _move(self, said: StatusCallback, now: float) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        if self.ended:
            return self, ()
        if said.status in OUTCOMES:
            return self._end(said)
        if said.status == "in-progress" and not self.answered:
            fact = LegAnswered(
                call_ref=said.call_ref, ref=said.ref, after_s=round(now - self.began_at, 3)
            )
            return replace(self, answered=True, ringing=True), (fact,)
        if said.status == "ringing" and not self.ringing:
            return replace(self, ringing=True), (LegRinging(call_ref=said.call_ref, ref=said.ref),)
        return self, ()

    def _end(self, said: StatusCallback) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        outcome = OUTCOMES[said.status]
        if outcome == "completed" and self.answered_by.startswith(MACHINES):
            outcome = "voicemail"
        fact = LegEnded(
            call_ref=said.call_ref,
            ref=said.ref,
            outcome=outcome,
            sip_code=said.sip_code,
            reason=said.reason,
        )
        return replace(self, ended=True), (fact,)
