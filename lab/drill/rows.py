"""The parts of a row of the drill: faults and their moments, a plan, targets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

HAIRCUT: Final = "How much is a haircut?"  # 23 words answer it: enough for a cut in the middle
HOURS: Final = "What are your opening hours?"
HEALTHY: Final = "healthy"
WORKER: Final = "worker"  # in place of a provider's name: the process that has the call
RECORDED: Final = ("failures", "failures_after", "barge_ins", "calls", "closed")
"""Measures that are read from the record of Holdline's server."""
LOST: Final = 99.0  # seconds: a missing event counts as later than any target

Leg: TypeAlias = Literal["carrier", "loopback"]


class When(StrEnum):
    """The moment when a fault starts."""

    BEFORE_CALL = "before the call"
    BEFORE_TURN = "before the caller speaks"
    SPOKEN = "while the caller speaks"
    AT_STOP = "when the caller stops"
    NEXT_CALL = "before a second call"
    IN_ANSWER = "in the middle of the answer"


class CallPlan(StrEnum):
    """The course of a call."""

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
    BACKCHANNEL = "a turn in which the caller says okay while the agent answers"
    BEHIND = "a question in front of a television"
    DICTATION = "a number, digit by digit"
    ECHO = "one turn on a line that returns the agent's voice"
    RECOVERY = "a turn, the provider's recovery, a turn and a second call"
    ENDLESS = "one turn, heard to the end of a long reply"
    WORKER = "a turn whose worker dies in the middle of the answer, and another"
    PROBES = "a call until the breakers are open, then one in which only probes fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A fault of one provider, or of our own process.

    Attributes:
        provider: The lab's name for it, or `WORKER`.
        window: The fault for the lab's control: `{"fault": NAME, ...}`; a worker is `killed` or
            `frozen`.
        when: When it starts; it lasts to the end of the run.
        after_s: With `SPOKEN`: the delay after the caller's start.
    """

    provider: str
    window: Mapping[str, Any]
    when: When = When.BEFORE_TURN
    after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bound on a measure.

    Attributes:
        measure: Its name in a run's results.
        worst: No run may be above it (below it, with `least`).
        p50: The same for the median of the runs; `None` if only `worst` counts.
        over: The row and measure whose median is subtracted first; `None` to subtract nothing.
        side: The side of that row's runs; `None` for the same side.
        least: Whether the bounds are lower bounds.
        if_missed: The known cause of a miss, which the report states; the target stays.
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
        title: The fault, for people.
        plan: The course of the call.
        breaks: The faults and their moments.
        targets: The bounds on the measures.
        runs: How often it is run.
        question: The caller's question.
        audible_s: With `BARGE_IN` and `BACKCHANNEL`: how much of the agent is heard before the
            caller interrupts.
        steady: The lab keeps its delays at their medians.
        uncapped: The lab's recognisers take audio at any speed.
        leg: How the caller's audio arrives: through the carrier, or on `replay`'s leg.
        clips: Clips are rendered in the agent's voice before the call.
        known: The only utterances that the lab's recognisers know; empty to recognise speech.
        echo_db: The level of the agent's voice in the caller's audio; `None` without an echo.
        alone: Its runs never overlap, whatever `--jobs` says.
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
    known: tuple[str, ...] = ()
    echo_db: float | None = None
    alone: bool = False

    @property
    def ours_alone(self) -> bool:
        """Whether the row cannot be measured on stock Pipecat."""
        ours = self.clips or self.leg == "loopback"
        return ours or any(fault.provider == WORKER for fault in self.breaks)


EVERY_WORD: Final = Target(measure="lost_turns", worst=0)
NEVER_SILENT: Final = Target(measure="first_speech_s", worst=1.5)  # for every row


def extra(worst: float) -> Target:
    """Return a bound on the time to the first word beyond a healthy turn's."""
    return Target(measure="first_word_s", worst=worst, over=(HEALTHY, "first_word_s"))


def gap(worst: float) -> Target:
    """Return a bound on the silence inside the reply beyond its natural pauses."""
    return Target(measure="gap_s", worst=worst)


def one_turn(name: str, title: str, breaks: tuple[Break, ...], *targets: Target) -> Row:
    """Return a row of one turn, which must be heard completely and in time."""
    return Row(name=name, title=title, breaks=breaks, targets=(*targets, EVERY_WORD, NEVER_SILENT))
