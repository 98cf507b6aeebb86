"""Events of a call's leg, from the ringing to the end."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from calls.handover import Handover

LegOutcome: TypeAlias = Literal[
    "completed", "busy", "no-answer", "failed", "cancelled", "voicemail"
]
"""How a leg ended, in the carriers' terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRinging:
    """The called telephone rings."""

    call_ref: str  # the carrier's id of the call
    ref: str = ""  # our own id of the dial, if we placed the call


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered:
    """The other party picked up."""

    call_ref: str
    after_s: float  # from the first callback about the call
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded:
    """The carrier reported the end of a call."""

    call_ref: str
    outcome: LegOutcome
    sip_code: int | None = None  # RFC 3261, if the carrier gives one
    reason: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegCharged:
    """The carrier reported the cost of a call, some time after its end."""

    call_ref: str
    cost: float  # in the account's currency
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswererJudged:
    """The carrier's answering machine detection reported who picked up."""

    call_ref: str
    answerer: str  # for all carriers, Twilio's human, machine_start, machine_end_beep, fax, unknown
    machine: bool
    after_s: float  # how long the detection took; 0.0 if it is not reported
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswererHeard:
    """Our own detection decided who picked up an outbound call."""

    answerer: str  # human, voicemail, menu, screening; undecided, which counts as a person
    why: str  # short_greeting, pause, words, beep, silence, time, carrier
    after_s: float  # from the answer
    revised: bool = False  # whether it replaces an earlier decision


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRestored:
    """The line was lost during a call and is back; the conversation continues."""

    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EarMeasured:
    """A browser reported how long an answer took from our server to its loudspeaker.

    The page measures this with its receiver's statistics, and could report anything. So the values
    are only shown to people; no decision uses them.
    """

    turn: int  # the turn of the answer, as counted by the page
    buffer_s: float  # time in the browser's jitter buffer
    playout_s: float  # time from there to the loudspeaker
    network_s: float  # half of a round trip
    made_up_s: float  # audio of the answer that was concealed, because packets were late or lost


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A transfer to a person was attempted."""

    turn: int
    destination: str  # the destination's name; its number is in the configuration
    outcome: Handover
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonBriefed:
    """The called person has heard the summary of the call, or as much of it as they wanted."""

    destination: str
    by: str  # how the summary was made: model, last_words
    took_s: float  # to write the summary


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerReturned:
    """The person hung up, and the caller is back with the agent."""

    destination: str
    talked_s: float


AnyLegEvent: TypeAlias = (
    LegRinging
    | LegAnswered
    | LegEnded
    | LegCharged
    | AnswererJudged
    | AnswererHeard
    | LineRestored
    | EarMeasured
    | HandedOver
    | PersonBriefed
    | CallerReturned
)
"""All events of this module."""
