"""What was sent to a far end and is still owed, should its line be lost: whole words of it."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

LONGEST_WORD_S: Final = 1.5  # a played stretch longer than this without an end is no word
HAIR_S: Final = 1e-6  # sums of pieces are not exact
MOST_S: Final = 10.0  # a line that takes sound for so long and echoes nothing is not believed


@dataclass(slots=True, eq=False)
class Stretch:
    """Sound up to a mark."""

    sound: bytearray = field(default_factory=bytearray)  # 16-bit PCM
    mark: str | None = None  # None: none was sent behind it yet
    played: bool = False
    ends_word: bool = False


class SentSound:
    """Keeps sound from the first word on that is not known to have been heard to its end.

    sent = SentSound(rate_hz=8000)
    sent.add(pcm)
    sent.mark("h1")
    sent.end_word()
    sent.echoed("h1")      # forgotten: the word was heard
    list(sent)             # what another line has to play first
    """

    def __init__(self, *, rate_hz: int) -> None:
        """Begin with nothing sent."""
        self._bytes_per_s = rate_hz * 2
        self._stretches: deque[Stretch] = deque()

    def __iter__(self) -> Iterator[Stretch]:
        """Go through what is owed, in order; what is thrown away meanwhile does not come."""
        for each in tuple(self._stretches):
            if each in self._stretches:
                yield each

    @property
    def length_s(self) -> float:
        """How long it takes to play."""
        return self._length(self._stretches)

    @property
    def again_s(self) -> float:
        """How much of it was played already: the beginning of a word that was cut."""
        return self._length(stretch for stretch in self._stretches if stretch.played)

    def add(self, sound: bytes) -> None:
        """Keep what is sent."""
        if not self._stretches or self._stretches[-1].mark is not None:
            self._stretches.append(Stretch())
        self._stretches[-1].sound += sound
        while self.length_s > MOST_S and len(self._stretches) > 1:
            self._stretches.popleft()

    def mark(self, name: str) -> None:
        """Note the mark that follows what was sent."""
        if self._stretches and self._stretches[-1].mark is None:
            self._stretches[-1].mark = name

    def end_word(self) -> None:
        """Note that a word, or all that is said, ends with what was sent."""
        if self._stretches:
            self._stretches[-1].ends_word = True
            self._forget_whole_words()

    def echoed(self, name: str) -> None:
        """Note that everything up to a mark was played."""
        if all(each.mark != name for each in self._stretches):
            return
        for each in self._stretches:
            each.played = True
            if each.mark == name:
                break
        self._forget_whole_words()

    def heard_but(self, left_s: float) -> None:
        """Mark everything as played but the last `left_s`, in whole stretches."""
        after_s = self.length_s
        for stretch in self._stretches:
            after_s -= len(stretch.sound) / self._bytes_per_s
            if after_s < left_s - HAIR_S:
                break
            stretch.played = True
        self._forget_whole_words()

    def clear(self) -> None:
        """Owe nothing any more."""
        self._stretches.clear()

    def _forget_whole_words(self) -> None:
        played = [each for each in self._stretches if each.played]
        whole = max((i + 1 for i, each in enumerate(played) if each.ends_word), default=0)
        if self.again_s - self._length(played[:whole]) > LONGEST_WORD_S:
            whole = len(played)
        for _ in range(whole):
            self._stretches.popleft()

    def _length(self, stretches: Iterable[Stretch]) -> float:
        return sum(len(each.sound) for each in stretches) / self._bytes_per_s
