"""Contacts that a campaign may call."""

from dataclasses import replace

import pytest

from calls.outbound import CallConsent, Contact
from campaigns.guard import contact_opens_s
from campaigns.model import Campaign

NOON = 1_800_014_400.0
CONSENT = CallConsent(kind="written", given_on="2026-11-01", source="form 7")
ADA = Contact(
    id=1, campaign="spring", number="+442079460000", zones=("Europe/London",), consent=CONSENT
)
SPRING = Campaign(name="spring")

CASES = {
    "with consent": (SPRING, ADA, NOON),
    "without consent": (SPRING, replace(ADA, consent=None), "no_consent"),
    "without consent where none is needed": (
        replace(SPRING, consent_required=False),
        replace(ADA, consent=None),
        NOON,
    ),
    "with a prefix": (replace(SPRING, prefixes=("+1", "+44")), ADA, NOON),
    "with another prefix": (
        replace(SPRING, prefixes=("+1", "+49")),
        ADA,
        "prefix_not_allowed",
    ),
    "in zones without a common hour": (
        SPRING,
        replace(ADA, zones=("Europe/Kaliningrad", "Asia/Kamchatka", "America/New_York")),
        "no_common_hour",
    ),
    "in no zone that is known": (SPRING, replace(ADA, zones=()), "no_zone"),
    "in the night": (SPRING, replace(ADA, zones=("America/Los_Angeles",)), NOON + 4 * 3600),
}


@pytest.mark.parametrize(("campaign", "contact", "opens"), CASES.values(), ids=CASES)
def test_a_contact_is_callable_only_under_the_rules(
    campaign: Campaign, contact: Contact, opens: float | str
) -> None:
    assert contact_opens_s(campaign, contact, NOON) == opens
