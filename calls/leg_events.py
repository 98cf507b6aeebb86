"""Events of a call's leg, from ringing to its end."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from calls.handover import Handover

LegOutcome: TypeAlias = Literal[
    "completed", "busy", "no-answer", "failed", "cancelled", "voicemail"
]
"""How a leg ended, in the carriers' terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRinging:
    """The far end rings."""

    call_ref: str  # the carrier's own id of the call
    ref: str = ""  # our own id of the dial, if we placed it


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered:
    """The far end picked up."""

    call_ref: str
    after_s: float  # from the first sign of the call
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded:
    """The carrier's side of a call is over."""

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
    answerer: str  # human, machine_start, machine_end_beep, fax, unknown: Twilio's terms for all
    machine: bool
    after_s: float  # how long it listened; 0.0 if it does not say
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswererHeard:
    """Our own detection decided who picked up an outbound call."""

    answerer: str  # human, voicemail, menu, screening, undecided: undecided counts as a person
    why: str  # short_greeting, pause, words, beep, silence, time, carrier
    after_s: float  # from the answer
    revised: bool = False  # it replaces an earlier judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRestored:
    """The line was lost during a call and is back; the conversation went on."""

    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EarMeasured:
    """A browser reported the delay between our sending an answer and its loudspeaker playing it.

    The page measures that from its receiver's statistics, and could report anything. The values are
    for people to look at; no decision uses them.
    """

    turn: int  # of the answer, by the page's own count
    buffer_s: float  # in its jitter buffer
    playout_s: float  # from there to the loudspeaker
    network_s: float  # half of a round trip
    made_up_s: float  # of that answer's audio, concealed because packets came late or never


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A transfer to a person was attempted."""

    turn: int
    destination: str  # its name; the number is in the configuration
    outcome: Handover
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonBriefed:
    """The called person heard the summary of the call, or as much of it as they wanted."""

    destination: str
    by: str  # model, last_words: who wrote the summary
    took_s: float  # to write it


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerReturned:
    """The person hung up, and the caller is back with the agent."""

    destination: str
    talked_s: float
