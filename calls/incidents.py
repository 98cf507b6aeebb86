"""Which facts make one incident: the trouble of a rung, or of a whole stage, from begin to end.

Every call meets the same refused key and the same open breaker, and tells so. An operator is told
once: when it begins, when it turns out to be worse than was said, and when it is over.

A rung's incident begins with a failure that is more than a glitch, with a failover away from a rung
in doubt, or with its breaker's opening. A breaker that closes has been proven, and ends it at once.
A mere doubt is lifted by one good answer and comes back as easily, so it ends when the rung has
been well for a while. A stage's incident begins when a piece of work found no rung, or when all
its rungs are left alone. What stands on no ladder, such as a carrier, tells no success: it is named
again after a while, if it still fails, and never said to be well.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from calls.campaign_events import CampaignHeld, CampaignPaused, CampaignResumed
from calls.events import Event, ProviderFailed, RecordHalted, RecordResumed
from calls.house_events import WorkerLost, WorkerStarted
from calls.incident import Incident, IncidentEnded, IncidentFact, Trouble
from calls.known_rungs import KnownRungs
from calls.record_events import WritesRefused, WritesResumed
from fallbacks.breaker import State
from fallbacks.facts import (
    AttemptFailed,
    AttemptWon,
    BreakerMoved,
    ProviderProbed,
    RetriesExhausted,
    RungChosen,
    RungFollowed,
    StageExhausted,
    StageRecovered,
    Suspected,
    SuspicionCleared,
)
from fallbacks.failure import Kind, Scope, Severity

CALM_S: Final = 30.0  # a rung in doubt is probed every few seconds and would fail sooner (chosen)
CAMPAIGN: Final = "campaign"  # stands where a stage does; its name where a rung does
DISK: Final = "disk"
"""Stands for the stage where nothing can be written down."""
WAITS: Final = "calls go on; what is not written waits for room"
AGAIN_S: Final = 900.0  # as often as what only a person can mend is tried
STORAGE: Final = "storage"
"""Stands for the stage where the database fails."""
RECORD: Final = "record"
WORKER: Final = "worker"
"""Stands for the stage where a process that answers calls is lost; its name where a rung does."""

Place: TypeAlias = tuple[str, str]
"""Stage and rung; no rung: the whole stage."""


class Incidents:
    """Every incident of a process; takes its facts in the order in which they were told."""

    def __init__(self, ladders: Mapping[str, Sequence[str]], *, steps: Sequence[str] = ()) -> None:
        """Prepare.

        Args:
            ladders: The rungs' names by stage, the preferred one first.
            steps: What callers get when no rung is left, one step after the other.
        """
        self._rungs = KnownRungs(ladders, steps=steps)
        self._open: dict[Place, Incident] = {}

    def handle(self, event: Event, now: float) -> tuple[IncidentFact, ...]:
        """Return what an operator must know of a fact; `now` in seconds."""
        if isinstance(event, CampaignHeld | CampaignPaused | CampaignResumed):
            return (*self.tick(now), *self._campaign(event, now))
        if isinstance(event, RungFollowed):
            return (*self.tick(now), *self._rung_followed(event, now))
        if isinstance(event, WorkerLost | WorkerStarted):
            return (*self.tick(now), *_of_worker(event))
        return (*self.tick(now), *self._read(event, now))

    def tick(self, now: float) -> tuple[IncidentEnded, ...]:
        """Return what is over by the passing of time."""
        calm = [
            place
            for place, each in self._open.items()
            if each.well_since is not None and now >= each.well_since + CALM_S
        ]
        return tuple(fact for place in calm for fact in self._end(place, now))

    def _read(self, event: Event, now: float) -> tuple[IncidentFact, ...]:
        match event:
            case AttemptFailed() if event.scope is not Scope.PAYLOAD:
                return self._attempt_failed(event, now)
            case RungChosen():
                return self._rung_chosen(event, now)
            case BreakerMoved():
                return self._breaker_moved(event, now)
            case ProviderFailed() | RetriesExhausted() | StageExhausted() | RecordHalted():
                return self._meet(trouble_of(event), now)
            case _:
                self._note(event, now)
                return self._disk_answered(event, now)

    def _disk_answered(self, event: Event, now: float) -> tuple[IncidentFact, ...]:
        match event:
            case WritesRefused():
                return self._meet(_trouble_of_disk(event), now, then=WAITS)
            case WritesResumed():
                return self._end((DISK, event.where), now)
            case _:
                return ()

    def _note(self, event: Event, now: float) -> None:
        """Remember what neither begins nor ends an incident by itself."""
        match event:
            case ProviderProbed(ok=False):
                self._rungs.get(event.stage, event.provider).reason = event.error
            case Suspected():
                rung = self._rungs.get(event.stage, event.provider)
                rung.suspect, rung.kind = True, event.kind
            case SuspicionCleared():
                self._rungs.get(event.stage, event.provider).suspect = False
                self._recover(event.stage, event.provider, now)
            case AttemptWon():
                self._recover(event.stage, event.provider, now)
                self._recover(event.stage, "", now)
            case StageRecovered():
                self._recover(event.stage, "", now)
            case RecordResumed():
                self._recover(STORAGE, RECORD, now)
            case _:
                pass

    def _attempt_failed(self, event: AttemptFailed, now: float) -> tuple[IncidentFact, ...]:
        rung = self._rungs.get(event.stage, event.provider)
        rung.kind, rung.reason = event.kind, event.reason
        if event.severity is Severity.LOW and (event.stage, event.provider) not in self._open:
            return ()  # a glitch, unless another rung has to answer instead
        return self._meet(trouble_of(event), now)

    def _rung_chosen(self, event: RungChosen, now: float) -> tuple[IncidentFact, ...]:
        rung = self._rungs.get(event.stage, event.before)
        if not rung.kind or (event.stage, event.before) in self._open:
            return ()  # it was only slower than another, or this is known
        trouble = Trouble(
            stage=event.stage,
            rung=event.before,
            kind=rung.kind,
            severity=Severity.LOW,
            reason=rung.reason,
        )
        return self._meet(trouble, now, then=f"{event.after} answers instead")

    def _breaker_moved(self, event: BreakerMoved, now: float) -> tuple[IncidentFact, ...]:
        rung = self._rungs.get(event.stage, event.provider)
        rung.breaker = event.after
        if event.after == State.OPEN:
            trouble = Trouble(
                stage=event.stage,
                rung=event.provider,
                kind=rung.kind or "unknown",
                severity=event.severity,
                reason=rung.reason,
                left_alone=True,
                failures=0,
            )
            return (*self._meet(trouble, now), *self._check_stage(event.stage, now))
        return self._closed(event, now) if event.after == State.CLOSED else ()

    def _closed(self, event: BreakerMoved | RungFollowed, now: float) -> tuple[IncidentFact, ...]:
        self._rungs.get(event.stage, event.provider).clear()
        of_the_rung = self._end((event.stage, event.provider), now)
        return (*of_the_rung, *self._end((event.stage, ""), now))

    def _rung_followed(self, event: RungFollowed, now: float) -> tuple[IncidentFact, ...]:
        """Return what is over because another process has found the rung well."""
        rung = self._rungs.get(event.stage, event.provider)
        was_open, rung.suspect = rung.breaker != State.CLOSED, event.suspect
        rung.breaker = State(event.breaker)
        if was_open and rung.breaker == State.CLOSED:
            return self._closed(event, now)
        if rung.breaker == State.CLOSED:
            self._recover(event.stage, event.provider, now)
        return ()

    def _check_stage(self, stage: str, now: float) -> tuple[IncidentFact, ...]:
        """Return what it means for the stage that a breaker has opened."""
        if not self._rungs.left_alone(stage):
            return ()
        trouble = Trouble(
            stage=stage,
            rung="",
            kind="no_usable_rung",
            severity=Severity.CRITICAL,
            reason=self._rungs.kinds(stage),
            failures=0,
        )
        return self._meet(trouble, now)

    def _meet(
        self, trouble: Trouble, now: float, *, then: str | None = None
    ) -> tuple[IncidentFact, ...]:
        place = (trouble.stage, trouble.rung)
        known = self._open.get(place)
        if known is None or (not self._rungs.has(*place) and now >= known.began + AGAIN_S):
            self._open[place] = Incident(trouble, now=now)
            return (self._open[place].begin(then or self._rungs.instead(trouble)),)
        return (known.grow(self._rungs.instead(trouble)),) if known.add(trouble) else ()

    def _campaign(
        self, event: CampaignHeld | CampaignPaused | CampaignResumed, now: float
    ) -> tuple[IncidentFact, ...]:
        """Return what a campaign's standstill means: it is one incident until it goes on."""
        if isinstance(event, CampaignResumed):
            return self._end((CAMPAIGN, event.campaign), now)
        trouble = Trouble(
            stage=CAMPAIGN,
            rung=event.campaign,
            kind=event.reason,
            severity=event.severity,
            failures=0,
        )
        goes_on = isinstance(event, CampaignHeld)
        then = "nobody is dialled until it is over" if goes_on else "it waits to be resumed"
        return self._meet(trouble, now, then=then)

    def _recover(self, stage: str, name: str, now: float) -> None:
        rung = self._rungs.get(stage, name)
        if rung.suspect or rung.breaker != State.CLOSED:
            return
        rung.clear()
        incident = self._open.get((stage, name))
        if incident and incident.well_since is None:
            incident.well_since = now

    def _end(self, place: Place, now: float) -> tuple[IncidentEnded, ...]:
        incident = self._open.pop(place, None)
        if incident is None:
            return ()
        return (incident.end(now if incident.well_since is None else incident.well_since),)


