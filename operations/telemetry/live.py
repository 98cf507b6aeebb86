"""The live view: its viewers get every entry as it happens."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from calls.entry import Entry
from operations.privacy import without_words

WATCHER_ENTRIES: Final = 1_000  # a browser that falls behind further loses the oldest
RECENT_ENTRIES: Final = 500  # what a page that opens in the middle of a call is shown first


class Live:
    """Fans entries out to watchers; a slow watcher loses the oldest, never slows a call."""

    def __init__(self, *, words: bool) -> None:
        self._words = words  # False: callers' words and numbers stay in the calls' own records
        self._watchers: set[asyncio.Queue[Entry]] = set()
        # Entries, not their JSON: that is larger, and made only when somebody watches.
        self._recent: deque[Entry] = deque(maxlen=RECENT_ENTRIES)

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    async def hear(self, entry: Entry) -> None:
        """Hand one entry to everyone who watches."""
        shown = entry if self._words else without_words(entry)
        self._recent.append(shown)
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(shown)

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the recent entries, then each new one, until the watcher goes."""
        with self._seat() as queue:
            for shown in tuple(self._recent):
                yield shown.as_json()
            while True:
                shown = await queue.get()
                yield shown.as_json()

    @contextmanager
    def _seat(self) -> Iterator[asyncio.Queue[Entry]]:
        queue: asyncio.Queue[Entry] = asyncio.Queue(WATCHER_ENTRIES)
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)
