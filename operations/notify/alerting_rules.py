"""Decides when to notify operators: once per incident, however many calls it affects.

An alert begins and ends with its incident. An incident that returns soon is the same alert. An
alert rings (a loud message is sent) when the incident has lasted a moment, when its severity rises,
and when it is over; in between the message is only updated. In quiet hours a less severe alert
waits, and is never sent if the incident ends first; the same holds for alerts beyond the hourly
limit. The severity of a long incident rises unless an operator has acknowledged it.

Each process reports for itself. The first report of the end ends the alert, because processes share
their provider health. An alert that no process reports any more ends, too.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from math import inf
from typing import Final

from calls.incident import UNKNOWN, WEIGHT, IncidentBegan, IncidentEnded, IncidentGrew
from calls.sentences import FAIL_ALIKE
from calls.state import STAGES
from fallbacks.failure import ONE_CALL, Severity
from operations.notify.alert import (
    CALLERS,
    HURT_S,
    NOT_HELD,
    RECOVERED,
    REPLACED,
    SENT,
    UNHEARD,
    Alert,
    AlertEvent,
    AlertRules,
    Census,
    IncidentLasted,
    IncidentLeft,
    TellAlert,
    find_many_hurt,
    higher_severity,
    step_up,
    with_callers,
)

HOUR_S: Final = 3600.0
WORD: Final = re.compile(r"\w+")
SUCCESSORS_S: Final = 30.0  # by then, the successors of replaced processes have reported it again
COUNT_FOR_S: Final = 120.0  # after an alert's end, its callers are counted: turns are judged late


def never_quiet(_: float) -> bool:
    """Return False: no hour is quiet."""
    return False


class RingRules:
    """Decides when an alert rings, and when its message is updated silently."""

    def __init__(self, rules: AlertRules, quiet: Callable[[float], bool]) -> None:
        self._rules = rules
        self._quiet = quiet

    def rings(self, alert: Alert, now: float, *, among: Iterable[Alert]) -> bool:
        """Return whether an alert rings now.

        An alert first rings when it has lasted `hold_s`; at once if it is critical or about a lost
        worker. Then it rings when its severity rises, and when it ends. An open alert of low
        severity never rings, nor does one whose outage the alert of a whole stage tells, nor one
        that ends with it. In quiet hours, no alert rings that is less severe than `wakes`.

        Args:
            alert: Its current state, with what was sent.
            now: In seconds since 1970.
            among: All alerts, including this one, for the hourly limit.
        """
        is_minor = WEIGHT[alert.severity] < WEIGHT[self._rules.wakes]
        if is_minor and self._quiet(now):
            return False
        is_sent = bool(alert.revision) and not alert.told_ended
        if alert.ended_s is not None:
            # An end is reported if the start was.
            return is_sent and _is_final(alert, now) and not self._ends_with_stage(alert, among)
        if alert.severity is Severity.LOW:
            return False
        if is_sent:
            is_worse = WEIGHT[alert.severity] > WEIGHT[alert.told_severity]
            return is_worse and self._is_under_limit(alert, now, among=among)
        told_until = _told_until(alert, among)
        at_once = alert.severity is Severity.CRITICAL or alert.stage in NOT_HELD
        due_s = max(told_until, alert.open_s + (0.0 if at_once else self._rules.hold_s))
        is_due = now >= max(due_s, told_until + self._rules.hold_s)
        return is_due and self._is_under_limit(alert, now, among=among)

    def updates_silently(self, alert: Alert, now: float, *, among: Iterable[Alert]) -> bool:
        """Return whether to change the sent message without ringing.

        That is so for an alert that ends with its whole stage, and for new words once `update_s`
        has passed. Any other end, or a return, rings. `now` is in seconds since 1970.
        """
        has_ended = alert.ended_s is not None
        if not alert.revision:
            return False  # nothing was sent yet
        if alert.told_ended != has_ended:  # else a loud message about the end or return is due
            return has_ended and _is_final(alert, now) and self._ends_with_stage(alert, among)
        return alert.words != alert.told_words and now >= alert.told_at_s + self._rules.update_s

    def _ends_with_stage(self, alert: Alert, among: Iterable[Alert]) -> bool:
        """Return whether an ended alert is over when its whole stage is, whose alert says so."""
        return (alert.ended_s or 0.0) <= _told_until(alert, among) + self._rules.hold_s

    def _is_under_limit(self, alert: Alert, now: float, *, among: Iterable[Alert]) -> bool:
        """Return whether the hourly limit allows another loud message; critical ones are exempt."""
        if alert.severity is Severity.CRITICAL:
            return True
        rang = [
            sent_s
            for other in among
            if other.told_severity is not Severity.CRITICAL
            for sent_s in other.loud_s
            if sent_s > now - HOUR_S
        ]
        return len(rang) < self._rules.per_hour


def _is_final(alert: Alert, now: float) -> bool:
    """Return whether no successor of a replaced process will report an ended alert again."""
    return alert.how != REPLACED or now >= (alert.ended_s or 0.0) + SUCCESSORS_S


def _told_until(alert: Alert, among: Iterable[Alert]) -> float:
    """Return until when the alert of a whole stage tells this outage; infinite while it is open.

    It names the causes of all its rungs, and counts the callers that it hurts.
    """
    if alert.whole_stage or (alert.stage != CALLERS and alert.stage not in STAGES):
        return -inf
    counted_s = HURT_S if alert.stage == CALLERS else 0.0  # that long they count as hurt
    return max(
        (
            inf if other.ended_s is None else other.ended_s + counted_s
            for other in among
            if other.whole_stage and alert.stage in (other.stage, CALLERS)
        ),
        default=-inf,
    )


class Alerting:
    """All open and recent alerts; moments are seconds since 1970."""

    def __init__(
        self,
        rules: AlertRules,
        alerts: Iterable[Alert] = (),
        *,
        quiet: Callable[[float], bool] = never_quiet,
        complete: bool = True,
    ) -> None:
        """Start from the known alerts.

        Args:
            rules: When to notify operators.
            alerts: The known alerts.
            quiet: Returns whether a moment is in quiet hours.
            complete: Whether all reports have been read; if not, no alert ends for lack of them.
        """
        self.rules = rules
        self._complete = complete
        self._ringing = RingRules(rules, quiet)
        self.alerts = {alert.key: alert for alert in alerts}

    def handle(self, fact: AlertEvent, now: float, *, by: str = "") -> tuple[TellAlert, ...]:
        """Change the alerts as an event requires, and `tick`; return the messages that are due.

        Args:
            fact: A process's report about an incident.
            now: When it was reported.
            by: The process that reported it; empty for a report of the dispatcher's own.
        """
        known = self._find_open(fact.stage, fact.rung)
        match fact:
            case IncidentBegan() | IncidentGrew():
                alert = self._begin_or_update(known, fact, now)
            case IncidentEnded():
                known = known or self._find_recently_ended(fact, now)
                alert = known and _end_alert(known, now, how=RECOVERED, lasted_s=fact.lasted_s)
            case IncidentLasted():
                alert = known or _reopen_last(self.alerts.values(), fact)
            case IncidentLeft():
                alert = known and _without_reporter(known, now, by=by)
        if alert:
            if by and not isinstance(fact, IncidentEnded | IncidentLeft):
                alert = replace(alert, reporters=tuple(sorted({*alert.reporters, by})))
            self.alerts[alert.key] = replace(alert, heard_s=max(now, alert.heard_s))
        return self.tick(now)

    def acknowledge(self, key: str, now: float, *, by: str) -> tuple[TellAlert, ...]:
        """Record that an operator saw an alert, if it is open, and `tick`; return the due messages.

        Its severity then no longer rises with time, but still if the incident becomes worse.
        """
        alert = self.alerts.get(key)
        if alert and alert.ended_s is None:
            self.alerts[key] = replace(alert, seen_by=by)
        return self.tick(now)

    def resolve(self, key: str, now: float, *, by: str) -> tuple[TellAlert, ...]:
        """End an alert at an operator's request, if it is open, and `tick`.

        Returns the messages that are due.
        """
        alert = self.alerts.get(key)
        if alert and alert.ended_s is None:
            seen = replace(alert, seen_by=by)
            self.alerts[key] = _end_alert(seen, now, how=f"resolved by {by}")
        return self.tick(now)

    def tick(self, now: float) -> tuple[TellAlert, ...]:
        """End or escalate alerts whose time has come; return the messages that are due.

        Each message is recorded as sent, so a second call does not return it again.
        """
        for alert in tuple(self.alerts.values()):
            if alert.ended_s is None:
                self.alerts[alert.key] = self._end_or_escalate(alert, now)
        _take_over_messages(self.alerts, now - self.rules.update_s)
        self._join_stages()
        lasting = [alert for alert in self.alerts.values() if alert.ended_s is None]
        self.alerts |= {alert.key: _without_failed(alert, lasting) for alert in lasting}
        heaviest = sorted(self.alerts.values(), key=lambda alert: -WEIGHT[alert.severity])
        messages = (self._message_for(alert, now) for alert in heaviest)
        return tuple(action for action in messages if action)

    def _begin_or_update(
        self, known: Alert | None, fact: IncidentBegan | IncidentGrew, now: float
    ) -> Alert:
        """Return the alert of a problem: the known one updated, one that returned, or a new one."""
        alert = known or self._reopen_recent(fact, now)
        if alert is None:
            alert = new_alert(fact, now)
            is_used = alert.key in self.alerts
            return replace(alert, key=f"{alert.key}-{len(self.alerts)}") if is_used else alert
        failures = fact.failures if isinstance(fact, IncidentGrew) else alert.failures
        return replace(
            alert,
            kind=alert.kind if fact.kind == UNKNOWN else str(fact.kind),
            severity=higher_severity(alert.severity, fact.severity),
            reason=_fuller_reason(alert, fact),
            then=fact.then or alert.then,
            failures=max(alert.failures, failures),
        )

    def _find_open(self, stage: str, rung: str) -> Alert | None:
        place = (stage, rung)
        found = (alert for alert in self.alerts.values() if (alert.stage, alert.rung) == place)
        return next((alert for alert in found if alert.ended_s is None), None)

    def _find_recently_ended(
        self, fact: IncidentEnded | IncidentBegan | IncidentGrew, now: float
    ) -> Alert | None:
        """Return the alert of this place and kind that ended last, within `again_s`, or `None`."""
        soon = now - self.rules.again_s
        found = [
            alert
            for alert in self.alerts.values()
            if (alert.stage, alert.rung) == (fact.stage, fact.rung)
            and (alert.kind == str(fact.kind) or fact.kind == UNKNOWN)
            and alert.ended_s is not None
            and alert.ended_s >= soon
        ]
        return max(found, key=lambda alert: alert.ended_s or 0.0, default=None)

    def _reopen_recent(self, fact: IncidentBegan | IncidentGrew, now: float) -> Alert | None:
        """Return the recently ended alert of this problem, open again; `None` if there is none.

        It is open since now, with no acknowledgement and its severity as reported, unless it only
        ended because its reporters were replaced.
        """
        alert = self._find_recently_ended(fact, now)
        if alert is None:
            return None
        if alert.how == REPLACED:  # the incident never ended
            return replace(alert, ended_s=None, how="", lasted_s=0.0)
        again = replace(alert, ended_s=None, how="", open_s=now, severity=fact.severity)
        return replace(again, escalated=False, seen_by="", callers=0, lasted_s=0.0)

    def _end_or_escalate(self, alert: Alert, now: float) -> Alert:
        """End an alert that no process reports any more; raise an unacknowledged one's severity."""
        rules = self.rules
        silent_s = rules.silent_s if alert.stage in STAGES else rules.named_again_s
        if self._complete and now >= alert.heard_s + silent_s:
            return _end_alert(alert, now, how=UNHEARD)
        is_due = now >= alert.open_s + rules.escalate_s
        if is_due and alert.severity is not Severity.LOW and not (alert.escalated or alert.seen_by):
            return replace(alert, severity=step_up(alert.severity), escalated=True)
        return alert

    def _join_stages(self) -> None:
        """Add the other stages that are down to the alert of each one; several are critical."""
        down = [
            alert for alert in self.alerts.values() if alert.whole_stage and alert.ended_s is None
        ]
        for alert in down:
            others = tuple(sorted({other.stage for other in down} - {alert.stage}))
            severity = Severity.CRITICAL if others else alert.severity
            self.alerts[alert.key] = replace(alert, beside=others, severity=severity)

    def _message_for(self, alert: Alert, now: float) -> TellAlert | None:
        """Return the message that is due now, and record it as sent; `None` if none is due."""
        loud = self._ringing.rings(alert, now, among=self.alerts.values())
        if not loud and not self._ringing.updates_silently(alert, now, among=self.alerts.values()):
            return None
        rang = tuple(sent_s for sent_s in alert.loud_s if sent_s > now - HOUR_S)
        sent = replace(
            alert,
            revision=alert.revision + 1,
            told_at_s=now,
            told_severity=alert.severity,
            told_ended=alert.ended_s is not None,
            told_words=alert.words,
            loud_s=(*rang, now) if loud else rang,
        )
        self.alerts[alert.key] = sent
        return TellAlert(alert=sent, loud=loud, continues=not loud and not alert.told_at_s)


