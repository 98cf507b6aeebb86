"""Limits the length of a reply: some models write without end, or repeat themselves."""

import re
import unicodedata
from collections import Counter
from typing import Final

from fallbacks.word_times import CHARACTER_S, sayable

MAX_S: Final = 60.0  # of speech; the default
OVERRUN: Final = 1.25  # of the limit, for text in which no sentence ends
SAME: Final = 3  # times that a sentence may be written; the reply ends with the last (chosen)
SAME_WORDS: Final = 4  # shorter sentences may be repeated, such as "One moment, please."
WIDE: Final = 3  # letters that take as long to say as a Chinese or Japanese character (chosen)
_ENDS: Final = re.compile(  # a full stop behind figures or a short word may be of an abbreviation
    r"(?:[^\W\d_]{3}[.\u2026]|[!?\u061f])[\"'\u201d\u2019\u00bb)]*(?=\s)"
    r"|[\u3002\uff01\uff1f\u0964\u06d4]|\S(?=\n)"
)


class ReplyLimit:
    """Ends a reply with a sentence.

    Attributes:
        reason: Why the reply was ended; empty if it was not.
    """

    def __init__(self, max_s: float = MAX_S) -> None:
        """End replies that would take longer than this to speak, estimated from their length."""
        self.reason = ""
        self._most = max_s / CHARACTER_S
        self._written = 0  # letters before the present sentence
        self._sentence = ""
        self._size = 0  # its letters
        self._seen: Counter[str] = Counter()

    def take(self, text: str) -> str:
        """Return the part of the next text that still belongs to the reply."""
        if self.reason:
            return ""
        before = len(self._sentence)
        self._sentence += text
        self._size += _letters(text)
        start = max(0, before - 8)  # characters that an end may have, begun in the text before
        used = 0
        while match := _ENDS.search(self._sentence, start):
            self._judge(self._sentence[: match.end()])
            self._sentence, used = self._sentence[match.end() :], used + match.end()
            start = 0
            self._size = _letters(self._sentence)
            if self.reason:
                return text[: max(0, used - before)]
        over = self._written + self._size > OVERRUN * self._most
        space = text.find(" ")
        if over and (space >= 0 or self._size > 2 * self._most):
            self.reason = "too long, without the end of a sentence"
            return text[: space + 1]
        return text

    def take_back(self, characters: int) -> None:
        """Forget the last characters."""
        self._sentence = self._sentence[: max(0, len(self._sentence) - characters)]

    def _judge(self, sentence: str) -> None:
        self._written += _letters(sentence)
        words = [word for token in sentence.split() if (word := sayable(token))]
        wide = _letters(sentence) - len(sentence)
        self._seen[" ".join(words)] += len(words) >= SAME_WORDS or wide >= 2 * WIDE * SAME_WORDS
        if self._written >= self._most:
            self.reason = "too long"
        elif self._seen[" ".join(words)] >= SAME:
            self.reason = "the same sentence again"


def _letters(text: str) -> int:
    """Return how many letters of an alphabet take as long to say."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + (WIDE - 1) * wide
