"""The calls that go on, each with whatever follows it: from its start to its end, and no more."""

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event

MOST_CALLS: Final = 1000  # that are followed at once; more lose the oldest (chosen)


class Follower(Protocol):
    """Follows one call by its facts."""

    def add(self, event: Event) -> None:
        """Add one fact."""
        ...


Follows = TypeVar("Follows", bound=Follower)


class OpenCalls(Generic[Follows]):
    """Hands each call's facts to its own follower; keeps none of a call that is over."""

    def __init__(self, begin: Callable[[str], Follows]) -> None:
        """Begin a follower for each call by `begin`, which gets its id."""
        self._begin = begin
        self._calls: dict[str, Follows] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, entry: Entry) -> Follows | None:
        """Hand one fact to its call's follower; return the follower of a call that it ends."""
        if isinstance(entry.event, CallStarted):
            while len(self._calls) >= MOST_CALLS:
                del self._calls[next(iter(self._calls))]
            self._calls[entry.call_id] = self._begin(entry.call_id)
        call = self._calls.get(entry.call_id)
        if call is None:
            return None
        call.add(entry.event)
        return self._calls.pop(entry.call_id) if isinstance(entry.event, CallEnded) else None
