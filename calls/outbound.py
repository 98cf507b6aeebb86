"""What a call that we make is about: a contact, a dial, its outcome, and what stands in a queue.

These are values alone. They stand here since the queue's tables (`storage/`) and the decisions and
doings of a campaign (`campaigns/`) both speak of them, and the former may not know the latter. What
an owner wants of a campaign is `campaigns/model.py`.

All moments are seconds since 1970, on the clock that `now` was read from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from calls.dialled import Again, Trunk


class DialOutcome(StrEnum):
    """What became of one dial; each settled dial has exactly one."""

    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    VOICEMAIL = "voicemail"
    FAILED = "failed"  # the network's or the number's fault
    CANCELLED = "cancelled"  # we hung up before anybody answered
    AGENT_FAILED = "agent_failed"  # our own fault: it does not count against the contact
    REFUSED = "refused"  # it was not dialled: on the do-not-call list by then, or not allowed
    UNKNOWN = "unknown"  # the carrier had it, and cannot say any more how it ended


ContactState: TypeAlias = Literal["waiting", "dialling", "resting", "done", "excluded"]
"""To be dialled; being dialled; to be dialled again later; finished; not to be dialled at all."""

DialState: TypeAlias = Literal["intended", "placed", "answered", "settled"]
"""Committed, the carrier may have been asked; it took it; somebody answered; it has its outcome."""

CampaignState: TypeAlias = Literal["ready", "running", "paused", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConsent:
    """That somebody agreed to be called."""

    kind: str  # such as `written`
    given_on: str  # ISO 8601, a day
    source: str  # where it can be looked up


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Somebody whom a campaign calls."""

    id: int
    campaign: str
    number: str  # E.164
    name: str = ""
    zones: tuple[str, ...] = ()  # all that the number may be in; none: nobody knows
    fields: Mapping[str, str] = field(default_factory=dict[str, str])  # what else the file said
    consent: CallConsent | None = None
    priority: int = 0  # the higher, the sooner
    state: ContactState = "waiting"
    due_s: float = 0.0  # not to be dialled before
    attempts: int = 0  # that counted, since it was last made to wait
    dials: int = 0  # all there ever were, also those that failed for our own reasons
    uncounted: int = 0  # that did not count, since it was last made to wait
    outcome: DialOutcome | None = None  # of the last one
    imported_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Calling a contact once: a row of the ledger, which is committed before a carrier is asked.

    Attributes:
        id: The same for the same attempt at the same contact, no matter which process makes it and
            how often it is begun anew. It goes to the carrier, which is asked by it after a crash.
        attempt: Counts all dials of the contact, from 1.
        holder: The process that makes it; no other one may settle it.
        lease_until_s: When it is taken for dead, and its place among the calls at once is free.
        confirmed_s: When it was last said that the carrier may be asked; None: it never was asked.
        cost: The carrier's price; None: not known yet.
        providers_cost: What the providers want for our side of the call; None: not known.
        unpriced: Whether a part of that has no known price; None: nothing is known of it yet.
        abandoned: Whether they hung up before they had heard one answer; None: no call is known.
    """

    id: str
    campaign: str
    contact_id: int
    number: str
    attempt: int
    holder: str
    lease_until_s: float
    intended_s: float
    state: DialState = "intended"
    confirmed_s: float | None = None
    provider_call_id: str = ""
    answered_s: float | None = None
    ended_s: float | None = None
    outcome: DialOutcome | None = None
    reason: str = ""
    length_s: float | None = None
    cost: float | None = None
    providers_cost: float | None = None
    unpriced: bool | None = None
    abandoned: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialResult:
    """How a dial ended, as far as it is known.

    Attributes:
        reason: A code.
        again: What the callee's side has said of the number, as `calls.dialled` judges it.
        trunk: What that says of the trunk, through which all numbers are dialled.
    """

    outcome: DialOutcome
    reason: str = ""
    length_s: float | None = None
    cost: float | None = None
    again: Again = "later"
    trunk: Trunk = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A contact that is ours to dial, and the dial that was written down for it."""

    contact: Contact
    dial: Dial


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingToDial:
    """Nobody may be dialled now, and why.

    Attributes:
        reason: `not_running`, `nobody_due`, `window_closed`, `pace`, `concurrent`, `daily_calls` or
            `daily_spend`.
        again_s: When it is worth asking again; None: nobody knows, or never.
    """

    reason: str
    again_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """What is left of a campaign's pace; every process draws on the same one."""

    tokens: float
    filled_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignUse:
    """What a campaign has used up, as it is known in the transaction that would use more."""

    calls_now: int  # whose lease holds
    calls_today: int
    spent_today: float
    bucket: TokenBucket


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """What decides whether and whom a claim may take; `campaigns/guard.py` makes it.

    Attributes:
        day_began_s: When the day began to which the daily limits belong.
        pace: Given the use and `now`, the bucket behind one more dial, or why there is none.
        opens_s: Given a contact and `now`, when its hours open; `now` itself if they are open;
            None: never.
    """

    day_began_s: float
    pace: Callable[[CampaignUse, float], TokenBucket | NothingToDial]
    opens_s: Callable[[Contact, float], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What follows for a contact from a dial's outcome; `campaigns/model.py` decides it."""

    state: ContactState
    due_s: float = 0.0
    counted: bool = True  # against the contact's attempts
    skipped: bool = False  # nobody was called: it is no dial to any limit
