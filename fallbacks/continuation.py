"""An answer that one model began and another goes on with: each word handed on once.

Only whole words are handed on, so that a model that dies inside a word leaves none half said. A
model that goes on may begin with or without a space, repeat the last words, or start over from the
top: its first words are held until it is clear what they are, and what was said already is dropped.
"""

import re
from collections.abc import Sequence
from typing import Final

from fallbacks.ledger import sayable

RESTART: Final = 3  # words from the top that make a restart, though it then goes another way
LOOKED_AT: Final = 400  # words of what was said; no telephone answer is longer
# A word is whole when a space follows; a sign of Chinese or Japanese is whole by itself.
_WHOLE: Final = re.compile(r"\s*(?:\S*?[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]|\S+\s+)")


class Answer:
    """What is handed on to speech of one answer, whoever writes it."""

    def __init__(self) -> None:
        self._said = ""
        self._held = ""  # of the present attempt: half a word, or words not yet judged
        self._judging = False
        self._attempt: int | None = None

    @property
    def said(self) -> str:
        """All that was handed on, without white space at its ends."""
        return self._said.strip()

    def begin(self, attempt: int) -> str:
        """Let another attempt write on; what is held of the one before is forgotten.

        Returns:
            What it goes on from: empty means that it is asked the same as the first.
        """
        self._attempt, self._held = attempt, ""
        self._judging = bool(self.said)
        return self.said

    def write(self, attempt: int, text: str) -> str:
        """Take in what an attempt wrote, and return what to hand on now, often nothing."""
        if attempt != self._attempt:
            return ""
        self._held += text
        whole = "".join(_WHOLE.findall(self._held))
        if self._judging:
            words = whole.split()
            dropped = judged(self.said.split()[-LOOKED_AT:], words, ended=False)
            if dropped is None:
                return ""
            self._drop(dropped)
            whole = "".join(_WHOLE.findall(self._held))
        return self._hand_on(whole)

    def finish(self, attempt: int) -> str:
        """Take in that the answer is complete, and return what is left to hand on."""
        if attempt != self._attempt:
            return ""
        if self._judging:
            dropped = judged(self.said.split()[-LOOKED_AT:], self._held.split(), ended=True)
            self._drop(dropped or 0)
        return self._hand_on(self._held)

    def _drop(self, words: int) -> None:
        self._judging = False
        self._held = self._held.lstrip()
        for _ in range(words):
            self._held = self._held[len(self._held.split(maxsplit=1)[0]) :].lstrip()

    def _hand_on(self, text: str) -> str:
        self._held = self._held[len(text) :]
        if not self._said:
            text = text.lstrip()
        elif text and not self._said[-1].isspace() and not text[0].isspace():
            text = " " + text
        self._said += text
        return text


def judged(said: Sequence[str], words: Sequence[str], *, ended: bool) -> int | None:
    """Return how many of the first words were said already, or None: too early to tell.

    Args:
        said: The words handed on so far.
        words: The first whole words of the answer that goes on.
        ended: No more words will come.
    """
    old = [each for word in said if (each := sayable(word))]
    new = [sayable(word) for word in words]
    spoken = [each for each in new if each]
    if not ended and any(_may_go_on(old[at:], spoken) for at in range(len(old))):
        return None
    repeated = next((n for n in range(len(old), 0, -1) if old[-n:] == spoken[:n]), 0)
    if repeated == 0:
        top = _in_common(old, spoken)
        repeated = top if top >= RESTART or top == len(spoken) else 0
    return _with_silent(new, repeated)


def _may_go_on(old: list[str], spoken: list[str]) -> bool:
    """Whether the answer so far is the beginning of these words, and no more."""
    return len(spoken) < len(old) and old[: len(spoken)] == spoken


def _in_common(old: list[str], spoken: list[str]) -> int:
    pairs = zip(old, spoken, strict=False)
    return next((n for n, (left, right) in enumerate(pairs) if left != right), len(spoken))


def _with_silent(new: list[str], repeated: int) -> int:
    """How many words hold so many spoken ones: dashes among them are no words of their own."""
    if repeated == 0:
        return 0
    ends = [n + 1 for n, each in enumerate(new) if each]
    return ends[repeated - 1]
