"""An excerpt of the words of a call: its beginning and its end, one utterance per line."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from calls.caller import clean

# Of the beginning, where callers say who they are and what they want.
HEAD_CHARACTERS: Final = 2_000
# Of the end, where agreements are made; beginning and end are together 2,000 tokens (chosen).
TAIL_CHARACTERS: Final = 6_000
LINE_CHARACTERS: Final = 600  # of one utterance, at most
LEFT_OUT: Final = "[…]"


class Excerpt:
    """Collects the words of both sides; its size is bounded.

    Attributes:
        spoke: Whether the other party has said something.
    """

    def __init__(self) -> None:
        self.spoke = False
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_room = HEAD_CHARACTERS
        self._tail_room = TAIL_CHARACTERS
        self._cut = False

    @property
    def text(self) -> str:
        """The words of both sides; if there are too many, the middle is left out."""
        between = [LEFT_OUT] if self._cut else []
        return "\n".join((*self._head, *between, *self._tail))

    def add(self, speaker: str, said: str) -> None:
        """Add an utterance, cut to `LINE_CHARACTERS`, unless it has no words.

        The beginning is never dropped; of the rest, the oldest utterances are. `speaker` is Person
        or Agent.
        """
        words = clean(said, LINE_CHARACTERS)
        if not words:
            return
        self.spoke = self.spoke or speaker == "Person"
        line = f"{speaker}: {words}"
        if not self._tail and len(line) <= self._head_room:
            self._head.append(line)
            self._head_room -= len(line)
            return
        self._tail.append(line)
        self._tail_room -= len(line)
        while self._tail_room < 0:
            self._tail_room += len(self._tail.popleft())
            self._cut = True

    def following(self, record: Iterable[tuple[str, str]]) -> "Excerpt":
        """Return an excerpt of the words on record, by speaker, and then of this one; see `joined`.

        This excerpt stays as it is.
        """
        whole = Excerpt()
        for speaker, said in record:
            whole.add(speaker, said)
        before, own = ([*it._head, *it._tail] for it in (whole, self))  # noqa: SLF001 - of this class
        for line in joined(before, own)[len(before) :]:
            whole.add(*line.split(": ", 1))
        whole._cut |= self._cut
        return whole


def joined(before: list[str], own: list[str]) -> list[str]:
    """Return both in a row; an end of `before` with which `own` begins is there once."""
    most = min(len(before), len(own))
    shared = next(n for n in range(most, -1, -1) if before[len(before) - n :] == own[:n])
    return [*before, *own[shared:]]
