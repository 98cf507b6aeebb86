"""What a row of the drill is made of: faults and their moments, a plan, targets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

HAIRCUT: Final = "How much is a haircut?"  # 23 words answer it, long enough for a cut in the middle
HOURS: Final = "What are your opening hours?"
HEALTHY: Final = "healthy"
LOST: Final = 99.0  # seconds: what never came was later than any target

Leg: TypeAlias = Literal["carrier", "loopback"]


class When(StrEnum):
    """When a fault begins."""

    BEFORE_CALL = "before the call"
    BEFORE_TURN = "before the caller speaks"
    SPOKEN = "while the caller speaks"
    AT_STOP = "when the caller stops"
    NEXT_CALL = "before a second call"


class CallPlan(StrEnum):
    """How the call goes."""

    HEALTHY = "two turns and a second call"
    TURN = "one turn"
    START = "the greeting, then one turn"
    SECOND_TURN = "the second turn of a call"
    SECOND_CALL = "the first turn of a second call"
    NOISE = "3 s of noise, then one turn"
    ALL_DEAD = "one turn, then 20 s of listening"
    CLIPS = "two turns whose answers are late"
    FLAPPING = "turns for a minute"
    CHANCE = "five calls of six turns"
    CROWD = "eight calls at once"
    BARGE_IN = "a turn that the caller breaks into"
    RECOVERY = "a turn, the provider's recovery, a turn and a second call"
    ENDLESS = "one turn, heard to the end of a long reply"
    PROBES = "a call until the breakers are open, then one in which only probes fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A fault of one provider.

    Attributes:
        provider: The lab's name for it.
        window: What the lab's control takes: `{"fault": NAME, ...}`.
        when: When it begins; it lasts to the end of the run.
        after_s: With `SPOKEN`: so long after the caller began.
    """

    provider: str
    window: Mapping[str, Any]
    when: When = When.BEFORE_TURN
    after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a measure may be.

    Attributes:
        measure: Its name in what a run yields.
        worst: No run may be above it (below it, with `least`).
        p50: Nor the median of the runs above this.
        over: The row and measure whose median is taken off first.
        side: Whose runs of that row; None: the same side's.
        least: The bound is a lower one.
        if_missed: What a miss is known to come from: the target stays, and the report says this.
    """

    measure: str
    worst: float = math.inf
    p50: float | None = None
    over: tuple[str, str] | None = None
    side: str | None = None
    least: bool = False
    if_missed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: For `--only`.
        title: What breaks, for people.
        plan: How the call goes.
        breaks: What is broken, and when.
        targets: What is asked of the measures.
        runs: How often it is run.
        question: What the caller asks.
        audible_s: With `BARGE_IN`: how much of the agent is heard before the caller breaks in.
        steady: The lab keeps its delays at their medians.
        uncapped: The lab's recognisers take audio as fast as it comes.
        leg: How the caller comes in: through the carrier, or on the leg that `replay` has.
        clips: What holds the line is rendered in the agent's voice before the call.
        alone: Its runs never go on at once, whatever `--jobs` says.
    """

    name: str
    title: str
    plan: CallPlan = CallPlan.TURN
    breaks: tuple[Break, ...] = ()
    targets: tuple[Target, ...] = field(default=())
    runs: int = 5
    question: str = HAIRCUT
    audible_s: float = 1.0
    steady: bool = True
    uncapped: bool = False
    leg: Leg = "carrier"
    clips: bool = False
    alone: bool = False

    @property
    def ours_alone(self) -> bool:
        """Whether stock Pipecat has no such thing to be measured."""
        return self.clips or self.leg == "loopback"


EVERY_WORD: Final = Target(measure="lost_turns", worst=0)
NEVER_SILENT: Final = Target(measure="first_speech_s", worst=1.5)  # every row has it


def extra(worst: float) -> Target:
    """Return a bound on the time to the first word beyond a healthy turn's."""
    return Target(measure="first_word_s", worst=worst, over=(HEALTHY, "first_word_s"))


def gap(worst: float) -> Target:
    """Return a bound on the silence inside the reply beyond its own pauses."""
    return Target(measure="gap_s", worst=worst)


def one_turn(name: str, title: str, breaks: tuple[Break, ...], *targets: Target) -> Row:
    """Return a row of one turn, which is to be heard whole and in time."""
    return Row(name=name, title=title, breaks=breaks, targets=(*targets, EVERY_WORD, NEVER_SILENT))
