"""Whose sound the turn detector looks at next, when several callers fall silent at once.

The rules: a call has one look at a time, and a newer one takes the place of an older that has not
begun. Whose time runs out first is first. What nobody waits for any longer, or what could not be
there in time, is not begun at all: it would only delay the others.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

MOST_S: Final = 0.2  # a look is never expected to take longer, so that one slow one stops no other
WEIGHT: Final = 0.2  # of the latest look in what the next one is expected to take


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One look at what a caller has said."""

    call: Hashable
    due_at: float  # nobody waits for it any longer from then on


class LookQueue:
    """Orders the looks of all calls. Moments are monotonic, in seconds.

    queue = LookQueue(width=2)
    queue.add(Look("call", due_at=100.25))
    look = queue.take()  # and report its end
    queue.ended(took_s=0.07)
    """

    def __init__(self, *, width: int) -> None:
        """Allow `width` looks at once."""
        self._width = width
        self._running = 0
        self._waiting: dict[Hashable, Look] = {}
        self._takes_s = 0.0

    def add(self, look: Look) -> Look | None:
        """Have a look wait, and return the older one of the same call that is dropped for it."""
        older = self._waiting.get(look.call)
        self._waiting[look.call] = look
        return older

    def drop(self, look: Look) -> None:
        """Forget a look that nobody needs; one that has begun goes on."""
        if self._waiting.get(look.call) is look:
            del self._waiting[look.call]

    def expire(self, now: float) -> list[Look]:
        """Forget and return those that could not be there in time."""
        late = [item for item in self._waiting.values() if item.due_at <= now + self._takes_s]
        for item in late:
            del self._waiting[item.call]
        return late

    def take(self) -> Look | None:
        """Return the most urgent look if there is room for one more, and count it as begun."""
        if self._running >= self._width or not self._waiting:
            return None
        first = min(self._waiting.values(), key=lambda each: each.due_at)
        del self._waiting[first.call]
        self._running += 1
        return first

    def ended(self, *, took_s: float) -> None:
        """Note that one that was taken has ended, and how long it took."""
        self._running -= 1
        expected_s = took_s if not self._takes_s else self._takes_s
        self._takes_s = min(MOST_S, expected_s + WEIGHT * (took_s - expected_s))
