"""Facts of campaigns: whom they dial, what becomes of it, and when they wait.

None has a telephone number in it: a dial is named by its id, which leads to the contact.
"""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.failure import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignHeld:
    """Nobody of a campaign is dialled for now; told once for each reason."""

    campaign: str
    reason: str
    outage: bool  # something is broken; False: it is the ordinary course of things
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResumed:
    """Contacts of the campaign are dialled again."""

    campaign: str
    reason: str  # why it was held
    held_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPaused:
    """A campaign paused itself; it goes on when somebody says so."""

    campaign: str
    reason: str
    in_a_row: int  # calls that failed for our own reasons
    severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSkipped:
    """A contact was not dialled, since nobody could have talked to them; it is dialled later."""

    campaign: str
    dial_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialPlaced:
    """The carrier has taken a dial."""

    campaign: str
    dial_id: str
    call_ref: str  # the carrier's own id of the call
    degraded: str = ""  # what is down, of a dial that is made all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class DialAsked:
    """Nobody knew what had become of a dial, and the carrier was asked."""

    campaign: str
    dial_id: str
    known: bool  # it had it; False: it never did, and the dial is made anew
    why: str  # answer_lost; holder_silent


@dataclass(frozen=True, slots=True, kw_only=True)
class DialEnded:
    """A dial has its one outcome."""

    campaign: str
    dial_id: str
    outcome: str
    reason: str = ""
    length_s: float = 0.0
    counted: bool = True  # against the contact's attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCallBegan:
    """A call of ours talks with somebody who was dialled."""

    dial_id: str


CampaignFact: TypeAlias = (
    CampaignHeld
    | CampaignResumed
    | CampaignPaused
    | ContactSkipped
    | DialPlaced
    | DialAsked
    | DialEnded
    | OutboundCallBegan
)
