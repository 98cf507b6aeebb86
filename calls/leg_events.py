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
class AnswererJudged:
    """The carrier has listened to who picked up."""

    call_ref: str
    answerer: str  # in the carrier's words: human, machine_start, machine_end_beep, fax, unknown
    machine: bool
    after_s: float  # how long it listened
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRestored:
    """The line was lost in the middle of a call and is back; the conversation went on."""

    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """The call was to be handed on to a person."""

    turn: int
    destination: str  # its name; the number stands in the configuration
    outcome: Handover
    took_s: float
