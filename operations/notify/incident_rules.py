"""Groups events into incidents, each from the first failure of a rung or stage to its recovery.

Every call runs into the same refused key or open breaker, and reports it. Operators are notified
once when an incident starts, when it turns out to be worse, and when it is over.

A rung's incident starts with a failure that is more than a glitch, with a failover away from a
suspected rung, or when its breaker opens. A breaker that closes proves recovery and ends the
incident at once. A suspicion is lifted by one good answer and returns as easily, so its incident
ends when the rung has been healthy for a while. A stage's incident starts when a request found no
rung, or when all its rungs are unavailable. A system without a ladder, such as a carrier, reports
no success: if it still fails after a while, that is a new incident, and its recovery is never
reported. Rungs of one vendor that fail alike at the same time share one incident, which names them
all; it ends when each of them is healthy.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from calls.campaign_events import CampaignHeld, CampaignPaused, CampaignResumed
from calls.events import Event, ProviderFailed, RecordHalted, RecordResumed
from calls.incident import (
    CAMPAIGN,
    DISK,
    NO_CALLS,
    RECORD,
    STORAGE,
    STORE,
    UNKNOWN,
    WORKER,
    Incident,
    IncidentBegan,
    IncidentEnded,
    IncidentEvent,
    Place,
)
from calls.ladder_health import LadderHealth
from calls.operations_events import (
    CallsLost,
    DoNotCallDropped,
    DoNotCallListed,
    DoNotCallOwed,
    DoNotCallWanted,
    StoreLost,
    StoreRegained,
    WorkerLost,
    WorkerStarted,
    WritesRefused,
    WritesResumed,
)
from calls.sentences import Vendors
from fallbacks.breaker import State
from fallbacks.events import (
    AttemptFailed,
    AttemptWon,
    BreakerMoved,
    RetriesExhausted,
    RungChosen,
    RungFollowed,
    StageExhausted,
    StageRecovered,
    Suspected,
    SuspicionCleared,
)
from fallbacks.failure import Kind, Scope, Severity

CALM_S: Final = 30.0  # a suspected rung is probed every few seconds and would fail sooner (chosen)
LISTED_LATER: Final = "retried until it is listed, even after a restart"
LISTED_BY_HAND: Final = "an operator must add it to the list"
WAITS: Final = "calls go on; unwritten data waits for free space"
WORDLESS_ANSWERS: Final = 4  # in a row: a turn asks twice, and one turn proves nothing
AGAIN_S: Final = 900.0  # as often as a permanent failure is tried again

IncidentEvents: TypeAlias = tuple[IncidentEvent, ...]


class Incidents:
    """Every incident of a process, from its events in order.

    Attributes:
        rungs: Each rung's health according to the events.
        wordless: The number of a rung's latest answers, in a row, without words.
    """

    def __init__(
        self,
        ladders: Mapping[str, Sequence[str]],
        *,
        steps: Collection[str] = (),
        vendors: Vendors | None = None,
    ) -> None:
        """Start without incidents; see `LadderHealth` for the arguments."""
        self.rungs = LadderHealth(ladders, steps=steps, vendors=vendors)
        self.wordless: Counter[Place] = Counter()
        self._open: dict[Place, Incident] = {}

    def handle(self, event: Event, now: float) -> IncidentEvents:
        """Return the incident events that an event causes, after those that time has ended.

        `now` is in seconds on the emitter's clock, as everywhere here.
        """
        ended, handler = self.tick(now), HANDLERS.get(type(event))
        return (*ended, *handler(self, event, now)) if handler else ended

    def tick(self, now: float) -> tuple[IncidentEnded, ...]:
        """End the incidents whose rung or stage has been healthy for `CALM_S`."""
        healthy = [
            place
            for place, incident in self._open.items()
            if incident.well_since is not None and now >= incident.well_since + CALM_S
        ]
        return tuple(fact for place in healthy for fact in self.end(place, now))

    def has(self, stage: str, rung: str) -> bool:
        """Return whether an incident of this rung or stage is open."""
        return (stage, rung) in self._open

    def add_failure(
        self, found: IncidentBegan, now: float, *, is_breaker_open: bool = False, failures: int = 1
    ) -> IncidentEvents:
        """Add a failure to its incident, or begin one; return the incident events.

        Args:
            found: What is wrong; an empty `then` is derived from the rungs.
            now: In seconds, as for `handle`.
            is_breaker_open: Whether the breaker is open, or about to open.
            failures: The number of failures to add.
        """
        place = (found.stage, found.rung)
        alike = self.rungs.failing_alike(*place, found.kind)
        then = found.then or self.rungs.describe_replacement(
            *place, alike=alike, is_breaker_open=is_breaker_open
        )
        found = replace(found, then=then)
        if len(alike) > 1:
            found = replace(found, reason=self.rungs.explain_together(found.stage, alike))
        shared = [self._open[found.stage, rung] for rung in alike if self.has(found.stage, rung)]
        incident = self._open.get(place) or next(iter(shared), None)
        # A system without a ladder reports no success, so its old incident may be over.
        is_stale = incident and not self.rungs.has(*place) and now >= incident.began + AGAIN_S
        if incident is None or is_stale:
            found = replace(found, rung=alike[0])
            incident = Incident(found, now=now, is_breaker_open=is_breaker_open, failures=failures)
            self._open |= {(found.stage, rung): incident for rung in alike}
            return (found,)
        more = {(found.stage, rung) for rung in alike} - self._open.keys()
        self._open |= dict.fromkeys(more, incident)
        grew = incident.add(
            found, is_wider=bool(more), is_breaker_open=is_breaker_open, failures=failures
        )
        return (grew,) if grew else ()

    def recover(self, stage: str, name: str, now: float) -> None:
        """Record that a rung or stage is healthy again; this may not last.

        Its incident ends `CALM_S` later, unless it fails again. While the breaker is not closed,
        or the rung is suspected, a success changes nothing.
        """
        rung = self.rungs.get(stage, name)
        if rung.suspect or rung.breaker != State.CLOSED:
            return
        rung.clear()
        self._check_health(self._open.get((stage, name)), now)

    def _check_health(self, incident: Incident | None, now: float) -> None:
        """Record that an incident's rungs are healthy, if all of them are."""
        places = [place for place, other in self._open.items() if other is incident]
        is_out = any(self.rungs.get(*place).is_out for place in places)
        if incident and not is_out and incident.well_since is None:
            incident.well_since = now

    def close(self, stage: str, name: str, now: float) -> IncidentEvents:
        """End a rung's and its stage's incident: the closed breaker proves it healthy."""
        self.rungs.get(stage, name).clear()
        incident = self._open.get((stage, name))
        ended = (*self.end((stage, name), now), *self.end((stage, ""), now))
        self._check_health(incident, now)
        return ended

    def end(self, place: Place, now: float) -> tuple[IncidentEnded, ...]:
        """End the incident of a rung or stage, if one is open: when it became healthy, or now.

        One that it shares with other rungs goes on until theirs ends.
        """
        incident = self._open.pop(place, None)
        if incident is None or incident in self._open.values():
            return ()
        return (incident.end(now if incident.well_since is None else incident.well_since),)


