"""A campaign as its owner configures it: script, hours, limits, and what follows each outcome.

Types that the queue's tables use as well (contact, dial, outcome) are in `calls/outbound.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from calls.outbound import Contact, DialOutcome, DialResult, NextStep
from configuration.campaigns import (
    DAYS,
    CampaignSettings,
    ContactRetrySettings,
    OnOutage,
    WindowSettings,
)
from processors.answerer.answerer_rules import MachineListening


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """What follows a dial with a certain outcome.

    Attributes:
        again: Whether the contact is dialled again.
        rest_s: Time before that; `None` for the campaign's own `rest_s`.
        counts: Whether the dial counts against the contact's attempts.
        most: After this many dials that do not count, the contact is not dialled again, unless they
            ask for a callback.
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
        default_zone: The zone of numbers whose location is unknown; if empty, they are not called.
    """

    opens_s: float = 8 * 3600.0
    closes_s: float = 21 * 3600.0
    days: frozenset[int] = frozenset(range(7))
    default_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign, as configured.

    Attributes:
        agent: The name of the agent that calls, in `agents`; empty for `agent`.
        script: Instructions for these calls, in addition to the agent's own.
        goals: What the call should find out or achieve, one line each.
        results: Codes of the possible results; if empty, the goal is reached or not.
        disclosure: The first sentence: who calls, and that it is a machine.
        greeting: Follows the disclosure; `{name}` and other fields of the contact are filled in.
        prefixes: Numbers that may be called begin with one of these; if empty, all may be.
        daily_spend: The most that a day's calls may cost, providers and carrier together, added
            without conversion; `None` for no limit, as for `daily_calls`.
        zone: Time zone of the day to which the daily limits apply.
        attempts: The most dials of a contact, without those that do not count.
        rest_s: Time between two dials of a contact, unless a rule in `retry` differs.
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


BUSY_REST_S: Final = 600.0  # chosen: most calls are over by then
OWN_FAULT_REST_S: Final = 300.0  # chosen: longer than a breaker is open

RULES: Final[Mapping[DialOutcome, RetryRule]] = MappingProxyType(
    {
        DialOutcome.COMPLETED: RetryRule(again=False),
        DialOutcome.BUSY: RetryRule(again=True, rest_s=BUSY_REST_S),
        DialOutcome.NO_ANSWER: RetryRule(again=True),
        DialOutcome.SILENT: RetryRule(again=True),  # a bad line, or an unattended telephone
        DialOutcome.DECLINED: RetryRule(again=False),
        DialOutcome.NO_SUCH_NUMBER: RetryRule(again=False),
        DialOutcome.VOICEMAIL: RetryRule(again=False),  # one message is enough
        DialOutcome.FAILED: RetryRule(again=True),
        DialOutcome.CANCELLED: RetryRule(again=True, counts=False),
        DialOutcome.AGENT_FAILED: RetryRule(again=True, rest_s=OWN_FAULT_REST_S, counts=False),
        DialOutcome.REFUSED: RetryRule(again=False),
        # The carrier had the call: we may have talked with the callee, so do not call again.
        DialOutcome.UNKNOWN: RetryRule(again=False),
    }
)


def next_step(campaign: Campaign, contact: Contact, result: DialResult, now: float) -> NextStep:
    """Return whether and when a contact is dialled again after a dial, and whether the dial counts.

    If the carrier's SIP status means that a number can never be reached, it is not dialled again,
    whatever the owner's rules are. A broken trunk counts as our own failure, not the contact's.

    Args:
        campaign: The campaign; for outcomes without a rule in its `retry`, `RULES` apply.
        contact: The contact as claimed: its `dials` include this one, its `attempts` and
            `uncounted` do not.
        result: The dial's result.
        now: When the rest begins.
    """
    if result.outcome is DialOutcome.REFUSED:
        return NextStep(state="excluded", counted=False)
    outcome = result.outcome if result.trunk == "well" else DialOutcome.AGENT_FAILED
    rule = campaign.retry.get(outcome, RULES[outcome])
    if result.again == "never" or not rule.again or _has_no_tries_left(campaign, contact, rule):
        return NextStep(state="done", counted=rule.counts)
    rest_s = campaign.rest_s if rule.rest_s is None else rule.rest_s
    return NextStep(state="resting", due_s=now + rest_s, counted=rule.counts)


def put_back(campaign: Campaign, now: float) -> NextStep:
    """Return what follows for a skipped contact: it is dialled later, after any number of skips.

    The wait is that after a failure of our own; the skip counts towards no limit.
    """
    rule = campaign.retry.get(DialOutcome.AGENT_FAILED, RULES[DialOutcome.AGENT_FAILED])
    rest_s = campaign.rest_s if rule.rest_s is None else rule.rest_s
    return NextStep(state="resting", due_s=now + rest_s, counted=False, skipped=True)


def _has_no_tries_left(campaign: Campaign, contact: Contact, rule: RetryRule) -> bool:
    """Return whether this dial was the last one: of those that count, or of those that do not."""
    if rule.counts:
        return contact.attempts + 1 >= campaign.attempts
    return contact.uncounted + 1 >= rule.most


def campaign_of(name: str, settings: CampaignSettings) -> Campaign:
    """Return the campaign for the dialer.

    Settings with the name of a field are taken over. A rule of the owner inherits `rest_s` and
    `counts` from `RULES` where it does not set them.
    """
    plain = {
        key: value
        for key, value in settings
        if key not in ("window", "retry", "amd") and key in Campaign.__dataclass_fields__
    }
    rules = {
        DialOutcome(outcome): _retry_rule(RULES[DialOutcome(outcome)], rule)
        for outcome, rule in settings.retry.items()
    }
    amd = MachineListening(listen=settings.amd.listen, screening=settings.amd.screening)
    return Campaign(
        name=name, window=_calling_window(settings.window), retry=rules, amd=amd, **plain
    )


def _retry_rule(usual: RetryRule, configured: ContactRetrySettings) -> RetryRule:
    return RetryRule(
        again=configured.again,
        rest_s=usual.rest_s if configured.rest_s is None else configured.rest_s,
        counts=usual.counts if configured.counts is None else configured.counts,
        most=configured.most,
    )


def _calling_window(settings: WindowSettings) -> CallingWindow:
    """Return the hours as seconds since midnight, and the days as numbers, Monday 0."""
    return CallingWindow(
        opens_s=_seconds_of_day(settings.begin),
        closes_s=_seconds_of_day(settings.end),
        days=frozenset(DAYS.index(day) for day in settings.days),
        default_zone=settings.default_zone or "",
    )


def _seconds_of_day(day_time: str) -> float:
    hours, _, minutes = day_time.partition(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0
