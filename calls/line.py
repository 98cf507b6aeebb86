"""The caller's line: what was let go to it, what of that was played, and when it runs dry."""

from collections import deque
from typing import Final

STRAY_S: Final = 1.0  # past the moment when all should have been heard: the rest never comes


class CallerLine:
    """One line for a call: what lets sound go to it adds it here, and everyone asks it.

    It plays without a gap what it has; `dry_at` is when it has nothing left, by our own reckoning.
    Where the far end says what it has played, that corrects the reckoning:

        line = CallerLine()
        line.add(2.0, now)            # the voices' stage, or our own speech
        line.dry_at                   # now + 2.0
        line.played(0.2, now + 0.3)   # a carrier's mark: the line is 0.1 s behind
        line.dry_at                   # now + 2.1
        line.flush(now + 0.5)         # the caller barged in

    Positions count the seconds of sound that reached the caller, or will. All moments are
    monotonic, in seconds.

    Attributes:
        dry_at: When the line has nothing left to play.
        end_s: The position behind the last sound on the line.
    """

    def __init__(self) -> None:
        self.dry_at = 0.0
        self.end_s = 0.0
        self._unplayed_s = 0.0  # of which the far end has not said that it was played
        self._kept: deque[tuple[float, float]] = deque()  # from, to: no barge-in drops these

    def queued_s(self, now: float) -> float:
        """Return the seconds of sound that are still to be played."""
        return max(0.0, self.dry_at - now)

    def heard_s(self, now: float) -> float:
        """Return the position that the caller has heard up to."""
        return self.end_s - self.queued_s(now)

    def heard_at(self, position_s: float) -> float:
        """Return when the caller will have heard up to a position, as things stand."""
        return self.dry_at - (self.end_s - position_s)

    def add(self, length_s: float, now: float, *, must: bool = False) -> None:
        """Note that so much sound was let go to the line.

        Args:
            length_s: Of the sound.
            now: The moment.
            must: The caller may not cut it short.
        """
        if now >= self.dry_at + STRAY_S:
            self._unplayed_s = 0.0
        begins_at = max(self.dry_at, now)
        self.dry_at = begins_at + length_s
        self.end_s += length_s
        self._unplayed_s += length_s
        while self._kept and self._kept[0][1] <= now:
            self._kept.popleft()
        if must:
            self._kept.append((begins_at, self.dry_at))

    def drop(self, length_s: float, now: float) -> None:
        """Note that so much of what was let go to it last was kept from it: nobody will hear it."""
        dropped_s = min(length_s, self.queued_s(now))
        self.dry_at -= dropped_s
        self.end_s -= dropped_s
        self._unplayed_s = max(0.0, self._unplayed_s - dropped_s)

    def played(self, length_s: float, now: float) -> None:
        """Note that the far end has played so much more: what is left is left from now on."""
        self._unplayed_s = max(0.0, self._unplayed_s - length_s)
        later_s = now + self._unplayed_s - self.dry_at
        self._kept = deque((begin + later_s, end + later_s) for begin, end in self._kept)
        self.dry_at += later_s

    def stand_still(self, for_s: float, now: float) -> None:
        """Note that nothing was played in the last `for_s`: what was left then is left now."""
        if self.dry_at <= now - for_s:
            return
        self._kept = deque((begin + for_s, end + for_s) for begin, end in self._kept)
        self.dry_at += for_s

    def play_again(self, length_s: float, now: float) -> None:
        """Note that the far end begins again, with so much more than it had not played."""
        self._unplayed_s += length_s
        self.played(0.0, now)

    def flush(self, now: float) -> None:
        """Note that the line threw away what it had, but what the caller must hear."""
        if self.dry_at <= now:
            return
        left_s = sum(max(0.0, end - max(begin, now)) for begin, end in self._kept)
        self.end_s -= self.queued_s(now) - left_s
        self.dry_at = now + left_s
        self._unplayed_s = left_s
        self._kept = deque([(now, self.dry_at)] if left_s else [])