def _attempt_failed(incidents: Incidents, event: AttemptFailed, now: float) -> IncidentEvents:
    """Return the events for a failed attempt; a glitch alone begins no incident.

    Its cause is remembered: a failover or an opened breaker that follows begins the incident.
    """
    if event.scope is Scope.PAYLOAD:
        return _payload_failed(incidents, event, now)
    rung = incidents.rungs.get(event.stage, event.provider)
    reason = incidents.rungs.explain(event.stage, event.provider, event.kind, event.reason)
    rung.kind, rung.reason = event.kind, reason
    if event.severity is Severity.LOW and not incidents.has(event.stage, event.provider):
        return ()
    return _add_attempt(incidents, event, event.severity, now)


def _add_attempt(
    incidents: Incidents, event: AttemptFailed, severity: Severity, now: float
) -> IncidentEvents:
    """Add a failed attempt to the rung's incident, which it begins if there is none."""
    found = IncidentBegan(
        stage=event.stage,
        rung=event.provider,
        kind=event.kind,
        severity=severity,
        reason=incidents.rungs.explain(event.stage, event.provider, event.kind, event.reason),
    )
    # As in fallbacks/availability.py: a failure that one call's content caused opens no breaker.
    is_breaker_open = event.permanent and event.scope is not Scope.REQUEST
    return incidents.add_failure(found, now, is_breaker_open=is_breaker_open)