def _take_over_messages(alerts: dict[str, Alert], since_s: float) -> None:
    """Let a new alert of a stage continue a message that one of its rungs sent after `since_s`.

    The two alerts exchange their keys, because a message keeps its key.
    """
    is_open = [alert for alert in alerts.values() if alert.ended_s is None]
    stages = [alert for alert in is_open if alert.whole_stage and not alert.revision]
    sent_lately = [
        alert
        for alert in is_open
        if not alert.told_ended and max(alert.loud_s, default=-inf) > since_s
    ]
    for alert, other in product(stages, sent_lately):
        is_worse = WEIGHT[alert.severity] > WEIGHT[other.told_severity]
        if is_worse and other.stage == alert.stage and alerts[alert.key] is alert:
            sent = {name: getattr(other, name) for name in SENT}
            later = {"told_at_s": 0.0, "told_severity": alert.severity}  # updated at once
            alerts[other.key] = replace(alert, **sent | later)
            alerts[alert.key] = replace(other, **{name: getattr(alert, name) for name in SENT})


def count_callers(alerting: Alerting, census: Census, now: float) -> tuple[TellAlert, ...]:
    """Update the numbers of hurt callers; return the messages that this causes.

    Begins or continues the alert about many hurt callers while there are many, then ends it.
    """
    many_hurt_alert = None
    for alert in tuple(alerting.alerts.values()):
        if alert.ended_s is None or now < alert.ended_s + COUNT_FOR_S:
            alerting.alerts[alert.key] = with_callers(alert, census)
        if alert.ended_s is None and alert.stage == CALLERS:
            many_hurt_alert = alert
    if incident := find_many_hurt(census, alerting.rules, now):
        return alerting.handle(incident, now)
    return alerting.handle(_ended_event(many_hurt_alert), now) if many_hurt_alert else ()


