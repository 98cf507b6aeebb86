"""Events of the processes that answer calls, outside any one call."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.failure import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClosed:
    """An alert was closed: by an operator, or because there were no reports for a while."""

    stage: str
    rung: str  # empty for the whole stage
    how: str  # unheard, or resolved by an operator
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesRefused:
    """The disk does not accept log entries; they wait in memory, and calls continue."""

    where: str  # logs
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesResumed:
    """The disk accepts writes again, and the waiting entries are written."""

    where: str
    lost: int  # entries that did not fit in the queue, since the process started


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLost:
    """The store that machines share is away: calls go on, but no other machine can take them up."""

    reason: str  # redacted
    severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRegained:
    """The store is back, and has the calls again."""

    away_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummarised:
    """A summary of the call was written, after its end."""

    call_id: str
    made_by: str  # model, facts
    outcome: str
    provider: str = ""  # the rung that answered
    why: str = ""  # why no model wrote it, as a code
    took_s: float = 0.0  # from the call's end


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackQueued:
    """A caller's request for a callback was added to a campaign, or rejected."""

    call_id: str
    campaign: str
    outcome: str  # added, moved, do_not_call, no_number
    wait_s: float = 0.0  # from now until the call is allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLookedUp:
    """The CRM was asked who is calling, or the lookup was skipped."""

    crm: str
    outcome: str  # found, unknown, failed; not_asked if its breaker is open, or without a number
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerKnown:
    """The CRM's data about the caller was given to the model."""

    crm: str
    late: bool  # whether that was after the greeting had begun


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReported:
    """The CRM accepted the report of a call."""

    crm: str
    call_id: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallWanted:
    """The other party does not want to be called again, and the number is listed."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallTakenBack:
    """The other party withdrew the request not to be called again, in the same call."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallOwed:
    """The other party does not want to be called again, but the call ended before the listing."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallListed:
    """A number whose listing was pending is now on the do-not-call list."""

    call_id: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallDropped:
    """A process stopped trying to list a number."""

    call_id: str
    reason: str  # too_many, process_ended
    on_disk: bool  # the next process continues; if false, a person must list the number


ReloadOutcome: TypeAlias = Literal["replaced", "wrong", "no_worker", "partly"]
"""`replaced`: all workers run the new configuration. `wrong`, `no_worker`: it is invalid, or no
worker could start with it, and nothing changed. `partly`: some workers were replaced, and the next
one could not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationReloaded:
    """The configuration was reloaded, for new calls."""

    by: str  # SIGHUP, or the client over HTTP
    outcome: ReloadOutcome
    changed: tuple[str, ...] = ()  # keys, never their values
    workers: int = 0  # the number of workers that were replaced


WorkerCause: TypeAlias = Literal["start", "lost", "relief"]
"""Why a worker was started: with the server, to replace a lost worker, or to relieve a busy one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationLoaded:
    """A process answers calls with this configuration."""

    version: str  # of Holdline
    digest: str  # of all keys but secrets, to compare configurations
    agents: tuple[str, ...]
    ladders: tuple[str, ...]  # stages with their rungs, such as `tts cartesia elevenlabs`


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarted:
    """A worker is ready for calls."""

    worker: str
    process: int  # the process id
    cause: WorkerCause
    replaces: str = ""  # the worker that was lost
    after_s: float = 0.0  # from the loss of that worker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """A worker ended unexpectedly."""

    worker: str
    code: int  # its exit code; if negative, the signal
    calls: int  # the number of calls that it interrupted; other workers go on with most of them
    kind: str = "lost"  # or `frozen`, `out_of_memory`
    reason: str = ""  # in words that follow its name
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsLost:
    """Calls that a lost worker interrupted were not continued in time."""

    worker: str
    interrupted: int
    lost: int
    severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCut:
    """A call whose process had died was found in the record, and marked as interrupted."""

    call_id: str
    verdict: str  # lost


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipsRendered:
    """Fallback utterances were rendered by a voice and stored."""

    clips: int
    failed: int  # utterances that no voice could render; they are retried later
    complete: bool  # whether none is missing now


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsForgotten:
    """Recordings and texts of callers were deleted after their retention time."""

    files: int
    keep_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSent:
    """A channel accepted a message about an incident, or a change of an earlier one."""

    channel: str
    key: str  # the alert's key
    severity: Severity
    edited: bool  # whether an earlier message was changed


OperationsEvent: TypeAlias = (
    AlertClosed
    | WritesRefused
    | WritesResumed
    | CallSummarised
    | CallbackQueued
    | CallerLookedUp
    | CallerKnown
    | CallReported
    | DoNotCallWanted
    | DoNotCallTakenBack
    | DoNotCallOwed
    | DoNotCallListed
    | DoNotCallDropped
    | ConfigurationReloaded
    | ConfigurationLoaded
    | WorkerStarted
    | StoreLost
    | StoreRegained
    | WorkerLost
    | CallsLost
    | CallCut
    | ClipsRendered
    | RecordsForgotten
    | AlertSent
)
"""All events of this module."""