def _payload_failed(incidents: Incidents, event: AttemptFailed, now: float) -> IncidentEvents:
    """Return the events for a failure that the request's content caused.

    Only a rung that answers several requests in a row without words has an incident.
    """
    place = (event.stage, event.provider)
    if event.kind is not Kind.SILENT or not incidents.rungs.has(*place):
        return ()
    incidents.wordless[place] += 1
    if incidents.wordless[place] < WORDLESS_ANSWERS:
        return ()
    return _add_attempt(incidents, event, Severity.MEDIUM, now)


def _rung_chosen(incidents: Incidents, event: RungChosen, now: float) -> IncidentEvents:
    """Return the events for a failover, which turns an earlier glitch into an incident."""
    rung = incidents.rungs.get(event.stage, event.before)
    if not rung.kind or incidents.has(event.stage, event.before):
        return ()  # it has not failed (another was faster), or its incident is open
    found = IncidentBegan(
        stage=event.stage,
        rung=event.before,
        kind=rung.kind,
        severity=Severity.LOW,
        reason=rung.reason,
        then=f"{event.after} answers instead",
    )
    return incidents.add_failure(found, now)


def _breaker_moved(incidents: Incidents, event: BreakerMoved, now: float) -> IncidentEvents:
    """Return the events for a breaker: opened, it begins or worsens an incident; closed, ends it.

    It adds no failure: the attempts that opened it were counted already.
    """
    rung = incidents.rungs.get(event.stage, event.provider)
    rung.breaker = event.after
    if event.after == State.CLOSED:
        return incidents.close(event.stage, event.provider, now)
    if event.after != State.OPEN:
        return ()
    incidents.rungs.explain_for_all_calls(event.stage, event.provider)
    found = IncidentBegan(
        stage=event.stage,
        rung=event.provider,
        kind=rung.kind or UNKNOWN,
        severity=event.severity,
        reason=rung.reason or incidents.rungs.explain(event.stage, event.provider, UNKNOWN, ""),
    )
    opened = incidents.add_failure(found, now, is_breaker_open=True, failures=0)
    return (*opened, *_check_stage(incidents, event.stage, now))


def _check_stage(incidents: Incidents, stage: str, now: float) -> IncidentEvents:
    """Begin a stage's incident if none of its rungs has a closed breaker any more."""
    if not incidents.rungs.is_unavailable(stage):
        return ()
    found = IncidentBegan(
        stage=stage,
        rung="",
        kind="no_usable_rung",
        severity=Severity.CRITICAL,
        reason=incidents.rungs.reasons(stage),
    )
    return incidents.add_failure(found, now, failures=0)


def _rung_followed(incidents: Incidents, event: RungFollowed, now: float) -> IncidentEvents:
    """Return the events for a change of a rung's health that another process discovered.

    That process may have been replaced by this one: then only this one can report the incident.
    """
    place = (event.stage, event.provider)
    rung = incidents.rungs.get(*place)
    was_unavailable = rung.breaker != State.CLOSED
    rung.suspect, rung.breaker = event.suspect, State(event.breaker)
    if event.kind and not rung.kind:
        rung.kind, rung.reason = (
            event.kind,
            incidents.rungs.explain(*place, event.kind, event.reason),
        )
    if was_unavailable and rung.breaker == State.CLOSED:
        return incidents.close(*place, now)
    if rung.breaker == State.CLOSED:
        incidents.recover(*place, now)
    if rung.breaker != State.OPEN or was_unavailable:
        return ()
    incidents.rungs.explain_for_all_calls(*place)
    found = IncidentBegan(
        stage=event.stage,
        rung=event.provider,
        kind=rung.kind or UNKNOWN,
        severity=Severity.MEDIUM,
        reason=rung.reason or incidents.rungs.explain(*place, UNKNOWN, ""),
    )
    met = incidents.add_failure(found, now, is_breaker_open=True, failures=0)
    return (*met, *_check_stage(incidents, event.stage, now))


