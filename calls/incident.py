"""One incident: what failed, how severe it is, and when it recovered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from fallbacks.failure import ONE_CALL, Severity

WEIGHT: Final[Mapping[Severity, int]] = {severity: rank for rank, severity in enumerate(Severity)}

CAMPAIGN: Final = "campaign"
"""The stage of an incident of a campaign; the rung is the campaign's name."""
DISK: Final = "disk"
"""The stage of an incident if nothing can be written to disk."""
STORAGE: Final = "storage"
"""The stage of an incident if the database fails."""
RECORD: Final = "record"
STORE: Final = "store"  # of several machines
NO_CALLS: Final = "do_not_call"
UNKNOWN: Final = "unknown"
"""The kind of an incident that another process has detected."""
WORKER: Final = "worker"
"""The stage of an incident if a worker is lost; the rung is the worker's name."""

Place: TypeAlias = tuple[str, str]
"""Stage and rung; the rung is empty for the whole stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentBegan:
    """Something that worked has failed."""

    stage: str
    rung: str  # empty for the whole stage
    kind: str  # of the failure; of a stage: exhausted, no_usable_rung
    severity: Severity
    reason: str = ""  # redacted; of a stage: the failure of each rung
    then: str = ""  # what happens instead


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentGrew:
    """An incident has become worse."""

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
        began: When it began, in seconds, on the clock of `now`.
        well_since: When its stage or rung became healthy; `None` if it is not.
    """

    def __init__(
        self, first: IncidentBegan, *, now: float, is_breaker_open: bool = False, failures: int = 1
    ) -> None:
        """Begin with the first failure; see `add` for the arguments."""
        self.began = now
        self.well_since: float | None = None
        self._worst = first
        self._is_breaker_open = is_breaker_open
        self._failures = failures

    def add(
        self,
        more: IncidentBegan,
        *,
        is_wider: bool = False,
        is_breaker_open: bool = False,
        failures: int = 1,
    ) -> IncidentGrew | None:
        """Count further failures; return an event if the incident has become worse, else `None`.

        It is worse if it is more severe, if it concerns another rung as well, if the rung's breaker
        has opened, or if it is proved not to concern only one call. In any case it is not well now.

        Args:
            more: The event that would begin an incident with these failures.
            is_wider: Whether another rung of the same vendor fails alike.
            is_breaker_open: Whether the breaker is open, or about to open.
            failures: The number of further failures.
        """
        self._failures += failures
        self.well_since = None
        more = self._as_reported(more, is_wider=is_wider)
        more_severe = WEIGHT[more.severity] > WEIGHT[self._worst.severity]
        opened = bool(more.rung) and is_breaker_open and not self._is_breaker_open
        proved = ONE_CALL in self._worst.reason and ONE_CALL not in more.reason
        if not (more_severe or is_wider or opened or proved):
            return None
        self._worst, self._is_breaker_open = more, is_breaker_open
        return IncidentGrew(
            stage=more.stage,
            rung=more.rung,
            kind=more.kind,
            severity=more.severity,
            reason=more.reason,
            then=more.then,
            failures=self._failures,
        )

    def _as_reported(self, more: IncidentBegan, *, is_wider: bool) -> IncidentBegan:
        """Return further failures under the incident's rung, and its cause if they name none.

        If they make it wider, it keeps its kind.
        """
        more = replace(more, rung=self._worst.rung)  # of several, the first that failed
        if more.kind == UNKNOWN:  # a report without a cause does not replace one with a cause
            more = replace(more, kind=self._worst.kind, reason=self._worst.reason)
        return replace(more, kind=self._worst.kind) if is_wider else more

    def end(self, at: float) -> IncidentEnded:
        """Return the event that ends the incident at `at`.

        The incident itself stays as it is.
        """
        return IncidentEnded(
            stage=self._worst.stage,
            rung=self._worst.rung,
            kind=self._worst.kind,
            lasted_s=round(max(0.0, at - self.began), 1),
            failures=self._failures,
        )
