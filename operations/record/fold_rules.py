"""Folds entries into the record's rows, and tracks the state of the calls."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from calls.entry import Entry
from calls.events import (
    CallEnded,
    CallStarted,
    LegEnded,
    MessageLeft,
    ProviderFailed,
    UsageMeasured,
)
from fallbacks.facts import AttemptFailed, BreakerMoved
from operations.notify.trouble_rules import KnownCalls
from operations.record.call_rules import RecordedCall, plus

# The latest ended calls are kept for late events: a summary's cost comes up to a minute late, and
# short calls may end twice a second (chosen).
ENDED_CALLS: Final = 256
# Of these, the latest keep their turns, the largest part of a call; turns are billed in seconds.
WITH_TURNS: Final = 32

RecordRow: TypeAlias = dict[str, Any]
"""A row of plain values; moments are in ISO 8601."""


@dataclass(slots=True, kw_only=True)
class RecordBatch:
    """Rows to write: calls and turns replace the stored ones; the rest is added."""

    calls: list[RecordRow] = field(default_factory=list[RecordRow])
    turns: list[RecordRow] = field(default_factory=list[RecordRow])
    messages: list[RecordRow] = field(default_factory=list[RecordRow])
    happenings: list[RecordRow] = field(default_factory=list[RecordRow])
    failures: list[RecordRow] = field(default_factory=list[RecordRow])
    breaker_moves: list[RecordRow] = field(default_factory=list[RecordRow])
    voicemails: list[RecordRow] = field(default_factory=list[RecordRow])
    outcomes: dict[str, str] = field(default_factory=dict[str, str])  # by the carrier's id
    taken_over: list[str] = field(default_factory=list[str])  # calls that another process started
    live: frozenset[str] = frozenset()  # calls in progress, if this batch is a heartbeat


class RecordFold:
    """Tracks the calls in progress and the latest ended ones; its size is bounded."""

    def __init__(self, *, holder: str, messages: str) -> None:
        """Start.

        Args:
            holder: The process.
            messages: The folder of voicemails.
        """
        self._holder = holder
        self._messages = messages
        self._calls = KnownCalls[RecordedCall](keep_ended=ENDED_CALLS)
        self._with_turns: deque[RecordedCall] = deque()  # the latest of the ended
        self._changed: dict[str, RecordedCall] = {}
        self._batch = RecordBatch()

    @property
    def live(self) -> frozenset[str]:
        """The calls in progress."""
        return frozenset(self._calls.live)

    def add(self, entry: Entry) -> None:
        """Fold one entry."""
        call = self._call(entry) if entry.call_id else None
        self._batch.happenings.append(happening(entry))
        if call:
            self._changed[entry.call_id] = call
            self._batch.messages.extend(call.add(entry))
        self._add_failure(entry, call)
        match entry.event:
            case CallStarted() as started if started.gap_s:
                self._batch.taken_over.append(entry.call_id)
            case MessageLeft() as left if call:
                self._batch.voicemails.append(self._voicemail(entry, left, call.row))
            case UsageMeasured(behind_call=ended) as used if ended in self._calls.ended:
                behind = self._changed[ended] = self._calls.ended[ended]  # it belongs to no turn
                behind.row["cost"] = plus(behind.row["cost"], used.cost)
            case LegEnded() as leg if leg.call_ref:
                self._batch.outcomes[leg.call_ref] = leg.outcome
            case CallEnded():
                self._close(entry.call_id)
            case _:
                pass

    def take(self) -> RecordBatch:
        """Return the rows since the last time."""
        batch, self._batch = self._batch, RecordBatch()
        changed, self._changed = self._changed, {}
        for lent in changed.values():
            batch.calls.append(dict(lent.row))
            batch.turns.extend(lent.take_turns())
        while len(self._with_turns) > WITH_TURNS:
            self._with_turns.popleft().forget_turns()
        return batch

    def _add_failure(self, entry: Entry, call: RecordedCall | None) -> None:
        match entry.event:
            case AttemptFailed() | ProviderFailed() as failed:
                turn = call.turn_at(failed.stage) if call else None
                self._batch.failures.append(failure(entry, failed, turn))
            case BreakerMoved() as moved:
                self._batch.breaker_moves.append(breaker_move(entry, moved, self._holder))
            case _:
                pass

    def _call(self, entry: Entry) -> RecordedCall | None:
        call_id = entry.call_id
        begin = partial(RecordedCall, call_id, holder=self._holder, at=entry.at)
        return self._calls.find(call_id, begin)

    def _close(self, call_id: str) -> None:
        call = self._calls.end(call_id)
        if call:
            self._with_turns.append(call)

    def _voicemail(self, entry: Entry, left: MessageLeft, call: Mapping[str, Any]) -> RecordRow:
        return {
            "call_id": entry.call_id,
            "number": call["called" if call["direction"] == "outbound" else "caller"],
            "path": f"{self._messages}/{entry.call_id}.wav",
            "length_s": left.length_s,
            "at": entry.at,
            "transcript": "",
        }


def happening(entry: Entry) -> RecordRow:
    """Return an entry's row in the timeline."""
    event = entry.event
    return {
        "call_id": entry.call_id,
        "number": entry.number,
        "at": entry.at,
        "kind": type(event).__name__,
        "stage": str(getattr(event, "stage", "")),
        "provider": str(getattr(event, "provider", "")),
        "data": asdict(event),
    }


def failure(entry: Entry, event: AttemptFailed | ProviderFailed, turn: int | None) -> RecordRow:
    """Return the row of a provider's failure."""
    row = {
        "call_id": entry.call_id,
        "turn": turn,
        "at": entry.at,
        "stage": event.stage,
        "provider": event.provider,
    }
    if isinstance(event, ProviderFailed):
        plain = {"scope": "", "severity": "low", "attempt": 0, "permanent": False}
        return row | plain | {"kind": "error", "reason": event.error}
    return row | {
        "kind": str(event.kind),
        "scope": str(event.scope),
        "severity": str(event.severity),
        "attempt": event.attempt,
        "permanent": event.permanent,
        "reason": event.reason,
    }


def breaker_move(entry: Entry, event: BreakerMoved, holder: str) -> RecordRow:
    """Return the row of a breaker's move in one process."""
    return {
        "call_id": entry.call_id,
        "at": entry.at,
        "holder": holder,
        "stage": event.stage,
        "provider": event.provider,
        "before": event.before,
        "after": event.after,
        "cause": event.cause,
        "after_s": event.after_s,
        "severity": str(event.severity),
    }
