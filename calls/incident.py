"""One incident: what failed, how severe it is, and since when it has recovered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from fallbacks.failure import Severity

WEIGHT: Final[Mapping[Severity, int]] = {severity: at for at, severity in enumerate(Severity)}

CAMPAIGN: Final = "campaign"  # stands in place of a stage; the campaign's name in place of a rung
DISK: Final = "disk"
"""Stands in place of a stage if nothing can be written to disk."""
STORAGE: Final = "storage"
"""Stands in place of a stage if the database fails."""
RECORD: Final = "record"
NO_CALLS: Final = "do_not_call"
UNKNOWN: Final = "unknown"
"""The kind of an incident that another process found out about."""
WORKER: Final = "worker"
"""Stands in place of a stage if a worker is lost; the worker's name in place of a rung."""

Place: TypeAlias = tuple[str, str]
"""Stage and rung; no rung for the whole stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentBegan:
    """Something that worked has failed."""

    stage: str
    rung: str  # empty: the whole stage
    kind: str  # of the failure; for a stage: exhausted, no_usable_rung
    severity: Severity
    reason: str = ""  # redacted; for a stage: what is wrong with each rung
    then: str = ""  # what happens instead


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentGrew:
    """An incident is worse than was reported."""

    stage: str
    rung: str
    kind: str
    severity: Severity
    reason: str
    then: str
    failures: int  # so far


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEnded:
    """An incident is over."""

    stage: str
    rung: str
    kind: str
    lasted_s: float
    failures: int


IncidentEvent: TypeAlias = IncidentBegan | IncidentGrew | IncidentEnded


class Incident:
    """An incident in progress.

    Attributes:
        began: When it began, in seconds.
        well_since: Since when its place has been healthy; `None` if it is not.
    """

    def __init__(
        self, first: IncidentBegan, *, now: float, left_alone: bool = False, failures: int = 1
    ) -> None:
        """Begin with its first failure; see `add`."""
        self.began = now
        self.well_since: float | None = None
        self._worst = first
        self._left_alone = left_alone
        self._failures = failures

    def add(
        self, more: IncidentBegan, *, left_alone: bool = False, failures: int = 1
    ) -> IncidentGrew | None:
        """Count more of it; return the event if it is worse than was reported.

        Args:
            more: As if it began now.
            left_alone: The breaker is open, or about to open.
            failures: How many more.
        """
        self._failures += failures
        self.well_since = None
        heavier = WEIGHT[more.severity] > WEIGHT[self._worst.severity]
        opened = bool(more.rung) and left_alone and not self._left_alone
        if not (heavier or opened):
            return None
        self._worst, self._left_alone = more, left_alone
        return IncidentGrew(
            stage=more.stage,
            rung=more.rung,
            kind=more.kind,
            severity=more.severity,
            reason=more.reason,
            then=more.then,
            failures=self._failures,
        )

    def end(self, at: float) -> IncidentEnded:
        """Return the event that it ended at `at`."""
        return IncidentEnded(
            stage=self._worst.stage,
            rung=self._worst.rung,
            kind=self._worst.kind,
            lasted_s=round(max(0.0, at - self.began), 1),
            failures=self._failures,
        )
