"""One incident: what failed, how severe it is, and since when it has recovered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from fallbacks.failure import Severity

WEIGHT: Final[Mapping[Severity, int]] = {severity: at for at, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentBegan:
    """Something that worked has failed."""

    stage: str
    rung: str  # empty: the whole stage
    kind: str  # of the failure; for a stage: exhausted, no_usable_rung
    severity: Severity
    reason: str  # redacted; for a stage: what is wrong with each rung
    then: str  # what happens instead


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


IncidentFact: TypeAlias = IncidentBegan | IncidentGrew | IncidentEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What an event says is wrong."""

    stage: str
    rung: str
    kind: str
    severity: Severity
    reason: str = ""
    left_alone: bool = False  # the breaker is open, or about to open
    failures: int = 1


class Incident:
    """An incident in progress."""

    def __init__(self, first: Trouble, *, now: float) -> None:
        self.began = now
        self.well_since: float | None = None
        self._worst = first
        self._failures = first.failures

    def add(self, trouble: Trouble) -> bool:
        """Count more of it; return whether it is worse than was reported."""
        self._failures += trouble.failures
        self.well_since = None
        worst = self._worst
        heavier = WEIGHT[trouble.severity] > WEIGHT[worst.severity]
        opened = bool(trouble.rung) and trouble.left_alone and not worst.left_alone
        if heavier or opened:
            self._worst = trouble
        return heavier or opened

    def begin(self, then: str) -> IncidentBegan:
        """Return the event that it began; `then` is what happens instead."""
        worst = self._worst
        return IncidentBegan(
            stage=worst.stage,
            rung=worst.rung,
            kind=worst.kind,
            severity=worst.severity,
            reason=worst.reason,
            then=then,
        )

    def grow(self, then: str) -> IncidentGrew:
        """Return the event of how severe it is by now."""
        worst = self._worst
        return IncidentGrew(
            stage=worst.stage,
            rung=worst.rung,
            kind=worst.kind,
            severity=worst.severity,
            reason=worst.reason,
            then=then,
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
