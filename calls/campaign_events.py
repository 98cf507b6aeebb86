"""Campaign events: dials, their outcomes, and why a campaign waits.

They contain no full telephone numbers. A dial is identified by its id, which leads to the contact.
"""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.failure import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignHeld:
    """A campaign places no calls for now; published once for each reason."""

    campaign: str
    reason: str
    outage: bool  # whether something is broken; if not, the reason is ordinary, such as the hour
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResumed:
    """Contacts of the campaign are dialled again."""

    campaign: str
    reason: str  # why it was held
    held_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPaused:
    """A campaign has paused itself, until an operator resumes it."""

    campaign: str
    reason: str
    in_a_row: int  # consecutive calls that failed because of us
    severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSkipped:
    """A contact was not dialled because no agent could have answered; it is dialled later."""

    campaign: str
    dial_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialPlaced:
    """The carrier has accepted a dial."""

    campaign: str
    dial_id: str
    call_ref: str  # the carrier's id of the call
    degraded: str = ""  # why the agent may not be able to answer, if it was placed anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class DialAsked:
    """The state of a dial was unknown, and the carrier was asked."""

    campaign: str
    dial_id: str
    known: bool  # whether the carrier had the dial; if not, it is placed again
    why: str  # answer_lost; holder_silent


@dataclass(frozen=True, slots=True, kw_only=True)
class DialEnded:
    """A dial has its outcome, which is final."""

    campaign: str
    dial_id: str
    outcome: str
    reason: str = ""
    length_s: float = 0.0
    counted: bool = True  # whether it counts against the contact's attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOrdered:
    """A request to call a number was accepted or refused, or the call is over."""

    order_id: str  # the id of the dial or transfer
    source: str  # api, command, campaign, callback, transfer
    by: str  # an operator, a campaign, or the id of a caller's call
    called: str  # the masked number
    country: str
    cost_class: str
    outcome: str  # accepted, refused, withdrawn before the carrier was asked, or how it ended
    reason: str = ""
    length_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCallBegan:
    """An outbound call has connected with the person who was dialled."""

    dial_id: str


CampaignEvent: TypeAlias = (
    CampaignHeld
    | CampaignResumed
    | CampaignPaused
    | ContactSkipped
    | DialPlaced
    | DialAsked
    | DialEnded
    | CallOrdered
    | OutboundCallBegan
)
