"""What an owner wants of a campaign: whom it says it is, when it calls, how often and how fast.

The values that the queue's tables know, too (a contact, a dial, its outcome), stand in
`calls/outbound.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from calls.outbound import Contact, DialOutcome, DialResult, NextStep
from processors.answerer.answerer_rules import MachineListening

OnOutage: TypeAlias = Literal["hold", "skip", "degraded"]
"""While our own stages are down: wait; mark the contact and go on; call all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """What follows from an outcome.

    Attributes:
        again: Whether the contact is dialled again at all.
        rest_s: How long it rests before; None: as long as the campaign says.
        counts: Whether the dial counts against the contact's attempts.
        most: After so many dials that did not count, the contact is left alone all the same, until
            it asks to be called.
    """

    again: bool
    rest_s: float | None = None
    counts: bool = True
    most: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingWindow:
    """The hours and days at which people may be called, by their own clocks.

    Attributes:
        opens_s: Since midnight.
        closes_s: Since midnight; at this moment it is closed.
        days: 0 is Monday.
        default_zone: For numbers of which nobody knows where they are; empty: these are never
            called.
    """

    opens_s: float = 8 * 3600.0
    closes_s: float = 21 * 3600.0
    days: frozenset[int] = frozenset(range(7))
    default_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as its owner wrote it down.

    Attributes:
        agent: The name it gives itself; empty: the agent's own.
        script: What the model is told about these calls, beside the agent's instructions.
        goals: What the call is to find out or to do, each a line.
        results: The codes of what it may come to; none: its goal is reached or is not.
        disclosure: Its first sentence says who calls and that it is a machine.
        greeting: Behind it; `{name}` and the contact's other fields stand for what is known.
        prefixes: Numbers that may be called begin with one of these; none: all.
        daily_spend: In the currency of the prices; None: no limit, as for `daily_calls`.
        zone: Whose midnight begins the day of the daily limits.
        attempts: That count, for each contact.
        rest_s: Between two of them, unless a rule of `retry` says otherwise.
    """

    name: str
    agent: str = ""
    script: str = ""
    goals: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    disclosure: str = ""
    greeting: str = ""
    prefixes: tuple[str, ...] = ()
    region: str = ""  # of numbers in a file that begin with no country code, such as US
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
    voicemail_text: str = ""  # left behind the beep; empty: it hangs up
    amd: MachineListening = field(default_factory=MachineListening)


# What follows for a contact from the outcome of a dial: again, when, and whether it counts.
#
# A number whose side has said "never" is not dialled again, whatever the owner's rules are. A trunk
# that is not well is no fault of the contact: what it makes fail is followed as our own failures
# are.

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
