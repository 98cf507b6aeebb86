"""A fact with its call, its number and its time, as it is told and stored."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from calls.events import Event

Tell: TypeAlias = Callable[[Event], None]
"""Hands a fact on. Never waits, never raises."""


class Numbering:
    """Numbers the entries of one call, even if another process goes on with it.

    Attributes:
        last: The latest number that was given.
    """

    def __init__(self, last: int = 0) -> None:
        """Continue after `last`."""
        self.last = last

    def next(self) -> int:
        """Return the next number."""
        self.last += 1
        return self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a call's journal."""

    call_id: str
    number: int  # 1, 2, 3 … within the call; a hole is a lost entry; 0: told by the process
    at: str  # ISO 8601, UTC
    event: Event

    def as_json(self) -> dict[str, Any]:
        """Return the entry as plain JSON values, the event's name under `event`."""
        return {
            "call_id": self.call_id,
            "number": self.number,
            "at": self.at,
            "event": type(self.event).__name__,
            **asdict(self.event),
        }
