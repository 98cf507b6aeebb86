"""Values of outbound calls: a contact, a dial, its outcome, and the state of a queue.

They are here because `operations/` uses them, too, and may not import `campaigns/`. The settings of
a campaign are in `campaigns/model.py`.

All moments are seconds since 1970, on the clock that `now` was read from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from calls.dialled import Again, Trunk

MAX_S: Final = 2 * 3600.0  # of a dial; older ones without an outcome are of deleted campaigns


class DialOutcome(StrEnum):
    """The outcome of one dial; each settled dial has exactly one."""

    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    VOICEMAIL = "voicemail"
    FAILED = "failed"  # the network's or the number's fault
    CANCELLED = "cancelled"  # we hung up before an answer
    AGENT_FAILED = "agent_failed"  # our own fault: it does not count against the contact
    REFUSED = "refused"  # not dialled: by then on the do-not-call list, or not allowed
    UNKNOWN = "unknown"  # the carrier had the call, and cannot say how it ended


DO_NOT_CALL: Final = "do_not_call"
OUTSIDE_HOURS: Final = "outside_hours"
RULED_OUT: Final = ("no_common_hour", "no_zone", "prefix_not_allowed", "no_consent")
"""Why a campaign's rules exclude a contact; other rules may take it back."""

ContactState: TypeAlias = Literal["waiting", "dialling", "resting", "done", "excluded"]
"""Ready to be dialled; being dialled; to be dialled again later; finished; never to be dialled."""

DialState: TypeAlias = Literal["intended", "placed", "answered", "settled"]
"""Committed, and the carrier may have been asked; accepted by it; answered; outcome known."""

CampaignState: TypeAlias = Literal["ready", "running", "paused", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConsent:
    """A contact's consent to be called."""

    kind: str  # such as `written`
    given_on: str  # ISO 8601, a day
    source: str  # where it can be looked up


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A person to be called by a campaign."""

    id: int
    campaign: str
    number: str  # E.164
    name: str = ""
    zones: tuple[str, ...] = ()  # all time zones that the number may be in; empty if unknown
    fields: Mapping[str, str] = field(default_factory=dict[str, str])  # other columns of the file
    consent: CallConsent | None = None
    priority: int = 0  # the higher, the sooner
    state: ContactState = "waiting"
    due_s: float = 0.0  # earliest time to dial
    attempts: int = 0  # that counted, since the contact was last set to wait
    dials: int = 0  # all there ever were, including those that failed through our own fault
    uncounted: int = 0  # that did not count, since the contact was last set to wait
    outcome: DialOutcome | None = None  # of the last one
    imported_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Calling a contact once: a row of the ledger, committed before a carrier is asked.

    Attributes:
        id: The same for the same attempt at the same contact, whichever process makes it and
            however often it restarts. The carrier gets it, and is asked about it after a crash.
        attempt: Counts all dials of the contact, from 1.
        holder: The process that makes it; no other process may settle it.
        lease_until_s: When the holder counts as dead, and its place among concurrent calls is free.
        confirmed_s: When permission to ask the carrier was last confirmed; `None` if never.
        cost: The carrier's price; `None` if it is not known yet.
        providers_cost: The providers' price for our side of the call; `None` if unknown.
        unpriced: Whether a part of that has no known price; `None` if it is not known yet.
        abandoned: Whether they hung up before they heard one answer; `None` if no call is known.
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
    """How a dial ended, as far as is known.

    Attributes:
        reason: A code.
        again: Whether to dial the number again, as `calls.dialled` judges it.
        trunk: What that says about the trunk, which carries all dials.
    """

    outcome: DialOutcome
    reason: str = ""
    length_s: float | None = None
    cost: float | None = None
    again: Again = "later"
    trunk: Trunk = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A contact reserved for us to dial, and the dial recorded for it."""

    contact: Contact
    dial: Dial


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingToDial:
    """No contact may be dialled now, and why.

    Attributes:
        reason: `not_running`, `nobody_due`, `window_closed`, `pace`, `concurrent`, `daily_calls` or
            `daily_spend`.
        again_s: When to ask again; `None` if that is unknown, or never.
    """

    reason: str
    again_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """The remaining tokens of a campaign's pace; all processes share one bucket."""

    tokens: float
    filled_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignUse:
    """What a campaign has used, as seen by the transaction that would use more."""

    calls_now: int  # with a valid lease
    calls_today: int
    spent_today: float
    bucket: TokenBucket


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """The rules of a claim: whether it may take a contact, and which; from `campaigns/guard.py`.

    Attributes:
        day_began_s: When the day of the daily limits began.
        pace: From the use and `now`, the bucket after one more dial, or why none is allowed.
        opens_s: From a contact and `now`, when its hours open: `now` itself if they are open; the
            code of the reason if it may never be called.
        version: Differs when `opens_s` has changed; then contacts that it postponed or excluded are
            looked at again.
    """

    day_began_s: float
    pace: Callable[[CampaignUse, float], TokenBucket | NothingToDial]
    opens_s: Callable[[Contact, float], float | str]
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What follows for a contact after a dial's outcome; `campaigns/model.py` decides it."""

    state: ContactState
    due_s: float = 0.0
    counted: bool = True  # against the contact's attempts
    skipped: bool = False  # no call was placed: it counts towards no limit
