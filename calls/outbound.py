"""Values of outbound calls: contacts, dials, their outcomes, and the state of a queue.

They are here because `operations/` uses them, too, and may not import `campaigns/`. The settings of
a campaign are in `campaigns/model.py`.

All moments are in seconds since 1970.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from calls.dialled import Again, Trunk

MAX_UNFINISHED_DIAL_S: Final = (
    2 * 3600.0
)  # of a dial; older ones without an outcome belong to deleted campaigns


class DialOutcome(StrEnum):
    """The outcome of one dial; each settled dial has exactly one."""

    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    SILENT = "silent"  # answered, without a word
    DECLINED = "declined"  # the callee refused the call
    NO_SUCH_NUMBER = "no_such_number"
    VOICEMAIL = "voicemail"
    FAILED = "failed"  # because of the network
    CANCELLED = "cancelled"  # we hung up before an answer
    AGENT_FAILED = "agent_failed"  # because of us: it does not count against the contact
    REFUSED = "refused"  # not dialled: on the do-not-call list meanwhile, or not allowed
    UNKNOWN = "unknown"  # the carrier had the call, but cannot tell how it ended


DO_NOT_CALL: Final = "do_not_call"
OUTSIDE_HOURS: Final = "outside_hours"
TAKEN_OUT: Final = "taken_out"  # by an operator, for good
RULED_OUT: Final = ("no_common_hour", "no_zone", "prefix_not_allowed", "no_consent")
"""Why a campaign's rules exclude a contact; changed rules may include it again."""

ContactState: TypeAlias = Literal["waiting", "dialling", "resting", "done", "excluded"]
"""`waiting`: ready to be dialled. `resting`: to be dialled again later. `excluded`: never to be
dialled."""

DialState: TypeAlias = Literal["intended", "placed", "answered", "settled"]
"""`intended`: committed, and the carrier may have been asked. `placed`: accepted by the carrier.
`settled`: the outcome is known."""

CampaignState: TypeAlias = Literal["ready", "running", "paused", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConsent:
    """A contact's consent to be called."""

    kind: str  # such as `written`
    given_on: str  # a date, ISO 8601
    source: str  # where the consent can be looked up


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
    attempts: int = 0  # dials that counted, since the contact was last set to wait
    dials: int = 0  # all dials, including those that failed because of us
    uncounted: int = 0  # dials that did not count, since the contact was last set to wait
    outcome: DialOutcome | None = None  # of the last dial
    imported_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """One call to a contact: a row of the ledger, committed before the carrier is asked.

    Attributes:
        id: Equal for the same attempt at the same contact, in whichever process, and after a
            restart. The carrier gets it, and is asked about it after a crash.
        attempt: The number of this dial among all dials of the contact, from 1.
        holder: The process that makes the dial; no other process may settle it.
        lease_until_s: When the holder counts as dead, and another process may take the dial over;
            until it has an outcome, it still counts as a concurrent call.
        confirmed_s: When the permission to ask the carrier was last confirmed; `None` if never.
        cost: The carrier's price; `None` if it is not known yet.
        providers_cost: The price of the providers that the call used; `None` if unknown.
        unpriced: Whether part of that usage has no known price; `None` if that is not known yet.
        abandoned: Whether the person hung up before hearing an answer; `None` if no call is known.
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
    """The result of a dial, as far as it is known.

    Attributes:
        outcome: The outcome.
        reason: A code.
        length_s: The length of the call; `None` if unknown.
        cost: The carrier's price; `None` if it is not known yet.
        again: Whether to dial the number again; see `calls.dialled`.
        trunk: The state of the trunk, which carries all dials.
    """

    outcome: DialOutcome
    reason: str = ""
    length_s: float | None = None
    cost: float | None = None
    again: Again = "later"
    trunk: Trunk = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A contact that this process must dial, and the dial recorded for it."""

    contact: Contact
    dial: Dial


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingToDial:
    """No contact may be dialled now, and why.

    Attributes:
        reason: `not_running`, `nobody_due`, `finished`, `window_closed`, `pace`, `concurrent`,
            `daily_calls` or `daily_spend`.
        again_s: When to ask again; `None` if that is unknown, or if asking again is useless.
    """

    reason: str
    again_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """The token bucket of a campaign's pace, shared by all processes."""

    tokens: float
    filled_s: float  # when it was last refilled


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignUse:
    """The calls and money that a campaign has used, read in the transaction of the next claim."""

    calls_now: int  # dials without an outcome
    calls_today: int
    spent_today: float
    bucket: TokenBucket


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """The rules for claiming a contact, from `campaigns/guard.py`.

    Attributes:
        day_began_s: When the day of the daily limits began.
        pace: Returns the bucket after one more dial, or why none is allowed, for the campaign's use
            and `now`.
        opens_s: Returns when a contact may be called: `now` if it may be called now, or a code if
            it may never be called.
        version: Changes with `opens_s`; contacts that an earlier version postponed or excluded are
            then checked again.
    """

    day_began_s: float
    pace: Callable[[CampaignUse, float], TokenBucket | NothingToDial]
    opens_s: Callable[[Contact, float], float | str]
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The state of a contact after a dial's outcome; `campaigns/model.py` decides it."""

    state: ContactState
    due_s: float = 0.0
    counted: bool = True  # whether the dial counts against the contact's attempts
    skipped: bool = False  # whether no call was placed, so that it counts towards no limit
