"""One incident, from what failed to its end, and the health of the rungs that it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from calls.sentences import Vendors, callers_get, explain, vendor_at
from fallbacks.breaker import State
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


@dataclass(slots=True)
class KnownRung:
    """One rung."""

    breaker: str = State.CLOSED
    suspect: bool = False
    kind: str = ""  # of its latest failure; empty if it seems healthy
    reason: str = ""

    def clear(self) -> None:
        """Forget its failures."""
        self.suspect, self.kind, self.reason = False, "", ""


class KnownRungs:
    """All rungs of all ladders."""

    def __init__(
        self,
        ladders: Mapping[str, Sequence[str]],
        *,
        steps: Sequence[str],
        vendors: Vendors | None = None,
    ) -> None:
        """Prepare.

        Args:
            ladders: The rungs' names by stage, the preferred one first.
            steps: What callers get without a usable rung, in order.
            vendors: For the sentences about failures.
        """
        self._ladders = ladders
        self._rungs = {(stage, name): KnownRung() for stage in ladders for name in ladders[stage]}
        self._steps = steps
        self._vendors = vendors or {}

    def get(self, stage: str, name: str) -> KnownRung:
        """Return one rung; unknown ones are not stored."""
        return self._rungs.get((stage, name)) or KnownRung()

    def explain(self, stage: str, name: str, kind: str, reason: str) -> str:
        """Return an operator's sentence about a failure of a rung or another system."""
        return explain(kind, reason, vendor_at(self._vendors, stage, name))

    def has(self, stage: str, name: str) -> bool:
        """Return whether it is a rung on a ladder, or without a name a stage."""
        return stage in self._ladders if not name else (stage, name) in self._rungs

    def left_alone(self, stage: str) -> bool:
        """Return whether every rung of a stage is unavailable."""
        rungs = [self.get(stage, name) for name in self._ladders.get(stage, ())]
        return bool(rungs) and all(rung.breaker != State.CLOSED for rung in rungs)

    def reasons(self, stage: str) -> str:
        """Return the sentences about the rungs of a stage, in one line."""
        rungs = [self.get(stage, name) for name in self._ladders.get(stage, ())]
        return "; ".join(dict.fromkeys(rung.reason for rung in rungs if rung.reason))

    def instead(self, stage: str, name: str, *, left_alone: bool = False) -> str:
        """Return what happens instead of a rung, or without a name of a stage, as known now."""
        if not self.has(stage, name):
            return "calls go on without it"
        left_alone = left_alone or self.get(stage, name).breaker == State.OPEN
        other = self._other(stage, name) if name else None
        then = callers_get([other] if other else [], self._steps, stage=stage)
        if not name:
            return then
        alone = f"; {name} is tested until it works again"
        return then + alone if left_alone else then

    def _other(self, stage: str, name: str) -> str | None:
        """Return the next rung: the first healthy one, else the first."""
        others = (rung for rung in self._ladders[stage] if rung != name)
        usable = [rung for rung in others if self.get(stage, rung).breaker == State.CLOSED]
        return min(usable, key=lambda rung: bool(self.get(stage, rung).kind), default=None)
