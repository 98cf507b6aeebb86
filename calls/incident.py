"""One incident: what began, how bad it is, and since when it is well again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from fallbacks.failure import Severity

WEIGHT: Final[Mapping[Severity, int]] = {each: at for at, each in enumerate(Severity)}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentBegan:
    """Something is wrong that was well."""

    stage: str
    rung: str  # empty: the whole stage
    kind: str  # of the failure; of a stage: exhausted, no_usable_rung
    severity: Severity
    reason: str  # redacted; of a stage: what is wrong with each rung
    then: str  # what is done instead


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentGrew:
    """It is worse than was said."""

    stage: str
    rung: str
    kind: str
    severity: Severity
    reason: str
    then: str
    failures: int  # so far


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEnded:
    """It is well again."""

    stage: str
    rung: str
    kind: str
    lasted_s: float
    failures: int


IncidentFact: TypeAlias = IncidentBegan | IncidentGrew | IncidentEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a fact says is wrong."""

    stage: str
    rung: str
    kind: str
    severity: Severity
    reason: str = ""
    left_alone: bool = False  # the breaker is open, or will be within this moment
    failures: int = 1


class Incident:
    """One that is under way."""

    def __init__(self, first: Trouble, *, now: float) -> None:
        self.began = now
        self.well_since: float | None = None
        self._worst = first
        self._failures = first.failures

    def add(self, trouble: Trouble) -> bool:
        """Count more of it; return whether it is worse than was said."""
        self._failures += trouble.failures
        self.well_since = None
        worst = self._worst
        heavier = WEIGHT[trouble.severity] > WEIGHT[worst.severity]
        opened = bool(trouble.rung) and trouble.left_alone and not worst.left_alone
        if heavier or opened:
            self._worst = trouble
        return heavier or opened

    def begin(self, then: str) -> IncidentBegan:
        """Say that it began, and what is done instead."""
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
        """Say how bad it is by now."""
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
        """Say that it is over, and since when."""
        return IncidentEnded(
            stage=self._worst.stage,
            rung=self._worst.rung,
            kind=self._worst.kind,
            lasted_s=round(max(0.0, at - self.began), 1),
            failures=self._failures,
        )
