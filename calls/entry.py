"""An event with its call, number and time, as published and stored."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from calls.events import Event

Emit: TypeAlias = Callable[[Event], None]
"""Publishes an event; neither waits nor raises."""


class Numbering:
    """Numbers the entries of one call, even if it moves to another process.

    Attributes:
        last: The latest number.
    """

    def __init__(self, last: int = 0) -> None:
        """Continue after `last`."""
        self.last = last

    def next(self) -> int:
        """Use up and return the next number."""
        self.last += 1
        return self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a call's journal."""

    call_id: str
    number: int  # 1, 2, 3 … within the call; a gap is a lost entry; 0 if the process published it
    at: str  # ISO 8601, UTC
    event: Event

    def as_json(self) -> dict[str, Any]:
        """Return the entry as plain JSON values, with the event's name under `event`."""
        return {
            "call_id": self.call_id,
            "number": self.number,
            "at": self.at,
            "event": type(self.event).__name__,
            **asdict(self.event),
        }
