"""How much of what was sent the far end says it has played."""

from collections import deque
from typing import Final


class Marks:
    """Counts what the far end says it has played.

    A mark goes out behind every `EVERY_S` of audio and behind the last of an utterance; its echo
    says that the audio before it was played. `clear` makes the far end echo all pending marks at
    once, which says nothing of having been played: those are forgotten when we send the `clear`.
    What was played but not yet echoed at that moment is not counted: never more than was heard.
    """

    EVERY_S: Final = 0.2
    MAX_PENDING: Final = 512  # 100 s of audio unplayed; then audio goes on, unmarked

    def __init__(self) -> None:
        self.played_s = 0.0
        self._unmarked_s = 0.0
        self._pending: deque[tuple[str, float]] = deque()
        self._count = 0

    @property
    def all_played(self) -> bool:
        """Whether nothing that was marked is still to be played."""
        return not self._pending

    def sent(self, audio_s: float) -> str | None:
        """Count audio as sent; return the name of the mark that is due behind it, if any."""
        self._unmarked_s += audio_s
        return self.close() if self._unmarked_s >= self.EVERY_S else None

    def close(self) -> str | None:
        """Return the name of a mark for the audio sent since the last one, if there was any."""
        if self._unmarked_s <= 0 or len(self._pending) >= self.MAX_PENDING:
            return None
        self._count += 1
        name = f"h{self._count}"
        self._pending.append((name, self._unmarked_s))
        self._unmarked_s = 0.0
        return name

    @property
    def last_pending(self) -> str | None:
        """The newest mark that is not echoed yet, or None."""
        return self._pending[-1][0] if self._pending else None

    def pending(self, name: str) -> bool:
        """Say whether a mark is still to be echoed."""
        return any(name == each for each, _ in self._pending)

    def echoed(self, name: str) -> float:
        """Count everything up to this mark as played, and return how much that is, in seconds.

        Names of forgotten marks do nothing.
        """
        before_s = self.played_s
        if self.pending(name):  # asked once: 512 of them are looked through each time
            echoed = ""
            while echoed != name:
                echoed, audio_s = self._pending.popleft()
                self.played_s += audio_s
        return self.played_s - before_s

    def cleared(self) -> None:
        """Forget what is not known to be played."""
        self._pending.clear()
        self._unmarked_s = 0.0
