"""An alert: an incident's message to operators, updated as the incident changes."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from calls.events import CallFailed
from calls.incident import DISK, STORAGE, WEIGHT, WORKER, IncidentBegan, IncidentEvent
from calls.operations_events import AlertClosed
from calls.state import STAGES
from fallbacks.failure import Severity

LASTING: Final = STAGES | {DISK, STORAGE}
"""The stages whose incidents are confirmed by the reporting process (`IncidentLasted`)."""
WHOLE_CALL: Final = "call"
"""Used as the stage if a call could not be served at all."""
CHANNELS: Final = "alert"
"""Used as the stage if an alert channel fails."""
RECOVERED: Final = "recovered"
"""How an alert ends if a process reports its end."""
UNHEARD: Final = "unheard"
"""How an alert ends if no process reports it any more."""
REPLACED: Final = "replaced"
"""How an alert ends if each process that reported it was replaced or stopped."""
CALLERS: Final = "callers"
"""Used as the stage if many callers get no answer, whatever the cause."""
LEAD_S: Final = 15.0  # a turn begins before the failure that spoils it is reported
COUNTED: Final = STAGES | {CALLERS, WORKER, WHOLE_CALL}
"""The stages whose failures hurt callers; for others, hurt callers are not counted."""
HURT_S: Final = 300.0  # the time over which hurt callers are counted
NOT_SERVED: Final = "not_served"
NOT_HELD: Final = frozenset({WORKER})
"""Stages that are reported at once: a quick recovery does not undo a lost call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentLasted:
    """A process still sees the incident that it reported."""

    stage: str
    rung: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentLeft:
    """A process that reported the incident stops; it does not know whether the incident lasts."""

    stage: str
    rung: str


AlertEvent: TypeAlias = IncidentEvent | IncidentLasted | IncidentLeft


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The callers who were hurt.

    Attributes:
        hurt_s: When each was first hurt, in seconds since 1970, in order.
        calls: All calls within the last `HURT_S`; not counted, 0, if none was hurt in this time.
    """

    hurt_s: Sequence[float] = ()
    calls: int = 0

    def between(self, begin_s: float, end_s: float) -> int:
        """Return how many callers were first hurt between two moments."""
        return bisect_right(self.hurt_s, end_s) - bisect_left(self.hurt_s, begin_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """When to notify operators; durations in seconds."""

    hold_s: float = 5.0  # shorter incidents are not reported, except CRITICAL ones
    update_s: float = 60.0  # between two silent updates
    again_s: float = 600.0  # an incident that returns within this time is the same alert
    escalate_s: float = 600.0  # after this, the severity of an unacknowledged incident rises
    per_hour: int = 20  # loud messages, not counting CRITICAL ones; further ones wait
    wakes: Severity = Severity.HIGH  # the lowest severity that is reported even in quiet hours
    silent_s: float = 300.0  # an alert without reports for this time ends
    named_again_s: float = 1800.0  # the same for systems without a ladder, which report no success
    hurt_share: float = 0.02  # of the calls in five minutes; a larger share hurt makes an alert
    hurt_callers: int = 2  # the fewest that make such an alert


SENT: Final = ("key", "revision", "told_at_s", "told_severity", "told_words", "loud_s")
"""The fields of an alert that belong to its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The state of an incident, and what was sent about it. Moments are seconds since 1970."""

    key: str
    stage: str
    rung: str  # empty for the whole stage
    kind: str
    severity: Severity
    reason: str
    then: str
    began_s: float
    open_s: float  # when it opened last; later than `began_s` if it returned
    heard_s: float  # when it was last reported
    lasted_s: float = 0.0
    ended_s: float | None = None
    how: str = ""  # how it ended: recovered, unheard, replaced, or resolved by an operator
    failures: int = 1
    callers: int = 0  # the number who were hurt while it was open
    reporters: tuple[str, ...] = ()  # the processes that see it
    beside: tuple[str, ...] = ()  # the other stages that are down
    escalated: bool = False
    seen_by: str = ""  # the operator who acknowledged it
    revision: int = 0  # how many times it was sent
    told_at_s: float = 0.0
    told_severity: Severity = Severity.LOW
    told_ended: bool = False
    told_words: str = ""
    loud_s: tuple[float, ...] = ()  # when loud messages were sent, within the last hour

    @property
    def whole_stage(self) -> bool:
        """Whether a stage is down, not only one of its rungs."""
        return not self.rung and self.stage in STAGES

    @property
    def words(self) -> str:
        """The parts of a message that are updated silently."""
        changing = (self.kind, self.reason, self.then, self.callers, self.beside, self.seen_by)
        return repr(changing)


@dataclass(frozen=True, slots=True, kw_only=True)
class TellAlert:
    """An action: send the alert's message, or update the earlier one."""

    alert: Alert
    loud: bool  # whether to send a new message where updates are impossible
    continues: bool = False  # the message of a rung, as that of its stage: sent there as well


