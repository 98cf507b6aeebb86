"""Campaign events: dials, their outcomes, and why a campaign waits.

None contains a telephone number. A dial is named by its id, which leads to the contact.
"""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.failure import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignHeld:
    """A campaign places no calls for now; emitted once for each reason."""

    campaign: str
    reason: str
    outage: bool  # something is broken; False: an ordinary reason, such as closed hours
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResumed:
    """Contacts of the campaign are dialled again."""

    campaign: str
    reason: str  # why it was held
    held_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPaused:
    """A campaign paused itself; it continues when an operator resumes it."""

    campaign: str
    reason: str
    in_a_row: int  # calls that failed through our own fault
    severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSkipped:
    """A contact was not dialled because no agent could have answered; it is dialled later."""

    campaign: str
    dial_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialPlaced:
    """The carrier has taken a dial."""

    campaign: str
    dial_id: str
    call_ref: str  # the carrier's own id of the call
    degraded: str = ""  # what is down while this dial is placed anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class DialAsked:
    """The state of a dial was unknown, and the carrier was asked."""

    campaign: str
    dial_id: str
    known: bool  # the carrier had it; False: it never had it, and the dial is placed again
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
class CallOrdered:
    """A call to a number was ordered: accepted, refused, or over."""

    order_id: str  # the dial's id, or the transfer's
    source: str  # api, command, campaign, callback, transfer
    by: str  # an operator, a campaign, or the call of a caller
    called: str  # the masked number
    country: str
    cost_class: str
    outcome: str  # accepted, refused, withdrawn before the carrier was asked, or how it ended
    reason: str = ""
    length_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCallBegan:
    """An outbound call has connected to the person who was dialled."""

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
