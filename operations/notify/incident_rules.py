"""Groups events into incidents: a rung's or a stage's trouble, from start to end.

Every call meets and reports the same refused key and the same open breaker. Operators are notified
once: when it starts, when it turns out to be worse, and when it is over.

A rung's incident starts with a failure that is more than a glitch, with a failover away from a
suspected rung, or when its breaker opens. A closed breaker is a proof and ends the incident at
once. A suspicion is lifted by one good answer and returns as easily, so its incident ends when the
rung has been healthy for a while. A stage's incident starts when a request found no rung, or when
all its rungs are unavailable. A system off the ladders, such as a carrier, reports no success: its
incident is repeated after a while if it still fails, and its recovery is never reported.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from calls.campaign_events import CampaignHeld, CampaignPaused, CampaignResumed
from calls.events import Event, ProviderFailed, RecordHalted, RecordResumed
from calls.incident import Incident, IncidentEnded, IncidentFact, Trouble
from calls.operations_events import (
    DoNotCallDropped,
    DoNotCallListed,
    DoNotCallOwed,
    DoNotCallWanted,
    WorkerLost,
    WorkerStarted,
    WritesRefused,
    WritesResumed,
)
from fallbacks.breaker import State
from fallbacks.facts import (
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
from operations.notify.alert import KnownRungs
from operations.notify.trouble_rules import (
    CAMPAIGN,
    DISK,
    NO_CALLS,
    RECORD,
    STORAGE,
    WORKER,
    trouble_of,
    trouble_of_campaign,
    trouble_of_disk,
    trouble_of_list,
    trouble_of_worker,
)

CALM_S: Final = 30.0  # a suspected rung is probed every few seconds and would fail sooner (chosen)
LISTS_LATER: Final = "retried until it is listed, also after a restart"
NOBODY_LISTS: Final = "a person has to list it"
WAITS: Final = "calls go on; what is not written waits for room"
WORDLESS: Final = 4  # of a rung in a row: a turn asks it twice, and one turn proves nothing
AGAIN_S: Final = 900.0  # as often as a permanent failure is tried again

Place: TypeAlias = tuple[str, str]
"""Stage and rung; no rung for the whole stage."""
Facts: TypeAlias = tuple[IncidentFact, ...]


class Incidents:
    """Every incident of a process, from its events in order."""

    def __init__(self, ladders: Mapping[str, Sequence[str]], *, steps: Sequence[str] = ()) -> None:
        """Prepare.

        Args:
            ladders: The rungs' names by stage, the preferred one first.
            steps: What callers get without a usable rung, in order.
        """
        self._open = OpenIncidents(KnownRungs(ladders, steps=steps))

    def handle(self, event: Event, now: float) -> Facts:
        """Return the reports that an event causes; `now` in seconds."""
        calm, read = self.tick(now), READS.get(type(event))
        return (*calm, *read(self._open, event, now)) if read else calm

    def tick(self, now: float) -> tuple[IncidentEnded, ...]:
        """Return the incidents that end because time has passed."""
        return self._open.calm(now)


class OpenIncidents:
    """The open incidents, by place.

    Attributes:
        rungs: Each rung's health according to the events.
        wordless: How many of a rung's answers in a row had no words.
    """

    def __init__(self, rungs: KnownRungs) -> None:
        self.rungs = rungs
        self.wordless: Counter[Place] = Counter()
        self._open: dict[Place, Incident] = {}

    def has(self, stage: str, rung: str) -> bool:
        """Return whether one is open there."""
        return (stage, rung) in self._open

    def meet(self, trouble: Trouble, now: float, *, then: str | None = None) -> Facts:
        """Return the reports that a trouble causes.

        Args:
            trouble: What is wrong.
            now: In seconds.
            then: What happens instead; `None` to derive it from the rungs.
        """
        place = (trouble.stage, trouble.rung)
        known = self._open.get(place)
        if known is None or (not self.rungs.has(*place) and now >= known.began + AGAIN_S):
            self._open[place] = Incident(trouble, now=now)
            return (self._open[place].begin(then or self.rungs.instead(trouble)),)
        return (known.grow(then or self.rungs.instead(trouble)),) if known.add(trouble) else ()

    def recover(self, stage: str, name: str, now: float) -> None:
        """Record that a rung or stage is healthy again; this may not last."""
        rung = self.rungs.get(stage, name)
        if rung.suspect or rung.breaker != State.CLOSED:
            return
        rung.clear()
        incident = self._open.get((stage, name))
        if incident and incident.well_since is None:
            incident.well_since = now

    def calm(self, now: float) -> tuple[IncidentEnded, ...]:
        """End the incidents whose place has been healthy for a while."""
        calm = [
            place
            for place, incident in self._open.items()
            if incident.well_since is not None and now >= incident.well_since + CALM_S
        ]
        return tuple(fact for place in calm for fact in self.end(place, now))

    def close(self, stage: str, name: str, now: float) -> Facts:
        """End a rung's and its stage's incident: the closed breaker proves it healthy."""
        self.rungs.get(stage, name).clear()
        return (*self.end((stage, name), now), *self.end((stage, ""), now))

    def end(self, place: Place, now: float) -> tuple[IncidentEnded, ...]:
        """End one, if one is open there."""
        incident = self._open.pop(place, None)
        if incident is None:
            return ()
        return (incident.end(now if incident.well_since is None else incident.well_since),)


def _attempt_failed(incidents: OpenIncidents, event: AttemptFailed, now: float) -> Facts:
    if event.scope is Scope.PAYLOAD:
        return _payload_failed(incidents, event, now)
    rung = incidents.rungs.get(event.stage, event.provider)
    rung.kind, rung.reason = event.kind, event.reason
    if event.severity is Severity.LOW and not incidents.has(event.stage, event.provider):
        return ()  # a glitch, unless a failover follows
    return incidents.meet(trouble_of(event), now)


def _payload_failed(incidents: OpenIncidents, event: AttemptFailed, now: float) -> Facts:
    """Return the reports about a rung that answers several questions in a row without words."""
    place = (event.stage, event.provider)
    if event.kind is not Kind.SILENT or not incidents.rungs.has(*place):
        return ()
    incidents.wordless[place] += 1
    if incidents.wordless[place] < WORDLESS:
        return ()
    return incidents.meet(replace(trouble_of(event), severity=Severity.MEDIUM), now)


def _rung_chosen(incidents: OpenIncidents, event: RungChosen, now: float) -> Facts:
    rung = incidents.rungs.get(event.stage, event.before)
    if not rung.kind or incidents.has(event.stage, event.before):
        return ()  # it was only slower than another, or this is known
    trouble = Trouble(
        stage=event.stage,
        rung=event.before,
        kind=rung.kind,
        severity=Severity.LOW,
        reason=rung.reason,
    )
    return incidents.meet(trouble, now, then=f"{event.after} answers instead")


def _breaker_moved(incidents: OpenIncidents, event: BreakerMoved, now: float) -> Facts:
    rung = incidents.rungs.get(event.stage, event.provider)
    rung.breaker = event.after
    if event.after == State.CLOSED:
        return incidents.close(event.stage, event.provider, now)
    if event.after != State.OPEN:
        return ()
    trouble = Trouble(
        stage=event.stage,
        rung=event.provider,
        kind=rung.kind or "unknown",
        severity=event.severity,
        reason=rung.reason,
        left_alone=True,
        failures=0,
    )
    return (*incidents.meet(trouble, now), *_check_stage(incidents, event.stage, now))


def _check_stage(incidents: OpenIncidents, stage: str, now: float) -> Facts:
    """Return the reports about a stage whose breaker has opened."""
    if not incidents.rungs.left_alone(stage):
        return ()
    trouble = Trouble(
        stage=stage,
        rung="",
        kind="no_usable_rung",
        severity=Severity.CRITICAL,
        reason=incidents.rungs.kinds(stage),
        failures=0,
    )
    return incidents.meet(trouble, now)


def _rung_followed(incidents: OpenIncidents, event: RungFollowed, now: float) -> Facts:
    """Return the incidents that end because another process found the rung healthy."""
    rung = incidents.rungs.get(event.stage, event.provider)
    was_open, rung.suspect = rung.breaker != State.CLOSED, event.suspect
    rung.breaker = State(event.breaker)
    if was_open and rung.breaker == State.CLOSED:
        return incidents.close(event.stage, event.provider, now)
    if rung.breaker == State.CLOSED:
        incidents.recover(event.stage, event.provider, now)
    return ()


def _meet(
    incidents: OpenIncidents,
    event: ProviderFailed | RetriesExhausted | StageExhausted | RecordHalted,
    now: float,
) -> Facts:
    return incidents.meet(trouble_of(event), now)


def _disk(incidents: OpenIncidents, event: WritesRefused | WritesResumed, now: float) -> Facts:
    if isinstance(event, WritesResumed):
        return incidents.end((DISK, event.where), now)
    return incidents.meet(trouble_of_disk(event), now, then=WAITS)


def _list(
    incidents: OpenIncidents,
    event: DoNotCallOwed | DoNotCallDropped | DoNotCallListed | DoNotCallWanted,
    now: float,
) -> Facts:
    """Return the reports about a number that is not listed yet; a listed one proves success."""
    if isinstance(event, DoNotCallListed | DoNotCallWanted):
        return incidents.end((STORAGE, NO_CALLS), now)
    lost = isinstance(event, DoNotCallDropped) and not event.on_disk
    then = NOBODY_LISTS if lost else LISTS_LATER
    return incidents.meet(trouble_of_list(event), now, then=then)


def _campaign(
    incidents: OpenIncidents, event: CampaignHeld | CampaignPaused | CampaignResumed, now: float
) -> Facts:
    """Return the reports about a campaign's standstill: one incident until it goes on.

    Another process may report that it goes on, because the dialling process may change.
    """
    if isinstance(event, CampaignResumed):
        own = incidents.end((CAMPAIGN, event.campaign), now)
        return own or (_ended_elsewhere(event),)
    goes_on = isinstance(event, CampaignHeld)
    then = "no calls are placed until it is over" if goes_on else "it waits to be resumed"
    return incidents.meet(trouble_of_campaign(event), now, then=then)


def _ended_elsewhere(event: CampaignResumed) -> IncidentEnded:
    return IncidentEnded(
        stage=CAMPAIGN,
        rung=event.campaign,
        kind=event.reason,
        lasted_s=round(event.held_s, 1),
        failures=0,
    )


def _worker(_: OpenIncidents, event: WorkerLost | WorkerStarted, _now: float) -> Facts:
    """Return the reports about a lost worker, and about its replacement.

    Nothing is stored: the process that reports one may be lost before the other.
    """
    if isinstance(event, WorkerLost):
        lost = Incident(trouble_of_worker(event), now=0.0)
        return (lost.begin("a replacement is started"),)
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


def _note(incidents: OpenIncidents, event: Event, now: float) -> Facts:
    """Record an event that neither starts nor ends an incident by itself."""
    match event:
        case Suspected():
            rung = incidents.rungs.get(event.stage, event.provider)
            rung.suspect, rung.kind = True, event.kind
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


READS: Final[Mapping[type[Event], Callable[[OpenIncidents, Any, float], Facts]]] = {
    AttemptFailed: _attempt_failed,
    RungChosen: _rung_chosen,
    BreakerMoved: _breaker_moved,
    RungFollowed: _rung_followed,
    **dict.fromkeys((ProviderFailed, RetriesExhausted, StageExhausted, RecordHalted), _meet),
    **dict.fromkeys((WritesRefused, WritesResumed), _disk),
    **dict.fromkeys((DoNotCallOwed, DoNotCallDropped), _list),
    **dict.fromkeys((DoNotCallListed, DoNotCallWanted), _list),
    **dict.fromkeys((CampaignHeld, CampaignPaused, CampaignResumed), _campaign),
    **dict.fromkeys((WorkerLost, WorkerStarted), _worker),
    **dict.fromkeys((Suspected, SuspicionCleared), _note),
    **dict.fromkeys((AttemptWon, StageRecovered, RecordResumed), _note),
}
"""The handler of each event; other events do not concern incidents."""
