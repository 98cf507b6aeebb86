"""What callbacks have said of a dial so far, for carriers that tell more than they can be asked.

Two processes of a house may each have been told a part: what says more goes first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegOutcome
from calls.leg_progress import LegFact
from campaigns.carrier import FoundCall, outcome_of, verdict_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardLeg:
    """How far a leg has come.

    Attributes:
        ended: How it ended; None: nobody has said that it has.
        sip_code: With which it ended, where the carrier says one.
        machine: Whether the carrier took who picked up for a machine.
    """

    call_ref: str
    answered: bool = False
    ended: LegOutcome | None = None
    machine: bool = False
    sip_code: int | None = None

    def after(self, fact: LegFact) -> "HeardLeg":
        """Return it with one more fact."""
        match fact:
            case LegAnswered():
                return replace(self, answered=True)
            case LegEnded(outcome=outcome, sip_code=sip_code):
                return replace(self, ended=outcome, sip_code=sip_code)
            case AnswererJudged(machine=machine):
                return replace(self, machine=self.machine or machine)
            case _:
                return self

    @property
    def outcome(self) -> LegOutcome | None:
        """Return how it ended, also if who picked up was judged behind the end."""
        return "voicemail" if self.machine and self.ended == "completed" else self.ended

    @property
    def found(self) -> FoundCall:
        """Return the call as far as it was told."""
        outcome = outcome_of(self.ended, machine=self.machine)
        return FoundCall(
            provider_call_id=self.call_ref,
            outcome=outcome,
            answered=self.answered,
            verdict=verdict_of(outcome, self.sip_code),
        )


def joined(parts: Iterable[HeardLeg]) -> HeardLeg | None:
    """Return what several processes know together; None: nobody knows anything."""
    known = list(parts)
    if not known:
        return None
    end = next((each for each in known if each.ended), known[0])
    return HeardLeg(
        call_ref=known[0].call_ref,
        answered=any(each.answered for each in known),
        ended=end.ended,
        sip_code=end.sip_code,
        machine=any(each.machine for each in known),
    )
