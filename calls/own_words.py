"""What we said ourselves in place of a voice, until it is known how much of it was heard."""

from collections import deque
from dataclasses import dataclass

from calls.line import CallerLine


@dataclass(frozen=True, slots=True)
class _OwnSentence:
    text: str
    begin_s: float  # positions on the line
    end_s: float


class OwnWords:
    """Hands on what is to be remembered once the caller has heard it, as the line says."""

    def __init__(self, line: CallerLine) -> None:
        self._line = line
        self._waiting: deque[_OwnSentence] = deque()

    @property
    def wake_at(self) -> float | None:
        """When the next of it will have been heard, or None."""
        return self._line.heard_at(self._waiting[0].end_s) if self._waiting else None

    def add(self, text: str, length_s: float) -> None:
        """Note what was just added to the line, and how long it sounds."""
        end_s = self._line.end_s
        self._waiting.append(_OwnSentence(text, end_s - length_s, end_s))

    def heard(self, now: float) -> list[str]:
        """Return what has been heard to its end since."""
        found: list[str] = []
        while (at := self.wake_at) is not None and at <= now:
            found.append(self._waiting.popleft().text)
        return found

    def cut(self, now: float) -> list[str]:
        """Return what was heard of what the caller cut short, to the whole word."""
        heard_s = self._line.heard_s(now)
        found = [_beginning(each, heard_s) for each in self._waiting]
        self._waiting.clear()
        return [each for each in found if each]


def _beginning(sentence: _OwnSentence, heard_s: float) -> str:
    words = sentence.text.split()
    length_s = max(sentence.end_s - sentence.begin_s, 0.001)
    share = min(1.0, max(0.0, (heard_s - sentence.begin_s) / length_s))
    return " ".join(words[: int(share * len(words))])
