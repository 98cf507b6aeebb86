"""Facts of a call's leg: how it came about, what became of it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from calls.handover import Handover

LegOutcome: TypeAlias = Literal[
    "completed", "busy", "no-answer", "failed", "cancelled", "voicemail"
]
"""How a leg ended, in the carriers' own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRinging:
    """The far end rings."""

    call_ref: str  # the carrier's own id of the call
    ref: str = ""  # our own of the dial, if we placed it


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered:
    """The far end picked up."""

    call_ref: str
    after_s: float  # from the first sign of the call on
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded:
    """The carrier's side of a call is over."""

    call_ref: str
    outcome: LegOutcome
    sip_code: int | None = None  # RFC 3261, where the carrier says one
    reason: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegCharged:
    """The carrier says what a call cost, some time behind its end."""

    call_ref: str
    cost: float  # in the account's currency
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswererJudged:
    """The carrier has listened to who picked up."""

    call_ref: str
    answerer: str  # human, machine_start, machine_end_beep, fax, unknown: Twilio's words for any's
    machine: bool
    after_s: float  # how long it listened; 0.0: it does not say
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswererHeard:
    """We have listened to who picked up a call of ours."""

    answerer: str  # human, voicemail, menu, screening, undecided: the last is treated as a person
    why: str  # short_greeting, pause, words, beep, silence, time, carrier
    after_s: float  # from the answer
    revised: bool = False  # something else was thought before


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRestored:
    """The line was lost in the middle of a call and is back; the conversation went on."""

    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EarMeasured:
    """A browser said how much later than we sent it its speaker plays an answer.

    It measures that itself, from its receiver's statistics, and could say anything: for people to
    look at, and nothing is decided by it.
    """

    turn: int  # of the answer, as the page counts
    buffer_s: float  # in its jitter buffer
    playout_s: float  # from there to the loudspeaker
    network_s: float  # half of a round trip
    made_up_s: float  # of that answer's sound, because it came too late or never


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """The call was to be handed on to a person."""

    turn: int
    destination: str  # its name; the number stands in the configuration
    outcome: Handover
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonBriefed:
    """A person who was called has heard what it is about, or as much of it as they wanted."""

    destination: str
    by: str  # model, last_words: who put it together
    took_s: float  # to put it together


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerReturned:
    """The person has hung up, and the caller talks with the agent again."""

    destination: str
    talked_s: float
