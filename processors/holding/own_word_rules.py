"""What we said ourselves in place of a voice, until it is known how much of it was heard."""

from collections import deque
from dataclasses import dataclass, replace

from calls.line import CallerLine


@dataclass(frozen=True, slots=True)
class _OwnSentence:
    text: str
    begin_s: float  # positions on the line
    end_s: float
    must: bool  # the caller may not cut it short


class OwnWords:
    """Hands on what is to be remembered once the caller has heard it, as the line says."""

    def __init__(self, line: CallerLine) -> None:
        self._line = line
        self._waiting: deque[_OwnSentence] = deque()

    @property
    def wake_at(self) -> float | None:
        """When the next of it will have been heard, or None."""
        return self._line.heard_at(self._waiting[0].end_s) if self._waiting else None

    def add(self, text: str, length_s: float, *, must: bool = False) -> None:
        """Note what was just added to the line, how long it sounds, and whether it stays there."""
        end_s = self._line.end_s
        self._waiting.append(_OwnSentence(text, end_s - length_s, end_s, must))

    def heard(self, now: float) -> list[str]:
        """Return what has been heard to its end since."""
        found: list[str] = []
        while (at := self.wake_at) is not None and at <= now:
            found.append(self._waiting.popleft().text)
        return found

    def cut(self, now: float) -> list[str]:
        """Return what was heard of what the caller cut short, to the whole word.

        What they may not cut short waits on: the line plays it, and sooner if it dropped the rest.
        """
        heard_s, end_s = self._line.heard_s(now), self._line.end_s
        found = [_beginning(each, heard_s) for each in self._waiting if not each.must]
        kept = [replace(each, end_s=min(each.end_s, end_s)) for each in self._waiting if each.must]
        self._waiting = deque(kept)
        return [each for each in found if each]


def _beginning(sentence: _OwnSentence, heard_s: float) -> str:
    words = sentence.text.split()
    length_s = max(sentence.end_s - sentence.begin_s, 0.001)
    share = min(1.0, max(0.0, (heard_s - sentence.begin_s) / length_s))
    return " ".join(words[: int(share * len(words))])
