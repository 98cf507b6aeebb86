"""Turns a carrier's status callbacks into leg events, each once and in order.

Callbacks may arrive twice, and in any order. A late one never moves a call backwards: a call that
has ended stays ended, even if a callback says afterwards that it rings.
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
"""The outcome for each final status of a carrier."""

MACHINES: Final = ("machine", "fax")

LegEvent: TypeAlias = LegRinging | LegAnswered | LegEnded | LegCharged | AnswererJudged


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCallback:
    """One callback.

    Attributes:
        call_ref: The carrier's id of the call.
        ref: Our own id of the dial, if we placed the call.
        status: The status, as in Twilio's API; empty if the callback has none.
        sip_code: The SIP status of the call, if the carrier reports it.
        answered_by: The result of answering machine detection; empty if there is none.
        judged_after_s: How long the detection took.
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
    """The progress of a call, by the callbacks so far."""

    began_at: float  # when the call was first known, monotonic
    ringing: bool = False
    answered: bool = False
    ended: bool = False
    answered_by: str = ""
    charged: bool = False

    def apply(
        self, callback: StatusCallback, now: float
    ) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        """Return the progress after a callback, and the new events; this value stays as it is.

        The first price and the first answerer count, even after the end; the status only before it.
        `now` is monotonic, in seconds.
        """
        judged, events = self._take_detection_result(callback)
        advanced, more = judged._advance_to_status(callback, now)  # noqa: SLF001 - the same class
        if callback.cost is None or self.charged:
            return advanced, (*events, *more)
        price = LegCharged(call_ref=callback.call_ref, ref=callback.ref, cost=callback.cost)
        return replace(advanced, charged=True), (*events, *more, price)

    def _take_detection_result(
        self, callback: StatusCallback
    ) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        """Take the first result of the machine detection; ignore later ones."""
        if not callback.answered_by or self.answered_by:
            return self, ()
        event = AnswererJudged(
            call_ref=callback.call_ref,
            ref=callback.ref,
            answerer=callback.answered_by,
            machine=callback.answered_by.startswith(MACHINES),
            after_s=callback.judged_after_s,
        )
        return replace(self, answered_by=callback.answered_by), (event,)

    def _advance_to_status(
        self, callback: StatusCallback, now: float
    ) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        """Move the call forward by the callback's status; repeated and earlier ones are ignored."""
        if self.ended:
            return self, ()
        if callback.status in OUTCOMES:
            return self._end_leg(callback)
        if callback.status == "in-progress" and not self.answered:
            event = LegAnswered(
                call_ref=callback.call_ref,
                ref=callback.ref,
                after_s=round(now - self.began_at, 3),
            )
            return replace(self, answered=True, ringing=True), (event,)
        if callback.status == "ringing" and not self.ringing:
            return replace(self, ringing=True), (
                LegRinging(call_ref=callback.call_ref, ref=callback.ref),
            )
        return self, ()

    def _end_leg(self, callback: StatusCallback) -> tuple["LegProgress", tuple[LegEvent, ...]]:
        """End the leg with a final status; a completed call with a machine is a voicemail."""
        outcome = OUTCOMES[callback.status]
        if outcome == "completed" and self.answered_by.startswith(MACHINES):
            outcome = "voicemail"
        event = LegEnded(
            call_ref=callback.call_ref,
            ref=callback.ref,
            outcome=outcome,
            sip_code=callback.sip_code,
            reason=callback.reason,
        )
        return replace(self, ended=True), (event,)
