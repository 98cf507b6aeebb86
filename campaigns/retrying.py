"""What follows for a contact from the outcome of a dial: again, when, and whether it counts.

A number whose side has said "never" is not dialled again, whatever the owner's rules are. A trunk
that is not well is no fault of the contact: what it makes fail is followed as our own failures are.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from calls.outbound import Contact, DialOutcome, DialResult, NextStep
from campaigns.model import Campaign, RetryRule

BUSY_REST_S: Final = 600.0  # chosen: most calls are over by then
OWN_FAULT_REST_S: Final = 300.0  # chosen: longer than a breaker rests

RULES: Final[Mapping[DialOutcome, RetryRule]] = MappingProxyType(
    {
        DialOutcome.COMPLETED: RetryRule(again=False),
        DialOutcome.BUSY: RetryRule(again=True, rest_s=BUSY_REST_S),
        DialOutcome.NO_ANSWER: RetryRule(again=True),
        DialOutcome.VOICEMAIL: RetryRule(again=False),  # who has our words need not have them twice
        DialOutcome.FAILED: RetryRule(again=True),
        DialOutcome.CANCELLED: RetryRule(again=True, counts=False),
        DialOutcome.AGENT_FAILED: RetryRule(again=True, rest_s=OWN_FAULT_REST_S, counts=False),
        DialOutcome.REFUSED: RetryRule(again=False),
        # The carrier had it: somebody may have been spoken with, and is not called twice.
        DialOutcome.UNKNOWN: RetryRule(again=False),
    }
)


def next_step(campaign: Campaign, contact: Contact, result: DialResult, now: float) -> NextStep:
    """Return what follows from a dial.

    Args:
        campaign: Its rules; what it says nothing of follows `RULES`.
        contact: As it was claimed: its `dials` have this one among them, its `attempts` and its
            `uncounted` ones have not.
        result: Of the dial.
        now: When the rest begins.
    """
    if result.outcome is DialOutcome.REFUSED:
        return NextStep(state="excluded", counted=False)
    outcome = result.outcome if result.trunk == "well" else DialOutcome.AGENT_FAILED
    rule = campaign.retry.get(outcome, RULES[outcome])
    if result.again == "never" or not rule.again or _spent(campaign, contact, rule):
        return NextStep(state="done", counted=rule.counts)
    rest_s = campaign.rest_s if rule.rest_s is None else rule.rest_s
    return NextStep(state="resting", due_s=now + rest_s, counted=rule.counts)


def put_back(campaign: Campaign, now: float) -> NextStep:
    """Return what follows for a contact that is skipped: it is dialled later, however often."""
    rule = campaign.retry.get(DialOutcome.AGENT_FAILED, RULES[DialOutcome.AGENT_FAILED])
    rest_s = campaign.rest_s if rule.rest_s is None else rule.rest_s
    return NextStep(state="resting", due_s=now + rest_s, counted=False, skipped=True)


def _spent(campaign: Campaign, contact: Contact, rule: RetryRule) -> bool:
    if rule.counts:
        return contact.attempts + 1 >= campaign.attempts
    return contact.uncounted + 1 >= rule.most
