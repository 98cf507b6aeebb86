"""What happens to the processes that answer calls, beside any call."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.failure import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClosed:
    """Nobody has spoken of it for a while, or an operator has said that it is over."""

    stage: str
    rung: str  # empty: the whole stage
    how: str  # unheard, resolved by somebody
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesRefused:
    """A disk takes nothing of the record any more; what is told waits in memory, calls go on."""

    where: str  # logs
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesResumed:
    """It takes what is written again; what waited is there."""

    where: str
    lost: int  # of what waited, since the process began: more came than may wait


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummarised:
    """What a call came to was written down, behind its end."""

    call_id: str
    made_by: str  # model, facts
    outcome: str
    provider: str = ""  # the rung that answered
    why: str = ""  # no model did it: a code
    took_s: float = 0.0  # from the call's end


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackQueued:
    """Whoever asked to be called back was given to a campaign, or was not."""

    call_id: str
    campaign: str
    outcome: str  # added, moved, do_not_call, no_number
    wait_s: float = 0.0  # from now until they may be called


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLookedUp:
    """The register was asked who calls, or was not."""

    crm: str
    outcome: str  # found, unknown, failed, not_asked: its breaker is open, or there is no number
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerKnown:
    """What the register knows was given to the model."""

    crm: str
    late: bool  # after the greeting had begun


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReported:
    """The register was told of a call, and took it."""

    crm: str
    call_id: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallWanted:
    """The other party does not want to be called again, and the number is on the list."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallOwed:
    """They do not want it, the call has ended, and the number is not on the list yet."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallListed:
    """A number that was owed is on the list."""

    call_id: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallDropped:
    """A process does not try to list a number any more."""

    call_id: str
    reason: str  # too_many, process_ended
    on_disk: bool  # the next start goes on with it; False: a person has to list it


ReloadOutcome: TypeAlias = Literal["replaced", "wrong", "no_worker", "partly"]
"""All workers were replaced; the configuration is wrong, or no worker could start with it, and
nothing changed; or some were replaced and the next one could not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationReloaded:
    """Somebody had the configuration read anew, for the next calls."""

    by: str  # SIGHUP, or who asked over HTTP
    outcome: ReloadOutcome
    changed: tuple[str, ...] = ()  # keys, never what they hold
    workers: int = 0  # that were replaced


WorkerCause: TypeAlias = Literal["start", "lost", "relief"]
"""Why a worker was started: with the house, for one that was lost, or to relieve one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationLoaded:
    """A process answers calls by this configuration."""

    version: str  # of Holdline
    digest: str  # of every key but secrets: processes with the same one go by the same
    agents: tuple[str, ...]
    ladders: tuple[str, ...]  # each a stage and its rungs: tts cartesia elevenlabs


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarted:
    """A worker is ready for calls."""

    worker: str
    process: int  # its number in the system
    cause: WorkerCause
    replaces: str = ""  # the worker that was lost
    after_s: float = 0.0  # since it was


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """A worker ended although nobody had told it to."""

    worker: str
    code: int  # how it ended; below zero: by which signal
    calls: int  # that ended with it
    severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsCut:
    """Calls were found whose process died under them: they are marked as interrupted."""

    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipsRendered:
    """Sentences for the worst case were spoken by a voice and kept."""

    clips: int
    failed: int  # that no voice could say; they are tried again later
    complete: bool  # nothing is missing now


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsForgotten:
    """What callers said was deleted, its time having come."""

    files: int
    keep_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSent:
    """A channel has taken a message about an incident, or a change of it."""

    channel: str
    key: str  # the alert's
    severity: Severity
    edited: bool  # an earlier message was changed