def _failure_reported(
    incidents: Incidents,
    event: ProviderFailed | RetriesExhausted | StageExhausted | RecordHalted,
    now: float,
) -> IncidentEvents:
    """Return the events for a failure that is always an incident, never a glitch."""
    match event:
        case ProviderFailed(stage=stage, provider=rung, error=reason):
            kind, severity = "error", Severity.MEDIUM
            reason = incidents.rungs.explain(stage, rung, kind, reason)
        case RetriesExhausted(stage=stage, provider=rung, kind=kind, severity=severity):
            reason = incidents.rungs.explain(stage, rung, kind, "")
        case StageExhausted(stage=stage, severity=severity):
            rung, kind, reason = "", "exhausted", incidents.rungs.reasons(stage)
        case RecordHalted(reason=reason, severity=severity):
            stage, rung, kind = STORAGE, RECORD, "record_halted"
    found = IncidentBegan(stage=stage, rung=rung, kind=kind, severity=severity, reason=reason)
    return incidents.add_failure(found, now)


def _disk_changed(
    incidents: Incidents, event: WritesRefused | WritesResumed, now: float
) -> IncidentEvents:
    """Begin or end the incident of a place that cannot be written."""
    if isinstance(event, WritesResumed):
        return incidents.end((DISK, event.where), now)
    found = IncidentBegan(
        stage=DISK,
        rung=event.where,
        kind="nothing_can_be_written",
        severity=Severity.HIGH,
        reason=event.reason,
        then=WAITS,
    )
    return incidents.add_failure(found, now)


def _listing_changed(
    incidents: Incidents,
    event: DoNotCallOwed | DoNotCallDropped | DoNotCallListed | DoNotCallWanted,
    now: float,
) -> IncidentEvents:
    """Return the events for the do-not-call list.

    All numbers that will be listed later share one incident, which ends when any number has been
    listed: the database works again. A number that is neither listed nor on disk has an incident of
    its own, which no event ends, because only a person can list it.
    """
    if isinstance(event, DoNotCallListed | DoNotCallWanted):  # after either, a number is listed
        return incidents.end((STORAGE, NO_CALLS), now)
    found = IncidentBegan(
        stage=STORAGE,
        rung=NO_CALLS,
        kind="not_listed",
        severity=Severity.HIGH,
        then=LISTED_LATER,
    )
    if isinstance(event, DoNotCallDropped) and not event.on_disk:
        reason = f"the number of call {event.call_id} is neither on the list nor on disk"
        found = replace(
            found,
            rung=event.call_id,
            severity=Severity.CRITICAL,
            reason=reason,
            then=LISTED_BY_HAND,
        )
    return incidents.add_failure(found, now)


def _campaign_changed(
    incidents: Incidents, event: CampaignHeld | CampaignPaused | CampaignResumed, now: float
) -> IncidentEvents:
    """Return the events for a campaign that stands still: one incident until it is resumed.

    Another process may have reported the start, because the dialling process may change. The end
    is then reported without an incident of our own.
    """
    if isinstance(event, CampaignResumed):
        own = incidents.end((CAMPAIGN, event.campaign), now)
        return own or (_ended_elsewhere(event),)
    is_held = isinstance(event, CampaignHeld)
    found = IncidentBegan(
        stage=CAMPAIGN,
        rung=event.campaign,
        kind=event.reason,
        severity=event.severity,
        then="no calls are placed until it is over" if is_held else "it waits to be resumed",
    )
    return incidents.add_failure(found, now, failures=0)


