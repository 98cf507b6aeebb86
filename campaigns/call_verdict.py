"""How our side of a dialled call ended: with a conversation, or with one of our failures.

The carrier only knows that the call was answered and how long it took. Whether an agent talked
follows from the call's own events. If the process of the call is gone, the events come from the
record. This module is pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from calls.events import CallEnded, CallFailed, Event
from calls.leg_events import AnswererHeard
from campaigns.store.dials import RecordedEnd
from fallbacks.facts import AttemptWon, StageExhausted, StageRecovered
from fallbacks.failure import Severity

OURS: Final = frozenset({"failed", "outage", "shutdown", "never_connected"})
"""Reasons of `CallEnded` that are our fault."""
MACHINE: Final = frozenset({"voicemail", "menu"})
NO_AGENT: Final = "no_agent"
INTERRUPTED: Final = "interrupted"  # the process died during the call
KINDS: Final[Mapping[str, type[Event]]] = {
    item.__name__: item
    for item in (StageExhausted, StageRecovered, AttemptWon, CallFailed, AnswererHeard)
}
"""Events that are read from the record, by name; `CallEnded` comes from the call's own row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallVerdict:
    """How our side of a call ended.

    Attributes:
        over: Whether our side has ended completely.
        failed: Why it failed for our own reasons, as a code; empty if it did not.
        length_s: Duration.
        machine: Whether a machine answered, according to what we heard.
    """

    over: bool = False
    failed: str = ""
    length_s: float = 0.0
    machine: bool = False


NO_CALL: Final = CallVerdict(over=True, failed=NO_AGENT)
"""The callee answered, and our side had no call for it."""


@dataclass(slots=True)
class CallJudge:
    """Judges one call by its events, in the order in which they happened."""

    _out: set[str] = field(default_factory=set[str])  # stages without a usable rung
    _failed: str = ""
    _machine: bool = False
    _ended: CallEnded | None = None

    def add(self, event: Event) -> None:
        """Add one event."""
        match event:
            case StageExhausted(severity=Severity.CRITICAL):  # otherwise only one text failed
                self._out.add(event.stage)
            case StageRecovered() | AttemptWon():
                self._out.discard(event.stage)
            case CallFailed():
                self._failed = "call_failed"
            case AnswererHeard(answerer=answerer):
                self._machine = answerer in MACHINE  # the latest judgement counts
            case CallEnded() if self._ended is None:
                self._ended = event
            case _:
                pass

    @property
    def verdict(self) -> CallVerdict:
        """Return the verdict so far."""
        if self._ended is None:
            return CallVerdict()
        return CallVerdict(
            over=True,
            failed=self._why(),
            length_s=self._ended.length_s,
            machine=self._machine or self._ended.reason in MACHINE,
        )

    def _why(self) -> str:
        if self._failed:
            return self._failed
        if self._ended is not None and self._ended.reason in OURS:
            return self._ended.reason
        return f"{min(self._out)}_out" if self._out else ""


def judge_recorded(end: RecordedEnd) -> CallVerdict:
    """Return how our side of a call ended, from its record."""
    if end.interrupted:
        return CallVerdict(over=True, failed=INTERRUPTED, length_s=end.length_s)
    judge = CallJudge()
    for kind, said in end.facts:
        judge.add(_event(KINDS[kind], said))
    judge.add(CallEnded(reason=end.reason, length_s=end.length_s))
    return judge.verdict


def _event(kind: type[Event], said: Mapping[str, Any]) -> Event:
    """Build an event from its recorded fields; skip fields that only a newer version knows."""
    return kind(
        **{field_.name: said[field_.name] for field_ in fields(kind) if field_.name in said}
    )
