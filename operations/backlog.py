"""A queue with a limit, for a writer that may be slow or away."""

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Backlog(deque[Item]):
    """What waits to be written, the oldest first; beyond the limit, the oldest are dropped.

        backlog = Backlog[str](2)
        backlog.put("a", "b", "c")  # 1: "a" was dropped
        backlog.take(10)  # ["b", "c"]

    One thread may put while another one takes.
    """

    def __init__(self, limit: int) -> None:
        """Create an empty one for at most `limit` items."""
        super().__init__()
        self._limit = limit

    def put(self, *items: Item) -> int:
        """Add items; return how many of the oldest were dropped."""
        self.extend(items)
        dropped = len(self) - self._limit
        if dropped <= 0:  # as almost always: every event of every call passes here
            return 0
        self.take(dropped)
        return dropped

    def take(self, most: int) -> list[Item]:
        """Remove and return up to `most` items, the oldest first."""
        return [self.popleft() for _ in range(min(most, len(self)))]

    def put_back(self, items: Sequence[Item]) -> None:
        """Put taken items back before the others; the next `put` drops what is beyond the limit."""
        self.extendleft(reversed(items))

    def remove_first(self, item: Item) -> None:
        """Remove `item` if it is still the first: `put` may have dropped it meanwhile."""
        if self and self[0] is item:
            self.popleft()
