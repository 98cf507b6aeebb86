"""What stands behind sound of which the far end has not yet said that it was played."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipecat.frames.frames import Frame, TTSTextFrame


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame: Frame
    mark: str
    give_up_at: float


class Unheard:
    """Keeps words, and what follows them in order, until the mark behind their sound is echoed.

    Nothing overtakes anything. A far end that echoes no marks is waited for once; from then on
    nothing is kept until it echoes one.

    Attributes:
        given_up: The far end does not seem to echo marks.
    """

    def __init__(self) -> None:
        self.given_up = False
        self._waiting: deque[_Waiting] = deque()

    @property
    def last_mark(self) -> str | None:
        """The mark that the last of it waits for, or None when nothing waits."""
        return self._waiting[-1].mark if self._waiting else None

    def keep(self, frame: Frame, mark: str, give_up_at: float) -> None:
        """Keep a frame until its mark is echoed, or until a moment."""
        self._waiting.append(_Waiting(frame, mark, give_up_at))

    def heard(self, pending: Callable[[str], bool], now: float) -> list[Frame]:
        """Return, once, what need not wait any longer, in order."""
        if self._waiting and self._waiting[0].give_up_at <= now and pending(self._waiting[0].mark):
            self.given_up = True
        found: list[Frame] = []
        while self._waiting and (self.given_up or not pending(self._waiting[0].mark)):
            found.append(self._waiting.popleft().frame)
        return found

    def postpone(self, give_up_at: float) -> None:
        """Wait longer for what waits: the line was lost, and plays again what it owes."""
        self._waiting = deque(
            replace(each, give_up_at=max(each.give_up_at, give_up_at)) for each in self._waiting
        )

    def drop(self) -> None:
        """Forget what a barge-in drops: that sound will not be played."""
        self._waiting = deque(each for each in self._waiting if not each.frame.interruptible)

    def rest(self, *, words: bool) -> list[Frame]:
        """Return, once, all that still waits; without the words when nobody heard them."""
        frames = [each.frame for each in self._waiting]
        self._waiting.clear()
        return [each for each in frames if words or not isinstance(each, TTSTextFrame)]
