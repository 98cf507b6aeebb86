"""Events of the processes that answer calls, outside any one call."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.failure import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClosed:
    """An alert had no news for a while, or an operator resolved it."""

    stage: str
    rung: str  # empty: the whole stage
    how: str  # unheard, or resolved by an operator
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesRefused:
    """A disk does not accept the record; entries wait in memory, and calls go on."""

    where: str  # logs
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesResumed:
    """The disk accepts writes again, and the waiting entries are written."""

    where: str
    lost: int  # entries beyond the bound of the queue, since the process began


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
    """A caller's wish to be called back was given to a campaign, or rejected."""

    call_id: str
    campaign: str
    outcome: str  # added, moved, do_not_call, no_number
    wait_s: float = 0.0  # from now until the call is allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLookedUp:
    """The CRM was asked who is calling, or the lookup was skipped."""

    crm: str
    outcome: str  # found, unknown, failed, not_asked: its breaker is open, or there is no number
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerKnown:
    """The CRM's data on the caller was given to the model."""

    crm: str
    late: bool  # after the greeting had begun


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
    """The other party took back in the same call that they want no calls."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallOwed:
    """The other party does not want to be called again; the call ended before it was listed."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallListed:
    """A number whose listing was pending is on the do-not-call list."""

    call_id: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallDropped:
    """A process stopped trying to list a number."""

    call_id: str
    reason: str  # too_many, process_ended
    on_disk: bool  # the next start continues; False: a person must list it


ReloadOutcome: TypeAlias = Literal["replaced", "wrong", "no_worker", "partly"]
"""`replaced`: all workers run the new configuration. `wrong`, `no_worker`: it is invalid, or no
worker could start with it, and nothing changed. `partly`: some workers were replaced, and the next
one could not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationReloaded:
    """The configuration was read again, for the next calls."""

    by: str  # SIGHUP, or the client over HTTP
    outcome: ReloadOutcome
    changed: tuple[str, ...] = ()  # keys, never their values
    workers: int = 0  # that were replaced


WorkerCause: TypeAlias = Literal["start", "lost", "relief"]
"""Why a worker was started: with the server, to replace a lost one, or to take load off one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationLoaded:
    """A process answers calls with this configuration."""

    version: str  # of Holdline
    digest: str  # of all keys but secrets: equal digests mean equal configurations
    agents: tuple[str, ...]
    ladders: tuple[str, ...]  # each a stage and its rungs: tts cartesia elevenlabs


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarted:
    """A worker is ready for calls."""

    worker: str
    process: int  # its number in the system
    cause: WorkerCause
    replaces: str = ""  # the worker that was lost
    after_s: float = 0.0  # since that worker was lost


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """A worker ended without being told to."""

    worker: str
    code: int  # its exit code; negative: the signal
    calls: int  # that ended with it
    severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCut:
    """A call was found whose process had died: it is marked as interrupted, and lost."""

    call_id: str
    verdict: str  # lost


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipsRendered:
    """Fallback utterances were rendered by a voice and stored."""

    clips: int
    failed: int  # that no voice could render; they are retried later
    complete: bool  # nothing is missing now


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsForgotten:
    """Recordings and texts of callers were deleted after their retention time."""

    files: int
    keep_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSent:
    """A channel accepted a message about an incident, or a change of it."""

    channel: str
    key: str  # the alert's
    severity: Severity
    edited: bool  # an earlier message was changed