def _of_worker(event: WorkerLost | WorkerStarted) -> tuple[IncidentFact, ...]:
    """Return what a lost worker means, and its replacement.

    Nothing is remembered: the process that tells the one may be lost before the other.
    """
    if isinstance(event, WorkerLost):
        calls = f"{event.calls} call{'' if event.calls == 1 else 's'}"
        lost = Trouble(
            stage=WORKER,
            rung=event.worker,
            kind="lost",
            severity=event.severity,
            reason=f"it ended with {event.code}, and with it {calls}",
        )
        return (Incident(lost, now=0.0).begin("another one takes its place"),)
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


def _trouble_of_disk(event: WritesRefused) -> Trouble:
    return Trouble(
        stage=DISK,
        rung=event.where,
        kind="nothing_can_be_written",
        severity=Severity.HIGH,
        reason=event.reason,
    )


def trouble_of(
    event: AttemptFailed | ProviderFailed | RetriesExhausted | StageExhausted | RecordHalted,
) -> Trouble:
    """Return what a fact says is wrong."""
    match event:
        case AttemptFailed():
            return Trouble(
                stage=event.stage,
                rung=event.provider,
                kind=event.kind,
                severity=event.severity,
                reason=event.reason,
                # As fallbacks/health.py has it: one bad request retires nobody.
                left_alone=event.permanent and event.kind is not Kind.BAD_REQUEST,
            )
        case ProviderFailed():
            return Trouble(
                stage=event.stage,
                rung=event.provider,
                kind="error",
                severity=Severity.MEDIUM,
                reason=event.error,
            )
        case RetriesExhausted():
            return Trouble(
                stage=event.stage, rung=event.provider, kind=event.kind, severity=event.severity
            )
        case StageExhausted():
            return Trouble(stage=event.stage, rung="", kind="exhausted", severity=event.severity)
        case RecordHalted():
            return Trouble(
                stage=STORAGE,
                rung=RECORD,
                kind="record_halted",
                severity=event.severity,
                reason=event.reason,
            )
