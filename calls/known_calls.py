"""The calls that a listener knows: calls in progress, and the latest ones that have ended."""

from typing import Final

from calls.entry import Entry
from calls.events import CallEnded, CallMoved, CallStarted, UsageMeasured
from calls.excerpt import Excerpt
from calls.state import CallState

MAX_LIVE: Final = 1_000  # calls; more than a process has seats (chosen); the oldest are dropped
MAX_DROPPED_IDS: Final = 4096  # half an hour with two calls per second (chosen)


class KnownCalls:
    """Folds each entry into the state of its call; the number of calls is bounded.

    A late event must not start a call that has ended and was dropped. So the ids of dropped calls
    are kept. Only `CallStarted` starts such a call again: its line is back after the call was given
    up. Usage that a process reports after a call's end (`behind_call`) is added to that call.

        calls = KnownCalls(keep_ended=64)
        calls.add(entry)  # the call's state; `None` if there is none

    Attributes:
        live: Calls in progress, oldest first.
        ended: The latest ended calls, oldest first.
    """

    def __init__(self, *, keep_ended: int = 0, keep_words: bool = False) -> None:
        """Keep up to `keep_ended` ended calls; with `keep_words`, each call gets an excerpt."""
        self.live: dict[str, CallState] = {}
        self.ended: dict[str, CallState] = {}
        self._keep_ended = keep_ended
        self._keep_words = keep_words
        self._dropped_ids: dict[str, None] = {}  # the ids of dropped calls, oldest first

    def add(self, entry: Entry) -> CallState | None:
        """Fold one entry; return its call, which `CallEnded` moves from `live` to `ended`.

        `None` if the entry belongs to no call, or to one that was dropped or has moved. A moved
        call is dropped: another machine goes on with it.
        """
        if type(entry.event) is CallMoved:
            if moved := self.live.pop(entry.call_id, None):
                self._remember_dropped_id(moved.call_id)
            return None
        call = self.live.get(entry.call_id) or self._find_or_create(entry)
        if call is not None:
            call.add(entry.event, entry.at)
            if type(entry.event) is CallEnded:
                self._keep_as_ended(call)
        return call

    def _find_or_create(self, entry: Entry) -> CallState | None:
        """Return the call of an entry that belongs to no call in progress.

        Usage after a call's end, and late events, go to the ended call; `None` if it was dropped.
        Any other entry starts a new call; `CallStarted` starts an ended one again. Above `MAX_LIVE`
        calls in progress, the oldest is dropped.
        """
        call_id = entry.call_id
        if not call_id:
            event = entry.event
            return self.ended.get(event.behind_call) if isinstance(event, UsageMeasured) else None
        starts = isinstance(entry.event, CallStarted)
        if not starts and (call_id in self._dropped_ids or call_id in self.ended):
            return self.ended.get(call_id)
        self._dropped_ids.pop(call_id, None)
        excerpt = Excerpt() if self._keep_words else None
        call = self.ended.pop(call_id, None) or CallState(
            call_id, began_at=entry.at, excerpt=excerpt
        )
        self.live[call_id] = call
        if len(self.live) > MAX_LIVE:
            self._drop_oldest(self.live)  # the end of the oldest call was probably lost
        return call

    def _keep_as_ended(self, call: CallState) -> None:
        """Move a call from `live` to `ended`, and drop the oldest ended calls above the limit."""
        if self.live.pop(call.call_id, None):
            self.ended[call.call_id] = call
        while len(self.ended) > self._keep_ended:
            self._drop_oldest(self.ended)

    def _drop_oldest(self, calls: dict[str, CallState]) -> None:
        """Drop the oldest of these calls; remember its id, so that no late event revives it."""
        oldest = next(iter(calls))
        del calls[oldest]
        self._remember_dropped_id(oldest)

    def _remember_dropped_id(self, call_id: str) -> None:
        """Remember that a call was dropped, so that its late events start no new one.

        Only the latest `MAX_DROPPED_IDS` are remembered.
        """
        self._dropped_ids[call_id] = None
        while len(self._dropped_ids) > MAX_DROPPED_IDS:
            del self._dropped_ids[next(iter(self._dropped_ids))]
