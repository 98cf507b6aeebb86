"""Whether the next contact may be dialled now; if not, why, and what is done instead.

What stands in the way is named in this order: the campaign itself, its hours and limits, the
carrier, our own room, and last the stages: what a person has to change comes before what passes by
itself. When a stage is down it is done as the campaign's owner chose: `hold` (nobody is dialled
until it is over), `skip` (the contact is put back, and the next one is looked at), or `degraded`
(dialled all the same: the call goes down the way down).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

OnOutage: TypeAlias = Literal["hold", "skip", "degraded"]
Step: TypeAlias = Literal["dial", "hold", "skip"]

STAGE_ORDER: Final = ("stt", "llm", "tts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known in the moment before a dial.

    Attributes:
        running: Whether the campaign runs, as its owner wants.
        tripped: Whether its own breaker has paused it.
        in_window: Whether any of its contacts may be called at this hour.
        calls_left: How many more may be placed today; None: as many as one likes.
        spend_left: How much more may be spent today; None: no limit.
        carrier_down: Why the carrier places no calls, as a code; empty: it does.
        seats: How many more calls we could take now.
        places: How many more of this campaign may be in progress at once.
        usable: For each stage, whether any of its rungs may be asked now.
    """

    running: bool = True
    tripped: bool = False
    in_window: bool = True
    calls_left: int | None = None
    spend_left: float | None = None
    carrier_down: str = ""
    seats: int = 1
    places: int = 1
    usable: Mapping[str, bool] = field(default_factory=dict[str, bool])


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardVerdict:
    """What is to be done about the next contact.

    Attributes:
        step: Dial it, wait, or put it back and look at the next one.
        reason: Why it is not simply dialled; a code. Also of a dial that is made all the same.
        outage: Whether a dependency is to blame, which an operator is told once; False: it is the
            ordinary course of a campaign, such as the end of its hours.
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
    if reason := _own_reason(now):
        return GuardVerdict(step="hold", reason=reason)
    if now.carrier_down:
        return GuardVerdict(step="hold", reason=now.carrier_down, outage=True)
    if reason := _no_room(now):
        return GuardVerdict(step="hold", reason=reason)
    down = stage_down(now.usable)
    if not down:
        return GO
    step: Step = "dial" if on_outage == "degraded" else on_outage
    return GuardVerdict(step=step, reason=down, outage=True)


def stage_down(usable: Mapping[str, bool]) -> str:
    """Return the first stage without a usable rung, as `stt_down`; empty: each has one."""
    ordered = sorted(usable, key=lambda stage: (_place(stage), stage))
    return next((f"{stage}_down" for stage in ordered if not usable[stage]), "")


def _own_reason(now: Circumstances) -> str:
    reasons = {
        "paused": not now.running,
        "agent_failed_in_a_row": now.tripped,
        "outside_window": not now.in_window,
        "daily_calls_reached": now.calls_left is not None and now.calls_left <= 0,
        "daily_spend_reached": now.spend_left is not None and now.spend_left <= 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _no_room(now: Circumstances) -> str:
    if now.places <= 0:
        return "all_lines_busy"
    return "no_seat" if now.seats <= 0 else ""


def _place(stage: str) -> int:
    return STAGE_ORDER.index(stage) if stage in STAGE_ORDER else len(STAGE_ORDER)
