"""Extracts the trouble from an event: of a rung, a whole stage, or a system off the ladders."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from calls.campaign_events import CampaignHeld, CampaignPaused
from calls.events import ProviderFailed, RecordHalted
from calls.incident import Trouble
from calls.operations_events import DoNotCallDropped, DoNotCallOwed, WorkerLost, WritesRefused
from fallbacks.facts import (
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    RetriesExhausted,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import Scope, Severity

# The rungs that a call's stages use now, and which of their failures touched the caller.
#
# A rung that failed a call, or made it wait for a failover, touched its caller. A rung that was
# skipped, because it was suspected or out of rotation, did not.

STAGES: Final = frozenset({"stt", "llm", "tts"})


@dataclass(slots=True)
class StageWork:
    """The rungs that a call has asked for a stage's current piece of work."""

    asked: set[str] = field(default_factory=set[str])
    served: bool = False

    def start(self, provider: str) -> None:
        """Record a request to a rung: for the next piece of work if this one was completed."""
        if self.served:
            self.asked, self.served = set(), False
        self.asked.add(provider)


class AskedRungs:
    """The current work of one call's stages."""

    def __init__(self) -> None:
        self._work: dict[str, StageWork] = {}

    def heed(self, fact: object) -> bool:
        """Process an event; return whether it touched the caller."""
        match fact:
            case AttemptStarted():
                self._of(fact.stage).start(fact.provider)
            case AttemptWon() if fact.stage in STAGES:
                self._of(fact.stage).served = True
            case AttemptFailed():
                return fact.stage in STAGES
            case RungChosen():
                return fact.before in self._of(fact.stage).asked
            case _:
                pass
        return False

    def _of(self, stage: str) -> StageWork:
        return self._work.setdefault(stage, StageWork())


MOST_NAMES: Final = 4096  # half an hour of two calls a second (chosen)

KeptT = TypeVar("KeptT")


class KnownCalls(Generic[KeptT]):
    """Keeps one value for each call, by its id, with bounded size.

    An event of a call long after its end must not start a new value. So the names of dropped calls
    are kept.

        calls = KnownCalls[Tally](keep_ended=64)
        calls.find("one", Tally)  # starts it
        calls.end("one")
        calls.find("one", Tally)  # the same, until 64 others have ended; then `None`

    Attributes:
        live: Calls in progress.
        ended: The latest ended calls, oldest first.
    """

    def __init__(self, *, keep_ended: int) -> None:
        """Start without calls."""
        self.live: dict[str, KeptT] = {}
        self.ended: dict[str, KeptT] = {}
        self._keep_ended = keep_ended
        self._names: dict[str, None] = {}  # of dropped calls, oldest first

    def find(self, call_id: str, begin: Callable[[], KeptT]) -> KeptT | None:
        """Return a call's value, created for a new call; `None` if it was dropped."""
        if call_id in self._names:
            return None
        if call_id in self.ended:
            return self.ended[call_id]
        if call_id not in self.live:
            self.live[call_id] = begin()
        return self.live[call_id]

    def end(self, call_id: str) -> KeptT | None:
        """Move a call to the ended ones; return its value, or `None` if it was not live."""
        kept = self.live.pop(call_id, None)
        if kept is not None:
            self.ended[call_id] = kept
        while len(self.ended) > self._keep_ended:
            oldest = next(iter(self.ended))
            del self.ended[oldest]
            self._names[oldest] = None
        while len(self._names) > MOST_NAMES:
            del self._names[next(iter(self._names))]
        return kept


CAMPAIGN: Final = "campaign"  # stands in place of a stage; the campaign's name in place of a rung
DISK: Final = "disk"
"""Stands in place of a stage if nothing can be written to disk."""
STORAGE: Final = "storage"
"""Stands in place of a stage if the database fails."""
RECORD: Final = "record"
NO_CALLS: Final = "do_not_call"
WORKER: Final = "worker"
"""Stands in place of a stage if a worker is lost; the worker's name in place of a rung."""


def trouble_of(
    event: AttemptFailed | ProviderFailed | RetriesExhausted | StageExhausted | RecordHalted,
) -> Trouble:
    """Return an event's trouble."""
    match event:
        case AttemptFailed():
            return Trouble(
                stage=event.stage,
                rung=event.provider,
                kind=event.kind,
                severity=event.severity,
                reason=event.reason,
                # As in fallbacks/availability.py: a failure that one call's content caused opens no
                # breaker.
                left_alone=event.permanent and event.scope is not Scope.REQUEST,
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


def trouble_of_disk(event: WritesRefused) -> Trouble:
    """Return the trouble of a disk that refuses writes."""
    return Trouble(
        stage=DISK,
        rung=event.where,
        kind="nothing_can_be_written",
        severity=Severity.HIGH,
        reason=event.reason,
    )


def trouble_of_list(event: DoNotCallOwed | DoNotCallDropped) -> Trouble:
    """Return the trouble of a number that is not on the do-not-call list."""
    match event:
        case DoNotCallDropped(on_disk=False):
            severity, reason = Severity.CRITICAL, f"the number of call {event.call_id}"
        case _:
            severity, reason = Severity.HIGH, ""
    return Trouble(
        stage=STORAGE, rung=NO_CALLS, kind="not_listed", severity=severity, reason=reason
    )


def trouble_of_campaign(event: CampaignHeld | CampaignPaused) -> Trouble:
    """Return the trouble of a campaign's standstill."""
    return Trouble(
        stage=CAMPAIGN,
        rung=event.campaign,
        kind=event.reason,
        severity=event.severity,
        failures=0,
    )


def trouble_of_worker(event: WorkerLost) -> Trouble:
    """Return the trouble of a lost worker."""
    calls = f"{event.calls} call{'' if event.calls == 1 else 's'}"
    return Trouble(
        stage=WORKER,
        rung=event.worker,
        kind="lost",
        severity=event.severity,
        reason=f"it exited with {event.code}, which ended {calls}",
    )
