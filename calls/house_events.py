"""What happens to the processes that answer calls, beside any call."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

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