def ended_events(before: Iterable[Alert], after: Mapping[str, Alert]) -> tuple[AlertClosed, ...]:
    """Return events for the alerts that ended without a process's report of the end."""
    were_open = (after.get(alert.key) for alert in before if alert.ended_s is None)
    return tuple(
        AlertClosed(stage=item.stage, rung=item.rung, how=item.how, lasted_s=item.lasted_s)
        for item in were_open
        if item and item.ended_s is not None and (item.how != RECOVERED or item.stage == CALLERS)
    )


def begun_events(before: Iterable[Alert], after: Mapping[str, Alert]) -> tuple[IncidentBegan, ...]:
    """Return events for the alerts about hurt callers that began: no process reports these."""
    known = {alert.key for alert in before if alert.ended_s is None}
    return tuple(
        IncidentBegan(
            stage=item.stage,
            rung=item.rung,
            kind=item.kind,
            severity=item.severity,
            reason=item.reason,
            then=item.then,
        )
        for item in after.values()
        if item.stage == CALLERS and item.ended_s is None and item.key not in known
    )


def higher_severity(one: Severity, other: Severity) -> Severity:
    """Return the higher of two severities."""
    return max(one, other, key=lambda severity: WEIGHT[severity])


def step_up(severity: Severity) -> Severity:
    """Return the next higher severity, or the highest."""
    steps = tuple(Severity)
    return steps[min(WEIGHT[severity] + 1, len(steps) - 1)]


def with_callers(alert: Alert, census: Census) -> Alert:
    """Return an alert with the number of callers who were hurt while it was open.

    Those of the `LEAD_S` before it count, too. It is unchanged if failures of its stage hurt no
    callers.
    """
    if alert.stage not in COUNTED:
        return alert
    end_s = math.inf if alert.ended_s is None else alert.ended_s
    return replace(alert, callers=census.between(alert.open_s - LEAD_S, end_s))


def find_many_hurt(census: Census, rules: AlertRules, now: float) -> IncidentBegan | None:
    """Return an incident if too many callers were hurt within `HURT_S`; else `None`.

    Too many are at least `hurt_callers`, and at least `hurt_share` of the calls.
    """
    hurt = census.between(now - HURT_S, now)
    if hurt < rules.hurt_callers or hurt < rules.hurt_share * census.calls:
        return None
    return IncidentBegan(
        stage=CALLERS,
        rung="",
        kind="no_answer",
        severity=Severity.HIGH,
        reason=f"{hurt} of {max(hurt, census.calls)} callers within {HURT_S / 60:g} minutes",
        then="the alerts by cause say what is down",
    )


def failed_call_incident(event: CallFailed) -> IncidentBegan:
    """Return an incident for a call that could not be served."""
    return IncidentBegan(
        stage=WHOLE_CALL,
        rung="",
        kind=NOT_SERVED,
        severity=Severity.CRITICAL,
        reason=f"{event.where}: {event.error}",
        then="the caller heard a goodbye",
    )
