"""Whether the next contact may be dialled now; if not, why, and what is done instead.

Whose turn it is, hours, pace and daily limits are decided where a contact is claimed
(`campaigns/claiming.py`), in the same transaction. Here stands what the queue cannot know: the
campaign's own breaker, the carrier, our room, and whether an agent could talk. When a stage is down
it is done as the campaign's owner chose: `hold` (nobody is dialled until it is over), `skip` (the
contact is put back, and the next one is looked at), or `degraded` (dialled all the same: the call
goes down the way down).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from campaigns.model import OnOutage

Step: TypeAlias = Literal["dial", "hold", "skip"]

STAGE_ORDER: Final = ("stt", "llm", "tts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known in the moment before a dial.

    Attributes:
        tripped: Why a breaker of the campaign's own has paused it, as a code; empty: none has.
        carrier_down: Why the carrier places no calls, as a code; empty: it does.
        seats: How many more calls we could take now.
        usable: For each stage, whether any of its rungs may be asked now.
    """

    tripped: str = ""
    carrier_down: str = ""
    seats: int = 1
    usable: Mapping[str, bool] = field(default_factory=dict[str, bool])


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardVerdict:
    """What is to be done about the next contact.

    Attributes:
        step: Dial it, wait, or put it back and look at the next one.
        reason: Why it is not simply dialled; a code. Also of a dial that is made all the same.
        outage: Whether a dependency is to blame, which an operator is told once; False: it is the
            ordinary course of a house, such as all seats being taken.
    """

    step: Step
    reason: str = ""
    outage: bool = False

    @property
    def degraded(self) -> bool:
        """Whether the call is placed although a stage is down."""
        return self.step == "dial" and bool(self.reason)


GO: Final = GuardVerdict(step="dial")


def judge_dial_now(now: Circumstances, *, on_outage: OnOutage) -> GuardVerdict:
    """Return whether the next contact may be dialled."""
    if now.tripped:
        return GuardVerdict(step="hold", reason=now.tripped, outage=True)
    if now.carrier_down:
        return GuardVerdict(step="hold", reason=now.carrier_down, outage=True)
    if now.seats <= 0:
        return GuardVerdict(step="hold", reason="no_seat")
    down = stage_down(now.usable)
    if not down:
        return GO
    step: Step = "dial" if on_outage == "degraded" else on_outage
    return GuardVerdict(step=step, reason=down, outage=True)


def stage_down(usable: Mapping[str, bool]) -> str:
    """Return the first stage without a usable rung, as `stt_down`; empty: each has one."""
    ordered = sorted(usable, key=lambda stage: (_place(stage), stage))
    return next((f"{stage}_down" for stage in ordered if not usable[stage]), "")


def _place(stage: str) -> int:
    return STAGE_ORDER.index(stage) if stage in STAGE_ORDER else len(STAGE_ORDER)