def _store_changed(_: Incidents, event: StoreLost | StoreRegained, _now: float) -> IncidentEvents:
    """Return the event for the store; no incident is stored, as for a worker."""
    if isinstance(event, StoreRegained):
        lasted_s = round(event.away_s, 1)
        over = IncidentEnded(
            stage=STORAGE, rung=STORE, kind="store_away", lasted_s=lasted_s, failures=1
        )
        return (over,)
    return (
        IncidentBegan(
            stage=STORAGE,
            rung=STORE,
            kind="store_away",
            severity=event.severity,
            reason=event.reason,
            then="calls go on, but no other machine can take them up",
        ),
    )


def _ended_elsewhere(event: CampaignResumed) -> IncidentEnded:
    return IncidentEnded(
        stage=CAMPAIGN,
        rung=event.campaign,
        kind=event.reason,
        lasted_s=round(event.held_s, 1),
        failures=0,
    )


def _worker_changed(
    _: Incidents, event: WorkerLost | CallsLost | WorkerStarted, _now: float
) -> IncidentEvents:
    """Return the events for a lost worker, for its calls that were lost, and for its replacement.

    No incident is stored: the process that reports the loss may itself be lost before the
    replacement starts.
    """
    if isinstance(event, WorkerLost):
        calls = f"{event.calls} call{'' if event.calls == 1 else 's'}"
        lost = IncidentBegan(
            stage=WORKER,
            rung=event.worker,
            kind=event.kind,
            severity=event.severity,
            reason=f"it {event.reason or f'exited with {event.code}'}, which interrupted {calls}",
            then="a replacement is started, and other workers go on with the calls",
        )
        return (lost,)
    if isinstance(event, CallsLost):
        return (
            IncidentBegan(
                stage=WORKER,
                rung=event.worker,
                kind="calls_lost",
                severity=event.severity,
                reason=f"{event.lost} of {event.interrupted} calls of this worker were lost",
            ),
        )
    if not event.replaces:
        return ()
    return (
        IncidentEnded(
            stage=WORKER,
            rung=event.replaces,
            kind="lost",
            lasted_s=round(event.after_s, 1),
            failures=1,
        ),
    )


def _record_health(incidents: Incidents, event: Event, now: float) -> IncidentEvents:
    """Record an event that neither starts nor ends an incident by itself."""
    match event:
        case Suspected():
            rung = incidents.rungs.get(event.stage, event.provider)
            rung.suspect, rung.kind = True, event.kind
            rung.reason = rung.reason or incidents.rungs.explain(
                event.stage, event.provider, event.kind, ""
            )
        case SuspicionCleared():
            incidents.rungs.get(event.stage, event.provider).suspect = False
            incidents.recover(event.stage, event.provider, now)
        case AttemptWon():
            incidents.wordless.pop((event.stage, event.provider), None)
            incidents.recover(event.stage, event.provider, now)
            incidents.recover(event.stage, "", now)
        case StageRecovered():
            incidents.recover(event.stage, "", now)
        case RecordResumed():
            incidents.recover(STORAGE, RECORD, now)
        case _:
            pass
    return ()


HANDLERS: Final[Mapping[type[Event], Callable[[Incidents, Any, float], IncidentEvents]]] = {
    AttemptFailed: _attempt_failed,
    RungChosen: _rung_chosen,
    BreakerMoved: _breaker_moved,
    RungFollowed: _rung_followed,
    **dict.fromkeys(
        (ProviderFailed, RetriesExhausted, StageExhausted, RecordHalted), _failure_reported
    ),
    **dict.fromkeys((WritesRefused, WritesResumed), _disk_changed),
    **dict.fromkeys((DoNotCallOwed, DoNotCallDropped), _listing_changed),
    **dict.fromkeys((DoNotCallListed, DoNotCallWanted), _listing_changed),
    **dict.fromkeys((CampaignHeld, CampaignPaused, CampaignResumed), _campaign_changed),
    **dict.fromkeys((WorkerLost, CallsLost, WorkerStarted), _worker_changed),
    **dict.fromkeys((StoreLost, StoreRegained), _store_changed),
    **dict.fromkeys((Suspected, SuspicionCleared), _record_health),
    **dict.fromkeys((AttemptWon, StageRecovered, RecordResumed), _record_health),
}
"""The handler of each event; other events do not concern incidents."""
