"""What a claim on the queue goes by, made of what the owner wants of the campaign."""

from functools import partial

from calls.outbound import ClaimRules, Contact
from campaigns.model import Campaign
from campaigns.pacing import pace
from campaigns.window import day_began_s, opens_s


def rules_of(campaign: Campaign, *, now: float) -> ClaimRules:
    """Return the rules of one claim, made at this moment."""
    return ClaimRules(
        day_began_s=day_began_s(campaign.zone, now=now),
        pace=partial(pace, campaign),
        opens_s=partial(contact_opens_s, campaign),
    )


def contact_opens_s(campaign: Campaign, contact: Contact, now: float) -> float | None:
    """Return when a contact may be called; None: never, by this campaign."""
    if campaign.prefixes and not contact.number.startswith(campaign.prefixes):
        return None
    if campaign.consent_required and contact.consent is None:
        return None
    return opens_s(contact.zones, campaign.window, now=now)
