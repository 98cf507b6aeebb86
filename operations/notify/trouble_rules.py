"""What each fact says is wrong, and where: with a rung, a whole stage, or what is on no ladder."""

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

# Whom a call has asked for what each stage does now: what did its caller harm, and what not.
#
# A rung that failed a call, or let it wait until another took over, touched its caller. One that
# was not asked, because it was in doubt or out of rotation, did the caller no harm.

STAGES: Final = frozenset({"stt", "llm", "tts"})


@dataclass(slots=True)
class StageWork:
    """Whom one call has asked for the piece of work that a stage does now."""

    asked: set[str] = field(default_factory=set[str])
    served: bool = False

    def start(self, provider: str) -> None:
        """Note that one was asked: for the next piece if this one was served."""
        if self.served:
            self.asked, self.served = set(), False
        self.asked.add(provider)


class AskedRungs:
    """What the stages of one call are at."""

    def __init__(self) -> None:
        self._work: dict[str, StageWork] = {}

    def heed(self, fact: object) -> bool:
        """Note a fact; return whether it touched the caller."""
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
    """What is kept of each call, by its id; nothing here grows with time.

    What is told of a call long after its end must not begin it anew, so of those that are kept no
    longer the names are known.

        calls = KnownCalls[Tally](keep_ended=64)
        calls.find("one", Tally)  # begins it
        calls.end("one")
        calls.find("one", Tally)  # the same, until 64 others have ended; then None

    Attributes:
        live: Those that go on.
        ended: The latest that ended, oldest first.
    """

    def __init__(self, *, keep_ended: int) -> None:
        """Know none."""
        self.live: dict[str, KeptT] = {}
        self.ended: dict[str, KeptT] = {}
        self._keep_ended = keep_ended
        self._names: dict[str, None] = {}  # of those that are kept no longer, oldest first

    def find(self, call_id: str, begin: Callable[[], KeptT]) -> KeptT | None:
        """Return what is kept of a call, begun if it is new; None: it is kept no longer."""
        if call_id in self._names:
            return None
        if call_id in self.ended:
            return self.ended[call_id]
        if call_id not in self.live:
            self.live[call_id] = begin()
        return self.live[call_id]

    def end(self, call_id: str) -> KeptT | None:
        """Count a call among the ended; return what is kept of it, or None if it did not go on."""
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


CAMPAIGN: Final = "campaign"  # stands where a stage does; its name where a rung does
DISK: Final = "disk"
"""Stands for the stage where nothing can be written down."""
STORAGE: Final = "storage"
"""Stands for the stage where the database fails."""
RECORD: Final = "record"
NO_CALLS: Final = "do_not_call"
WORKER: Final = "worker"
"""Stands for the stage where a process that answers calls is lost; its name where a rung does."""


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
                # As fallbacks/health.py has it: what one call carries opens no breaker.
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
    """Return what a disk that takes nothing means."""
    return Trouble(
        stage=DISK,
        rung=event.where,
        kind="nothing_can_be_written",
        severity=Severity.HIGH,
        reason=event.reason,
    )


def trouble_of_list(event: DoNotCallOwed | DoNotCallDropped) -> Trouble:
    """Return what it means that a number is not on the do-not-call list."""
    match event:
        case DoNotCallDropped(on_disk=False):
            severity, reason = Severity.CRITICAL, f"that of call {event.call_id}"
        case _:
            severity, reason = Severity.HIGH, ""
    return Trouble(
        stage=STORAGE, rung=NO_CALLS, kind="not_listed", severity=severity, reason=reason
    )


def trouble_of_campaign(event: CampaignHeld | CampaignPaused) -> Trouble:
    """Return what a campaign's standstill means."""
    return Trouble(
        stage=CAMPAIGN,
        rung=event.campaign,
        kind=event.reason,
        severity=event.severity,
        failures=0,
    )


def trouble_of_worker(event: WorkerLost) -> Trouble:
    """Return what a lost worker means."""
    calls = f"{event.calls} call{'' if event.calls == 1 else 's'}"
    return Trouble(
        stage=WORKER,
        rung=event.worker,
        kind="lost",
        severity=event.severity,
        reason=f"it ended with {event.code}, and with it {calls}",
    )
