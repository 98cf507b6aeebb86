"""What the log says of each fact beside its words: call, turn, stage, provider and the like."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from calls.entry import Entry
from calls.events import CallEnded, CallerStopped, Event
from fallbacks.facts import BreakerMoved
from operations.notify.known_call_rules import KnownCalls

Fields: TypeAlias = Mapping[str, str | int | None]
"""By name; None: it has none, or nobody knows it."""

NAMES: Final = ("call_id", "turn", "stage", "provider", "attempt", "failure_kind", "breaker")
PROVIDER: Final = ("provider", "rung", "after")  # fields of facts that name whom it is about


@dataclass(slots=True)
class ReachedTurn:
    """How far a call has come."""

    turn: int = 0


class LogFields:
    """Reads them off the facts; remembers each call's turn and each provider's breaker."""

    def __init__(self) -> None:
        self._calls = KnownCalls[ReachedTurn](keep_ended=0)
        self._breakers: dict[str, str] = {}

    def read(self, entry: Entry) -> Fields:
        """Return the fields of one fact."""
        event = entry.event
        turn = self._turn(entry.call_id, event)
        if isinstance(event, BreakerMoved):
            self._breakers[event.provider] = event.after
        stage = _text(event, "stage")
        provider = _provider(event) if stage else None
        return {
            "call_id": entry.call_id or None,
            "turn": turn,
            "stage": stage,
            "provider": provider,
            "attempt": getattr(event, "attempt", None) or None,
            "failure_kind": _text(event, "kind"),
            "breaker": self._breakers.get(provider, "closed") if provider else None,
        }

    def _turn(self, call_id: str, event: Event) -> int | None:
        if not call_id:
            return None
        said = getattr(event, "turn", None)
        reached = self._calls.find(call_id, ReachedTurn) or ReachedTurn()
        if isinstance(event, CallerStopped):
            reached.turn += 1
        reached.turn = max(reached.turn, said or 0)
        if isinstance(event, CallEnded):
            self._calls.end(call_id)
        return reached.turn if said is None else said


def _provider(event: Event) -> str | None:
    return next((said for name in PROVIDER if (said := _text(event, name))), None)


def _text(event: Any, name: str) -> str | None:
    said = getattr(event, name, None)
    return str(said) if isinstance(said, str) and said else None
