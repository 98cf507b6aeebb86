"""What happens to the processes that answer calls, beside any call."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.failure import Severity

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
