"""Passes each call's events to its own follower, from the call's start to its end."""

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event

MOST_CALLS: Final = 1000  # followed at once; with more, the oldest is dropped (chosen)


class Follower(Protocol):
    """Follows one call, event by event."""

    def add(self, event: Event) -> None:
        """Add one event."""
        ...


Follows = TypeVar("Follows", bound=Follower)


class OpenCalls(Generic[Follows]):
    """Passes each call's events to its own follower, which is dropped when the call is over."""

    def __init__(self, begin: Callable[[str], Follows]) -> None:
        """Create each call's follower with `begin`, which gets the call's id."""
        self._begin = begin
        self._calls: dict[str, Follows] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, entry: Entry) -> Follows | None:
        """Add one event to its call's follower; return the follower if this event ends the call."""
        if isinstance(entry.event, CallStarted):
            while len(self._calls) >= MOST_CALLS:
                del self._calls[next(iter(self._calls))]
            self._calls[entry.call_id] = self._begin(entry.call_id)
        call = self._calls.get(entry.call_id)
        if call is None:
            return None
        call.add(entry.event)
        return self._calls.pop(entry.call_id) if isinstance(entry.event, CallEnded) else None
