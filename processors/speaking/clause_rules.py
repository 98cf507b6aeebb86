"""Decides how much of an unfinished sentence a voice gets.

If the model writes much faster than speech, a voice that accepts partial text gets the first few
words of a reply, or the text up to the first comma: the rest arrives before those words are spoken.
If the line is about to fall silent within such a sentence, the voice gets all complete words.
"""

import re
from typing import Final

from fallbacks.ladder import ClauseRule

QUICK_S: Final = 0.1  # to write a word, at most; three words take 0.6 s or more to speak (chosen)
HURRY_S: Final = 0.2  # before the audio on the line ends: a voice continues in 0.1 to 0.2 s
COMMA_WORDS: Final = 2  # at least, up to a comma: "Yes," alone is over before the rest arrives
# A clause ends only after letters, so that no number, abbreviation or address is split.
_LAST: Final = re.compile(r"^[^\W\d_]+(?:['\u2019-][^\W\d_]+)*[,;:]?$")
_OPEN: Final = frozenset('"\u201c\u201d\u201e\u00ab\u00bb()[]<>*')


class FirstClause:
    """Finds the first clause of one reply.

    clause = FirstClause(ClauseRule(words=3))
    clause.end("We open at ni", now)  # 11: "We open at "
    """

    def __init__(self, rule: ClauseRule | None) -> None:
        """Create it for one reply; without a rule, the voice gets no part of a sentence."""
        self._rule = rule
        self._began_at: float | None = None

    def end(self, text: str, now: float) -> int:
        """Return how many characters of the text the voice may get now; 0 for none.

        The model's pace is measured from the first call with text. Only whole words count.
        """
        if self._rule is None or not text.strip():
            return 0
        if self._began_at is None:
            self._began_at = now
        complete = text[: complete_end(text)]
        words = complete.split()
        if not words or (now - self._began_at) / len(words) > QUICK_S:
            return 0
        commas = (n for n, word in enumerate(words, 1) if word[-1] in ",;:" and n >= COMMA_WORDS)
        if comma := next(commas, 0):
            return _end_of(complete, comma)
        enough = self._rule.words is not None and len(words) >= self._rule.words
        return len(complete) if enough and _may_end(complete) else 0


def complete_end(text: str) -> int:
    """Return the end of the last complete word and its space; a word at the end may still grow."""
    return len(text) if text[-1:].isspace() else text.rfind(" ") + 1


def hurried_end(text: str) -> int:
    """Return how many characters a voice may get if the line is about to fall silent."""
    end = complete_end(text)
    return end if _may_end(text[:end]) else 0


def _end_of(text: str, words: int) -> int:
    """Return where the first `words` words end; 0 if a clause cannot end there."""
    ends = [match.end() for match in re.finditer(r"\S+\s+", text)]
    end = ends[words - 1]
    return end if _may_end(text[:end]) else 0


def _may_end(clause: str) -> bool:
    """Return whether a voice may pause after a clause: it ends with a word, outside quotes."""
    words = clause.split()
    return bool(words) and bool(_LAST.match(words[-1])) and _OPEN.isdisjoint(clause)
