"""What the call of a dial came to on our side: talked, or failed for reasons of our own.

The carrier says that somebody picked up and for how long. Whether they could talk with anybody is
known from the call's own facts: pure, fact by fact. If its process has left, the record has them.
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
"""Reasons of `CallEnded` that are our own fault; a caller who hangs up is not."""
MACHINE: Final = frozenset({"voicemail", "menu"})
NO_AGENT: Final = "no_agent"
INTERRUPTED: Final = "interrupted"  # its process died with it
KINDS: Final[Mapping[str, type[Event]]] = {
    item.__name__: item
    for item in (StageExhausted, StageRecovered, AttemptWon, CallFailed, AnswererHeard)
}
"""What is asked of the record, by the names of the events; the call's own row has its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallVerdict:
    """How our side of a call ended.

    Attributes:
        over: Whether nothing of it runs any more.
        failed: Why it failed for our own reasons, as a code; empty: it did not.
        length_s: How long it lasted.
    """

    over: bool = False
    failed: str = ""
    length_s: float = 0.0
    machine: bool = False  # no person picked up, as far as we heard


NO_CALL: Final = CallVerdict(over=True, failed=NO_AGENT)
"""Somebody picked up, and no call of ours was there."""


@dataclass(slots=True)
class CallJudge:
    """Judges one call by its facts, in the order in which they were told."""

    _out: set[str] = field(default_factory=set[str])  # stages of which no rung is left
    _failed: str = ""
    _machine: bool = False
    _ended: CallEnded | None = None

    def add(self, event: Event) -> None:
        """Add one fact."""
        match event:
            case StageExhausted(severity=Severity.CRITICAL):  # else the text was at fault
                self._out.add(event.stage)
            case StageRecovered() | AttemptWon():
                self._out.discard(event.stage)
            case CallFailed():
                self._failed = "call_failed"
            case AnswererHeard(answerer=answerer):
                self._machine = answerer in MACHINE  # as it was heard last
            case CallEnded() if self._ended is None:
                self._ended = event
            case _:
                pass

    @property
    def verdict(self) -> CallVerdict:
        """Return what it came to so far."""
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
    """Return how our side of a call ended, from what the record has of it."""
    if end.interrupted:
        return CallVerdict(over=True, failed=INTERRUPTED, length_s=end.length_s)
    judge = CallJudge()
    for kind, said in end.facts:
        judge.add(_event(KINDS[kind], said))
    judge.add(CallEnded(reason=end.reason, length_s=end.length_s))
    return judge.verdict


def _event(kind: type[Event], said: Mapping[str, Any]) -> Event:
    """Return a fact as it was told, perhaps by a newer version, which may say more of it."""
    return kind(
        **{field_.name: said[field_.name] for field_ in fields(kind) if field_.name in said}
    )
