"""What is kept of calls: of those that go on, and of the latest that ended."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

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
