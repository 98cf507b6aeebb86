"""A campaign as its owner configures it: script, hours, limits, and what follows each outcome.

Values that the queue's tables also use (contact, dial, outcome) are in `calls/outbound.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from bot.config.campaigns import (
    DAYS,
    CampaignSettings,
    ContactRetrySettings,
    OnOutage,
    WindowSettings,
)
from calls.outbound import Contact, DialOutcome, DialResult, NextStep
from processors.answerer.answerer_rules import MachineListening


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """The consequence of an outcome.

    Attributes:
        again: Whether the contact is dialled again.
        rest_s: How long it rests before that; `None` for the campaign's own `rest_s`.
        counts: Whether the dial counts against the contact's attempts.
        most: After this many dials that did not count, the contact is left alone until it asks to
            be called.
    """

    again: bool
    rest_s: float | None = None
    counts: bool = True
    most: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingWindow:
    """Calling hours and days, in the callee's local time.

    Attributes:
        opens_s: Seconds since midnight.
        closes_s: Seconds since midnight, exclusive.
        days: 0 is Monday.
        default_zone: For numbers whose location is unknown; if empty, these are never called.
    """

    opens_s: float = 8 * 3600.0
    closes_s: float = 21 * 3600.0
    days: frozenset[int] = frozenset(range(7))
    default_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign, as configured.

    Attributes:
        agent: The name that the agent gives itself; empty for the agent's own.
        script: Instructions for these calls, in addition to the agent's own.
        goals: What the call should find out or achieve, one line each.
        results: Codes of the possible results; if empty, the goal is reached or not.
        disclosure: The first sentence: who calls, and that it is a machine.
        greeting: Follows the disclosure; `{name}` and other fields of the contact are filled in.
        prefixes: Numbers that may be called begin with one of these; if empty, all may.
        daily_spend: In the currency of the prices; `None` for no limit, as in `daily_calls`.
        zone: Time zone of the day to which the daily limits apply.
        attempts: Counted dials for each contact.
        rest_s: Between two of them, unless a rule in `retry` differs.
    """

    name: str
    agent: str = ""
    script: str = ""
    goals: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    disclosure: str = ""
    greeting: str = ""
    prefixes: tuple[str, ...] = ()
    region: str = ""  # country of numbers without a country code, such as US
    consent_required: bool = True
    daily_calls: int | None = None
    daily_spend: float | None = None
    zone: str = "UTC"
    window: CallingWindow = field(default_factory=CallingWindow)
    attempts: int = 3
    rest_s: float = 3600.0
    dials_per_minute: float = 30.0
    concurrent: int = 5
    retry: Mapping[DialOutcome, RetryRule] = field(default_factory=dict[DialOutcome, RetryRule])
    on_outage: OnOutage = "hold"
    voicemail_text: str = ""  # spoken after the beep; empty: hang up
    amd: MachineListening = field(default_factory=MachineListening)


# The next step of a contact after the outcome of a dial: whether and when it is dialled again, and
# whether the dial counts.
#
# A number whose carrier answered "never" is not dialled again, whatever the owner's rules are. A
# broken trunk is not the contact's fault: its failures are treated like our own.

BUSY_REST_S: Final = 600.0  # chosen: most calls are over by then
OWN_FAULT_REST_S: Final = 300.0  # chosen: longer than a breaker rests

RULES: Final[Mapping[DialOutcome, RetryRule]] = MappingProxyType(
    {
        DialOutcome.COMPLETED: RetryRule(again=False),
        DialOutcome.BUSY: RetryRule(again=True, rest_s=BUSY_REST_S),
        DialOutcome.NO_ANSWER: RetryRule(again=True),
        DialOutcome.VOICEMAIL: RetryRule(again=False),  # the message was left once
        DialOutcome.FAILED: RetryRule(again=True),
        DialOutcome.CANCELLED: RetryRule(again=True, counts=False),
        DialOutcome.AGENT_FAILED: RetryRule(again=True, rest_s=OWN_FAULT_REST_S, counts=False),
        DialOutcome.REFUSED: RetryRule(again=False),
        # The carrier had the call: we may have talked with the callee, and do not call twice.
        DialOutcome.UNKNOWN: RetryRule(again=False),
    }
)


def next_step(campaign: Campaign, contact: Contact, result: DialResult, now: float) -> NextStep:
    """Return what follows from a dial.

    Args:
        campaign: Its rules; outcomes without a rule follow `RULES`.
        contact: As it was claimed: its `dials` include this one, its `attempts` and `uncounted` do
            not.
        result: Result of the dial.
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
    """Return what follows for a skipped contact: it is dialled later, without a limit of skips."""
    rule = campaign.retry.get(DialOutcome.AGENT_FAILED, RULES[DialOutcome.AGENT_FAILED])
    rest_s = campaign.rest_s if rule.rest_s is None else rule.rest_s
    return NextStep(state="resting", due_s=now + rest_s, counted=False, skipped=True)


def _spent(campaign: Campaign, contact: Contact, rule: RetryRule) -> bool:
    if rule.counts:
        return contact.attempts + 1 >= campaign.attempts
    return contact.uncounted + 1 >= rule.most


def campaign_of(name: str, settings: CampaignSettings) -> Campaign:
    """Return the campaign for the dialer."""
    plain = {
        key: value
        for key, value in settings
        if key not in ("window", "retry", "amd") and key in Campaign.__dataclass_fields__
    }
    rules = {
        DialOutcome(outcome): _rule(RULES[DialOutcome(outcome)], rule)
        for outcome, rule in settings.retry.items()
    }
    amd = MachineListening(listen=settings.amd.listen, screening=settings.amd.screening)
    return Campaign(name=name, window=_window(settings.window), retry=rules, amd=amd, **plain)


def _rule(usual: RetryRule, said: ContactRetrySettings) -> RetryRule:
    return RetryRule(
        again=said.again,
        rest_s=usual.rest_s if said.rest_s is None else said.rest_s,
        counts=usual.counts if said.counts is None else said.counts,
        most=said.most,
    )


def _window(settings: WindowSettings) -> CallingWindow:
    return CallingWindow(
        opens_s=_seconds(settings.begin),
        closes_s=_seconds(settings.end),
        days=frozenset(DAYS.index(day) for day in settings.days),
        default_zone=settings.default_zone or "",
    )


def _seconds(day_time: str) -> float:
    hours, _, minutes = day_time.partition(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0
