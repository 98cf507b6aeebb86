"""An alert: one incident as operators are told of it, in one message that changes with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from calls.events import CallFailed
from calls.incident import WEIGHT, IncidentBegan, IncidentFact, Trouble
from calls.operations_events import AlertClosed
from fallbacks.breaker import State
from fallbacks.failure import Severity
from operations.notify.trouble_rules import DISK, STORAGE


@dataclass(slots=True)
class KnownRung:
    """One rung."""

    breaker: str = State.CLOSED
    suspect: bool = False
    kind: str = ""  # of its latest failure; empty: nothing speaks against it
    reason: str = ""

    def clear(self) -> None:
        """Forget what spoke against it."""
        self.suspect, self.kind, self.reason = False, "", ""


class KnownRungs:
    """All rungs of all ladders."""

    def __init__(self, ladders: Mapping[str, Sequence[str]], *, steps: Sequence[str]) -> None:
        """Prepare.

        Args:
            ladders: The rungs' names by stage, the preferred one first.
            steps: What callers get when no rung is left, one step after the other.
        """
        self._ladders = ladders
        self._rungs = {(stage, name): KnownRung() for stage in ladders for name in ladders[stage]}
        self._steps = ", ".join(steps) or "nothing"

    def get(self, stage: str, name: str) -> KnownRung:
        """Return one rung; nothing is kept of what stands on no ladder."""
        return self._rungs.get((stage, name)) or KnownRung()

    def has(self, stage: str, name: str) -> bool:
        """Say whether it is a rung on a ladder, or without a name a stage."""
        return stage in self._ladders if not name else (stage, name) in self._rungs

    def left_alone(self, stage: str) -> bool:
        """Say whether every rung of a stage is left alone."""
        rungs = [self.get(stage, name) for name in self._ladders.get(stage, ())]
        return bool(rungs) and all(rung.breaker != State.CLOSED for rung in rungs)

    def kinds(self, stage: str) -> str:
        """Return what is wrong with each rung of a stage, in a line."""
        kinds = {name: self.get(stage, name).kind for name in self._ladders.get(stage, ())}
        return ", ".join(f"{name}: {kind}" for name, kind in kinds.items() if kind)

    def instead(self, trouble: Trouble) -> str:
        """Say what is done instead, as far as is known at this moment."""
        stage, name = trouble.stage, trouble.rung
        if not self.has(stage, name):
            return "the call goes on without it"
        if not name:
            return self._steps
        other = self._other(stage, name)
        then = f"{other} is asked instead" if other else f"no other rung is left: {self._steps}"
        alone = f"; {name} is left alone until a trial of it succeeds"
        return then + alone if trouble.left_alone else then

    def _other(self, stage: str, name: str) -> str | None:
        """Return the rung that is asked next: the first that is in no doubt, or else the first."""
        others = (rung for rung in self._ladders[stage] if rung != name)
        usable = [rung for rung in others if self.get(stage, rung).breaker == State.CLOSED]
        return min(usable, key=lambda rung: bool(self.get(stage, rung).kind), default=None)


STAGES: Final = frozenset({"stt", "llm", "tts"})
"""What stands on a ladder."""
LASTING: Final = STAGES | {DISK, STORAGE}
"""Of these the process that has told an incident says now and then that it lasts, until its end."""
WHOLE_CALL: Final = "call"
"""Stands for the stage where a call could not be served at all."""
CHANNELS: Final = "alert"
"""Stands for the stage where a channel of alerts fails."""
RECOVERED: Final = "recovered"
"""How an alert ends when a process says that it is over."""
UNHEARD: Final = "unheard"
"""How it ends when nobody speaks of it any more."""
NOT_SERVED: Final = "not_served"
NOT_HELD: Final = frozenset({"worker"})
"""Stages of which is told at once: that it is well again soon helps nobody whose call is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentLasted:
    """A process still sees the incident that it has told."""

    stage: str
    rung: str


AlertFact: TypeAlias = IncidentFact | IncidentLasted


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """Who is told when; durations in seconds."""

    hold_s: float = 5.0  # what heals itself within this time wakes nobody, CRITICAL excepted
    update_s: float = 60.0  # between two changes of a message that only count further
    again_s: float = 600.0  # what comes back within this time goes on in the same message
    escalate_s: float = 600.0  # then an incident that nobody has acknowledged is a step worse
    per_hour: int = 20  # messages that ring, CRITICAL ones not counted; more wait
    wakes: Severity = Severity.HIGH  # from here on it is told in quiet hours, too
    silent_s: float = 300.0  # nobody has reported it for so long: its reporter is gone
    named_again_s: float = 1800.0  # the same off the ladders, where a carrier tells no success


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is known of an incident, and what of it was told. Moments are seconds since 1970."""

    key: str
    stage: str
    rung: str  # empty: the whole stage
    kind: str
    severity: Severity
    reason: str
    then: str
    began_s: float
    open_s: float  # since when it is open; later than `began_s` when it came back
    heard_s: float  # when somebody last spoke of it
    lasted_s: float = 0.0
    ended_s: float | None = None
    how: str = ""  # it ended: recovered, unheard, or resolved by an operator
    failures: int = 1
    turns: Mapping[str, int] = field(default_factory=dict[str, int])  # touched, by process
    beside: tuple[str, ...] = ()  # the other stages that are down
    escalated: bool = False
    seen_by: str = ""  # the operator who acknowledged it
    revision: int = 0  # how often it was told; 0: never
    told_at_s: float = 0.0
    told_severity: Severity = Severity.LOW
    told_ended: bool = False
    told_words: str = ""
    loud_s: tuple[float, ...] = ()  # when it rang within the last hour

    @property
    def turns_touched(self) -> int:
        """How many turns of callers it touched."""
        return sum(self.turns.values())

    @property
    def whole_stage(self) -> bool:
        """Whether a stage is down, and not only one of its rungs."""
        return not self.rung and self.stage in STAGES

    @property
    def words(self) -> str:
        """All that a message says and that changes without ringing."""
        said = (self.kind, self.reason, self.then, self.turns_touched, self.beside, self.seen_by)
        return repr(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class TellAlert:
    """Send the alert's message, or change the one that was sent."""

    alert: Alert
    loud: bool  # whether it is worth a message of its own where none can be changed


def closed(before: Iterable[Alert], after: Mapping[str, Alert]) -> tuple[AlertClosed, ...]:
    """Return which alerts were open and are over, without that a process has said so."""
    over = (after.get(alert.key) for alert in before if alert.ended_s is None)
    return tuple(
        AlertClosed(stage=item.stage, rung=item.rung, how=item.how, lasted_s=item.lasted_s)
        for item in over
        if item and item.ended_s is not None and item.how != RECOVERED
    )


def worse(one: Severity, other: Severity) -> Severity:
    """Return the heavier of two."""
    return max(one, other, key=lambda each: WEIGHT[each])


def step_up(severity: Severity) -> Severity:
    """Return the next heavier one."""
    steps = tuple(Severity)
    return steps[min(WEIGHT[severity] + 1, len(steps) - 1)]


def not_served(event: CallFailed) -> IncidentBegan:
    """Return that a call could not be served at all as an incident of its own."""
    return IncidentBegan(
        stage=WHOLE_CALL,
        rung="",
        kind=NOT_SERVED,
        severity=Severity.CRITICAL,
        reason=f"{event.where}: {event.error}",
        then="the caller heard a goodbye",
    )