def _fuller_reason(alert: Alert, fact: IncidentBegan | IncidentGrew) -> str:
    """Return a report's sentence, unless it says less than the known one."""
    knows_cause = alert.kind != UNKNOWN and bool(alert.reason)
    says_less = fact.kind == UNKNOWN or ONE_CALL in fact.reason
    # A process that follows a breaker knows the status, but not the provider's message around it.
    says_less = says_less or set(WORD.findall(fact.reason)) <= set(WORD.findall(alert.reason))
    says_less = says_less or (FAIL_ALIKE in alert.reason and FAIL_ALIKE not in fact.reason)
    return alert.reason if knows_cause and says_less else fact.reason or alert.reason


def _without_failed(alert: Alert, open_alerts: Sequence[Alert]) -> Alert:
    """Return an alert that names no replacement with an open alert of its own."""
    failed = {
        f"{other.rung} "
        for other in open_alerts
        if other.stage == alert.stage and other.rung and other.severity is not Severity.LOW
    }
    if not alert.then.startswith(tuple(failed)):
        return alert
    return replace(alert, then=alert.then.partition("; ")[2])


def new_alert(fact: IncidentBegan | IncidentGrew, now: float, *, then: str = "") -> Alert:
    """Return a new alert for a report.

    Args:
        fact: The report of a problem.
        now: In seconds since 1970.
        then: What is done instead; empty for the report's own text.
    """
    return Alert(
        key=f"{fact.stage}-{fact.rung or 'stage'}-{round(now * 1000)}",
        stage=fact.stage,
        rung=fact.rung,
        kind=str(fact.kind),
        severity=fact.severity,
        reason=fact.reason,
        then=then or fact.then,
        began_s=now,
        open_s=now,
        heard_s=now,
    )


