"""Decides whether words that went to the line are missing there, whatever the cause.

The voice's stage counts words as spoken when it has passed their audio on. An output that has
stopped, or has dropped the audio, would then leave the caller in silence: no answer is pending, so
nothing holds the line. So the words wait here until the line has played audio of an answer at their
time. If it plays none, they are returned, to be said again.
"""

from collections import deque
from typing import Final

from calls.line import CallerLine

START_S: Final = 1.5  # a sound card may take its first piece, and play on a second later (chosen)
AHEAD_S: Final = 1.0  # audio is written this much before it is heard, at most (chosen)
CHECK_S: Final = 0.25  # between two checks: our loop may stall, but not in each of them (chosen)
CHECKS: Final = 3  # before words count as missing
MAX_WORDS: Final = 1000  # that wait; beyond that the oldest are forgotten


class DeliveredWords:
    """Words of answers whose audio has gone to one call's line, and was not played yet."""

    def __init__(self, line: CallerLine) -> None:
        self._line = line
        self._position_s = 0.0  # where the latest audio begins, in the line's audio
        # Where the audio of each word begins, and the word with its space; empty for audio alone.
        self._waiting: deque[tuple[float, str]] = deque(maxlen=MAX_WORDS)
        self._reports = False  # the line reports what it plays
        self._watched_from = 0.0
        self._checks = 0
        self._checked_at = 0.0

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if not self._reports or not self._waiting:
            return None
        due_at = self._line.heard_at(self._waiting[0][0])
        return max(due_at, self._checked_at) + CHECK_S

    def sounded(self, length_s: float) -> None:
        """Record that audible audio of an answer, already part of the line, was passed on."""
        self._position_s = self._line.end_s - length_s
        self._waiting.append((self._position_s, ""))

    def word(self, text: str, *, spaced: bool) -> None:
        """Record the word that is spoken in the latest audio.

        `spaced` says that the text contains its own spaces.
        """
        self._waiting.append((self._position_s, text if spaced else f" {text}"))

    def played(self, now: float) -> None:
        """Record that the line plays an answer's sound, and forget the words played so far.

        Nothing can be missing before the first such report.
        """
        if not self._reports:
            self._reports, self._checked_at = True, now
            self._watched_from = now + START_S
        self._checks = 0
        reached_s = self._line.heard_s(now) + AHEAD_S
        while self._waiting and self._waiting[0][0] <= reached_s:
            self._waiting.popleft()

    def forget(self) -> None:
        """Forget the words that wait: they were interrupted."""
        self._waiting.clear()
        self._checks = 0

    def tick(self, now: float) -> str:
        """Return the words that are missing on the line, and forget them; empty if none are.

        Only the last of `CHECKS` checks without played audio returns words. A check that our own
        loop delays, while the line may still be starting, leaves it as much more time.
        """
        wake_at = self.wake_at
        if wake_at is None or now < wake_at:
            return ""
        self._checked_at = now
        if wake_at < self._watched_from:
            self._watched_from += now - wake_at
        if now < self._watched_from:
            return ""
        self._checks += 1
        if self._checks < CHECKS:
            return ""
        missing = "".join(word for _, word in self._waiting).strip()
        self.forget()
        return missing
