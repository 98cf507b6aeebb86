"""An answer that one model began and another goes on with: each word handed on once.

Words are handed on as they come. When another model goes on, the last one is taken back unless it
was whole: a model may die inside a word. The one that goes on may begin with or without a space,
repeat the last words, or start over from the top: its first words are held until it is clear what
they are, and what was said already is dropped; of a number that goes on, nothing.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Final

from fallbacks.word_times import CHARACTER_S, SIGN, UNIT, sayable
from processors.answering.spoken_text_rules import SpokenText, SpokenTextRule

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


RESTART: Final = 3  # words from the top that make a restart, though it then goes another way
LOOKED_AT: Final = 400  # words of what was said; no telephone answer is longer
# A word is whole when a space follows; a sign of a script without blanks, when a letter does.
_WHOLE: Final = re.compile(rf"\s*(?:\S*?{SIGN}[^\w\s]*(?=[\w\s])|\S+\s+)")
_CLOSED: Final = re.compile(rf"(?:[.,;:!?\u2026]|{SIGN})$")  # nothing more belongs to this word
_ONE_SIGN: Final = re.compile(SIGN)
_JOINED: Final = re.compile(rf"\s|{SIGN}")  # no space is missing next to these
_GOES_ON: Final = re.compile(r"\d[.,:]$")  # but to a number: 12.50, 1,200, 9:30
# The digits as people spell them out, in the languages of the fallback utterances.
_DIGITS: Final = frozenset(
    {
        *("zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        *("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
        *("ноль", "нуль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь"),
        "девять",
    }
)
_SENTENCE: Final = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019\u00bb)]*$")


class Answer:
    """What is handed on to speech of one answer, whichever rungs write it.

    Text that is no speech is removed from each attempt first, so no standby, voice or later request
    sees it.
    """

    def __init__(self, rule: SpokenTextRule | None = None, *, max_s: float = MAX_S) -> None:
        """Begin without a word.

        Args:
            rule: What is removed; None: all that is no speech.
            max_s: How long it may take to speak.
        """
        self.limit = ReplyLimit(max_s)
        self.rule = rule
        self._text = SpokenText(rule)  # of the present attempt
        self._said = ""
        self._held = ""  # of the present attempt: words not yet judged
        self._judging = False
        self._complete = False
        self._joins = False  # the next words follow another attempt's: with one space between
        self._attempt: int | None = None
        self.taken_back = 0
        """Characters, handed on before, that the last `begin` took back."""

    @property
    def said(self) -> str:
        """All that was handed on, without white space at its ends."""
        return self._said.strip()

    @property
    def written_calls(self) -> tuple[str, ...]:
        """The text of the present attempt that may be tool calls."""
        return tuple(self._text.calls)

    @property
    def whole(self) -> str:
        """What another attempt would go on from: the whole words that were handed on."""
        return self._said[: len(self._said) - self._half()].strip()

    def may_be_whole(self, attempt: int) -> bool:
        """Say whether an attempt that ends without a word may be right: nothing is missing.

        The one before it may have died between its last word and its end.
        """
        return attempt != self._attempt and self.at_sentence_end

    @property
    def at_sentence_end(self) -> bool:
        """Whether what was handed on ends with a sentence."""
        return bool(_SENTENCE.search(self.whole))

    def begin(self, attempt: int) -> str:
        """Let another attempt write on; what is held of the one before is forgotten.

        Returns:
            What it goes on from: empty means that it is asked the same as the first.
        """
        self.taken_back = self._half()
        self._said = self._said[: len(self._said) - self.taken_back]
        self.limit.take_back(self.taken_back)
        self._attempt, self._held, self._complete = attempt, "", False
        self._text = SpokenText(self.rule)
        self._joins = True
        self._judging = bool(self.said)
        return self.said

    def write(self, attempt: int, text: str) -> str:
        """Add what an attempt wrote; return what to hand on now, sometimes nothing."""
        if attempt != self._attempt:
            return ""
        self._held += self._text.write(text)
        if self._judging:
            words = UNIT.findall("".join(_WHOLE.findall(self._held)))
            dropped = judged(UNIT.findall(self._said)[-LOOKED_AT:], words, ended=False)
            if dropped is None:
                return ""
            self._drop(dropped)
        return self._hand_on()

    def finish(self, attempt: int) -> str:
        """Note that the answer is complete; return what is left to hand on."""
        if attempt != self._attempt:
            return ""
        self._held += self._text.finish()
        if self._judging:
            words = UNIT.findall(self._held)
            dropped = judged(UNIT.findall(self._said)[-LOOKED_AT:], words, ended=True)
            self._drop(dropped or 0)
        self._complete = True
        return self._hand_on()

    def _half(self) -> int:
        """Return how long the last word is, if it may be half of one."""
        if self._complete or not self._said or self._said[-1].isspace():
            return 0
        last = UNIT.findall(self._said)[-1]
        closed = _CLOSED.search(last) and not _GOES_ON.search(last)
        return 0 if closed else len(last)

    def _drop(self, words: int) -> None:
        self._judging = False
        units, last = list(UNIT.finditer(self._held))[:words], UNIT.findall(self._said)[-1]
        end = units[-1].end() if units else 0
        if units and _ONE_SIGN.match(last) and units[-1][0].startswith(last):
            end = units[-1].start() + len(last)  # the one before may have died ahead of its marks
        self._held = self._held[end:].lstrip()

    def _hand_on(self) -> str:
        text, self._held = self._held, ""
        if not self._said:
            text = text.lstrip()
        elif text and self._joins and not _JOINED.search(self._said[-1] + text[0]):
            text = " " + text
        text = self.limit.take(text)
        self._joins = self._joins and not text
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
    spoken = [word for word in new if word]
    if not ended and any(_may_go_on(old[at:], spoken) for at in range(len(old))):
        return None
    repeated = next((n for n in range(len(old), 0, -1) if _is_repeated(old, spoken, n)), 0)
    if repeated == 0:
        top = _in_common(old, spoken)
        repeated = top if top >= RESTART or top == len(spoken) else 0
    return _with_silent(new, repeated)


def _may_go_on(old: list[str], spoken: list[str]) -> bool:
    """Whether the answer so far is the beginning of these words, and no more."""
    return len(spoken) < len(old) and old[: len(spoken)] == spoken


def _is_repeated(old: list[str], spoken: list[str], size: int) -> bool:
    """Whether the answer begins with the last so many words once more.

    Numbers may be what comes next: "5 5" is followed by "5 0 1" as often as it is repeated by it,
    and a caller who writes a number down needs each digit. So may one or two signs of a script
    without blanks, which are less than a word.
    """
    again = old[-size:]
    if again != spoken[:size]:
        return False
    figures = all(_is_figure(word) for word in again)
    # One digit in words, such as an hour, is a word like others; with one before it, a number.
    spelled = _DIGITS.issuperset(old[-size - 1 :])
    unspaced = all(_ONE_SIGN.match(word) for word in again)
    if size == len(old) or not (figures or spelled or unspaced):
        return True
    return size >= RESTART and len(set(again)) > 1


def _is_figure(word: str) -> bool:
    return any(item.isdigit() for item in word) and not any(item.isalpha() for item in word)


def _in_common(old: list[str], spoken: list[str]) -> int:
    pairs = list(zip(old, spoken, strict=False))
    return next((n for n, (left, right) in enumerate(pairs) if left != right), len(pairs))


def _with_silent(new: list[str], repeated: int) -> int:
    """How many words hold so many spoken ones: dashes among them are no words of their own."""
    if repeated == 0:
        return 0
    ends = [n + 1 for n, each in enumerate(new) if each]
    return ends[repeated - 1]
