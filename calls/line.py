"""The caller's line: what was sent to it, how much was played, and when the audio ends."""

from collections import deque
from typing import Final

STRAY_S: Final = 1.0  # after the estimated end, audio without a carrier's report counts as played


class CallerLine:
    """Tracks a call's line to the caller: senders add their audio here, and other code reads it.

    The line plays its queue without gaps. `dry_at` is our estimate of when the queue is empty. A
    carrier's report of what it has played corrects the estimate:

        line = CallerLine()
        line.add(2.0, now)            # from the TTS stage, or our own speech
        line.dry_at                   # now + 2.0
        line.played(0.2, now + 0.3)   # a carrier's mark: the line is 0.1 s late
        line.dry_at                   # now + 2.1
        line.flush(now + 0.5)         # the caller barged in

    Positions are in seconds of the audio that has reached the caller, or will. Moments are
    monotonic, in seconds.

    Attributes:
        dry_at: When the line has nothing left to play, as estimated.
        end_s: The position after the last audio on the line.
    """

    def __init__(self) -> None:
        self.dry_at = 0.0
        self.end_s = 0.0
        self._unplayed_s = 0.0  # audio that the carrier has not reported as played
        # Beginnings and ends of audio that a barge-in does not drop.
        self._kept: deque[tuple[float, float]] = deque()

    def queued_s(self, now: float) -> float:
        """Return the seconds of audio that are not played yet."""
        return max(0.0, self.dry_at - now)

    def heard_s(self, now: float) -> float:
        """Return up to which position the caller has heard the audio."""
        return self.end_s - self.queued_s(now)

    def heard_at(self, position_s: float) -> float:
        """Return when the caller will have heard the audio up to a position, as estimated now."""
        return self.dry_at - (self.end_s - position_s)

    def add(self, length_s: float, now: float, *, protected: bool = False) -> None:
        """Add audio that was sent to the line.

        If the line has been empty for `STRAY_S`, audio without a carrier's report counts as played.

        Args:
            length_s: The length of the audio.
            now: Monotonic, in seconds.
            protected: Whether it cannot be interrupted.
        """
        if now >= self.dry_at + STRAY_S:
            self._unplayed_s = 0.0
        begins_at = max(self.dry_at, now)
        self.dry_at = begins_at + length_s
        self.end_s += length_s
        self._unplayed_s += length_s
        while self._kept and self._kept[0][1] <= now:
            self._kept.popleft()
        if protected:
            self._kept.append((begins_at, self.dry_at))

    def drop(self, length_s: float, now: float) -> None:
        """Remove the last `length_s` of the queue: it was not sent after all.

        Audio that was played by now, as estimated, stays.
        """
        dropped_s = min(length_s, self.queued_s(now))
        self.dry_at -= dropped_s
        self.end_s -= dropped_s
        self._unplayed_s = max(0.0, self._unplayed_s - dropped_s)

    def played(self, length_s: float, now: float) -> None:
        """Correct the estimate: the carrier has played another `length_s`.

        All other audio is assumed to play from now on. So with 0, nothing was played meanwhile.
        """
        self._unplayed_s = max(0.0, self._unplayed_s - length_s)
        later_s = now + self._unplayed_s - self.dry_at
        self._kept = deque((begin + later_s, end + later_s) for begin, end in self._kept)
        self.dry_at += later_s

    def stand_still(self, for_s: float, now: float) -> None:
        """Shift the queue: the line has played nothing for the last `for_s`.

        No effect if the queue was empty when that began.
        """
        if self.dry_at <= now - for_s:
            return
        self._kept = deque((begin + for_s, end + for_s) for begin, end in self._kept)
        self.dry_at += for_s

    def play_again(self, length_s: float, now: float) -> None:
        """Correct the estimate: the line restarts, and plays `length_s` again before the rest."""
        self._unplayed_s += length_s
        self.played(0.0, now)

    def flush(self, now: float) -> None:
        """Drop the queue, except for audio that cannot be interrupted.

        Nothing happens without queued audio.
        """
        if self.dry_at <= now:
            return
        kept_s = sum(max(0.0, end - max(begin, now)) for begin, end in self._kept)
        self.end_s -= self.queued_s(now) - kept_s
        self.dry_at = now + kept_s
        self._unplayed_s = kept_s
        self._kept = deque([(now, self.dry_at)] if kept_s else [])
