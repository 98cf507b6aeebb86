"""Decides whose audio the turn detector analyses next, when several callers pause at once.

A call has one request at a time, and a newer one replaces an older one that has not started. The
request with the earliest time limit is first. A request that is no longer needed, or that could not
finish in time, is not started: it would only delay the others.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

MAX_EXPECTED_S: Final = (
    0.2  # the longest expected time, so that one slow analysis does not stop all others
)
WEIGHT: Final = 0.2  # of the latest analysis in the expected time of the next


@dataclass(frozen=True, slots=True, eq=False)
class AnalysisRequest:
    """One request to analyse what a caller has said."""

    call: Hashable
    due_at: float  # the result is useless after this


class AnalysisQueue:
    """Orders the requests of all calls. Moments are monotonic, in seconds.

    queue = AnalysisQueue(width=2)
    queue.add(AnalysisRequest("call", due_at=100.25))
    request = queue.take()  # and report its end
    queue.ended(took_s=0.07)
    """

    def __init__(self, *, width: int) -> None:
        """Allow `width` analyses at once."""
        self._width = width
        self._running = 0
        self._waiting: dict[Hashable, AnalysisRequest] = {}
        self._takes_s = 0.0  # the expected time of one analysis

    def add(self, request: AnalysisRequest) -> AnalysisRequest | None:
        """Queue a request; return the older one of the same call that it replaces, or `None`."""
        older = self._waiting.get(request.call)
        self._waiting[request.call] = request
        return older

    def drop(self, request: AnalysisRequest) -> None:
        """Drop a request that is not needed; one that has started continues."""
        if self._waiting.get(request.call) is request:
            del self._waiting[request.call]

    def expire(self, now: float) -> list[AnalysisRequest]:
        """Drop and return the requests that could not finish in time."""
        late = [item for item in self._waiting.values() if item.due_at <= now + self._takes_s]
        for item in late:
            del self._waiting[item.call]
        return late

    def take(self) -> AnalysisRequest | None:
        """Return the most urgent request if there is room, and count it as started."""
        if self._running >= self._width or not self._waiting:
            return None
        first = min(self._waiting.values(), key=lambda request: request.due_at)
        del self._waiting[first.call]
        self._running += 1
        return first

    def ended(self, *, took_s: float) -> None:
        """Record that a started analysis has ended, and how long it took."""
        self._running -= 1
        expected_s = took_s if not self._takes_s else self._takes_s
        self._takes_s = min(MAX_EXPECTED_S, expected_s + WEIGHT * (took_s - expected_s))