def _ended_event(alert: Alert) -> IncidentEnded:
    place = {"stage": alert.stage, "rung": alert.rung, "kind": alert.kind}
    return IncidentEnded(**place, lasted_s=0.0, failures=0)


def _without_reporter(alert: Alert, now: float, *, by: str) -> Alert:
    """Return an alert without a reporter that stops; it ends with its last reporter."""
    others = tuple(name for name in alert.reporters if name != by)
    if others or by not in alert.reporters:
        return replace(alert, reporters=others)
    return replace(_end_alert(alert, now, how=REPLACED), reporters=())


def _reopen_last(alerts: Iterable[Alert], fact: IncidentLasted) -> Alert | None:
    """Return the alert that ended last, open again; `None` if a report or an operator ended it.

    The alert ended because its reporter could not write, or because the clock was set forward. The
    incident still lasts, but its reporter does not report the start again.
    """
    found = (alert for alert in alerts if (alert.stage, alert.rung) == (fact.stage, fact.rung))
    last = max(found, key=lambda alert: alert.ended_s or 0.0, default=None)
    if last is None or last.how not in (UNHEARD, REPLACED):
        return None
    return replace(last, ended_s=None, how="", lasted_s=0.0)


def _end_alert(alert: Alert, now: float, *, how: str, lasted_s: float = 0.0) -> Alert:
    """Return an alert as ended; a second report of the end changes nothing."""
    if alert.ended_s is not None:
        return alert
    duration_s = max(0.0, lasted_s or now - alert.open_s)  # as reported, or since it last opened
    return replace(alert, ended_s=now, how=how, lasted_s=round(duration_s, 1), beside=())
