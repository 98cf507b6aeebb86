"""The caller's line: what was sent to it, how much was played, and when it runs dry."""

from collections import deque
from typing import Final

STRAY_S: Final = 1.0  # after the reckoned end; what is unconfirmed by then is never confirmed


class CallerLine:
    """A call's line to the caller: the sender of audio adds it here, and all others read it.

    The line plays its queue without gaps. `dry_at` is our reckoning of when the queue is empty. A
    carrier's report of what it has played corrects the reckoning:

        line = CallerLine()
        line.add(2.0, now)            # from the TTS stage, or our own speech
        line.dry_at                   # now + 2.0
        line.played(0.2, now + 0.3)   # a carrier's mark: the line is 0.1 s late
        line.dry_at                   # now + 2.1
        line.flush(now + 0.5)         # the caller barged in

    Positions count the seconds of audio that reached the caller, or will. All moments are
    monotonic, in seconds.

    Attributes:
        dry_at: When the line has nothing left to play.
        end_s: The position after the last audio on the line.
    """

    def __init__(self) -> None:
        self.dry_at = 0.0
        self.end_s = 0.0
        self._unplayed_s = 0.0  # audio that the carrier has not reported as played
        self._kept: deque[tuple[float, float]] = deque()  # from, to: a barge-in does not drop these

    def queued_s(self, now: float) -> float:
        """Return the seconds of audio that are still to be played."""
        return max(0.0, self.dry_at - now)

    def heard_s(self, now: float) -> float:
        """Return the position up to which the caller has heard."""
        return self.end_s - self.queued_s(now)

    def heard_at(self, position_s: float) -> float:
        """Return when the caller will have heard up to a position, by the current reckoning."""
        return self.dry_at - (self.end_s - position_s)

    def add(self, length_s: float, now: float, *, must: bool = False) -> None:
        """Count audio that was sent to the line.

        Args:
            length_s: Of the audio.
            now: Monotonic, in seconds.
            must: The caller cannot cut it short.
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
        """Take back the last `length_s` of the queue: it was withheld, and will not be heard."""
        dropped_s = min(length_s, self.queued_s(now))
        self.dry_at -= dropped_s
        self.end_s -= dropped_s
        self._unplayed_s = max(0.0, self._unplayed_s - dropped_s)

    def played(self, length_s: float, now: float) -> None:
        """Correct the reckoning: the carrier has played `length_s` more."""
        self._unplayed_s = max(0.0, self._unplayed_s - length_s)
        later_s = now + self._unplayed_s - self.dry_at
        self._kept = deque((begin + later_s, end + later_s) for begin, end in self._kept)
        self.dry_at += later_s

    def stand_still(self, for_s: float, now: float) -> None:
        """Shift the queue by a pause: the line played nothing in the last `for_s`."""
        if self.dry_at <= now - for_s:
            return
        self._kept = deque((begin + for_s, end + for_s) for begin, end in self._kept)
        self.dry_at += for_s

    def play_again(self, length_s: float, now: float) -> None:
        """Correct the reckoning: the line restarts, and replays `length_s` beyond the unplayed."""
        self._unplayed_s += length_s
        self.played(0.0, now)

    def flush(self, now: float) -> None:
        """Drop the queue, except for audio that the caller must hear."""
        if self.dry_at <= now:
            return
        left_s = sum(max(0.0, end - max(begin, now)) for begin, end in self._kept)
        self.end_s -= self.queued_s(now) - left_s
        self.dry_at = now + left_s
        self._unplayed_s = left_s
        self._kept = deque([(now, self.dry_at)] if left_s else [])
