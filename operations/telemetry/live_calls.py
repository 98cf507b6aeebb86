"""The calls in progress, as an operator sees them: folded from the entries, one line a call."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

from calls.entry import Entry
from calls.events import AnswerHeard, BargedIn, CallEnded, CallStarted, PhaseMoved, TurnDecided
from fallbacks.facts import (
    AttemptFailed,
    AttemptWon,
    RungChosen,
    StageExhausted,
    StageRecovered,
    StepTaken,
)
from operations.privacy import masked

MOST_CALLS: Final = 1_000  # chosen: more than a process has seats; the oldest go


@dataclass(slots=True, kw_only=True)
class LiveCall:
    """A call in progress; numbers are masked."""

    id: str
    agent: str
    transport: str
    caller: str
    called: str
    started_at: str
    state: str = "listening"  # listening, processing, speaking
    providers: dict[str, str] = field(default_factory=dict[str, str])  # stage: who serves it
    turn: int = 0
    v2v_s: float | None = None  # of the last answer
    slowest_s: float | None = None
    failures: int = 0
    failovers: int = 0
    barge_ins: int = 0
    down: list[str] = field(default_factory=list[str])  # stages that have no provider left
    step: str = ""  # what the call does while a stage is down
    last: str = ""  # the last trouble: provider and kind


Fold: TypeAlias = Callable[[LiveCall, Any], None]


class LiveCalls:
    """Hears every entry; a call is here from its start to its end."""

    def __init__(self) -> None:
        self._calls: dict[str, LiveCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    async def hear(self, entry: Entry) -> None:
        """Fold one entry in."""
        match entry.event:
            case CallStarted() as started:
                self._begin(entry, started)
            case CallEnded():
                self._calls.pop(entry.call_id, None)
            case event:
                call, fold = self._calls.get(entry.call_id), FOLDS.get(type(event))
                if call and fold:
                    fold(call, event)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the calls as plain JSON values, the oldest one first."""
        return [asdict(each) for each in self._calls.values()]

    def _begin(self, entry: Entry, started: CallStarted) -> None:
        self._calls[entry.call_id] = LiveCall(
            id=entry.call_id,
            agent=started.agent,
            transport=started.transport,
            caller=masked(started.caller),
            called=masked(started.called),
            started_at=entry.at,
        )
        while len(self._calls) > MOST_CALLS:
            del self._calls[next(iter(self._calls))]


def _moved(call: LiveCall, event: PhaseMoved) -> None:
    call.state = event.after


def _decided(call: LiveCall, event: TurnDecided) -> None:
    call.turn = event.turn


def _answered(call: LiveCall, event: AnswerHeard) -> None:
    call.v2v_s = event.v2v_s
    call.slowest_s = max(event.v2v_s, call.slowest_s or 0.0)


def _failed(call: LiveCall, event: AttemptFailed) -> None:
    call.failures += 1
    call.last = f"{event.provider}: {event.kind}"


def _won(call: LiveCall, event: AttemptWon) -> None:
    call.providers[event.stage] = event.provider
    _recovered(call, event)


def _chosen(call: LiveCall, event: RungChosen) -> None:
    call.providers[event.stage] = event.after
    call.failovers += 1


def _exhausted(call: LiveCall, event: StageExhausted) -> None:
    if event.stage not in call.down:
        call.down.append(event.stage)


def _recovered(call: LiveCall, event: StageRecovered | AttemptWon) -> None:
    if event.stage in call.down:
        call.down.remove(event.stage)
    call.step = call.step if call.down else ""


def _stepped(call: LiveCall, event: StepTaken) -> None:
    call.step = event.step


def _barged(call: LiveCall, _: BargedIn) -> None:
    call.barge_ins += 1


FOLDS: Final[Mapping[type, Fold]] = {
    PhaseMoved: _moved,
    TurnDecided: _decided,
    AnswerHeard: _answered,
    AttemptFailed: _failed,
    AttemptWon: _won,
    RungChosen: _chosen,
    StageExhausted: _exhausted,
    StageRecovered: _recovered,
    StepTaken: _stepped,
    BargedIn: _barged,
}
