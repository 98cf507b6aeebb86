"""An answer that one model began and another one continues: each word is passed on once.

Words are passed on as they come. A model may fail within a word, so when another model continues,
the last word is taken back unless it is certainly complete. The continuation may begin with or
without a space, repeat the last words, or start over from the beginning. So its first words are
held until this is clear, and words that were already said are dropped. Digits that may continue a
number are kept.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Final

from calls.languages.facts import languages
from fallbacks.llm_times import MAX_REPLY_S
from fallbacks.word_times import CHARACTER_S, SIGN, UNIT, sayable
from processors.answering.spoken_text_rules import SpokenText, SpokenTextRule

OVERRUN: Final = 1.25  # times the limit, for text in which no sentence ends
SAME: Final = 3  # occurrences of one sentence after which a reply ends (chosen)
SAME_WORDS: Final = 4  # shorter sentences may be repeated, such as "One moment, please."
WIDE: Final = 3  # letters per Chinese or Japanese character, by the time to say them (chosen)
_ENDS: Final = re.compile(  # a full stop after digits or a short word may belong to an abbreviation
    r"(?:[^\W\d_]{3}[.\u2026]|[!?\u061f])[\"'\u201d\u2019\u00bb)]*(?=\s)"
    r"|[\u3002\uff01\uff1f\u0964\u06d4]|\S(?=\n)"
)


class ReplyLimit:
    """Ends a reply that is too long, or repeats itself, at the end of a sentence.

    Attributes:
        reason: Why the reply was ended; empty if it was not.
    """

    def __init__(self, max_s: float = MAX_REPLY_S) -> None:
        """Limit a reply to `max_s` seconds of speech, estimated from its length."""
        self.reason = ""
        self._max_letters = max_s / CHARACTER_S
        self._written = 0  # letters before the current sentence
        self._complete: list[str] = []  # the sentences before it
        self._sentence = ""
        self._sentence_letters = 0  # of the current sentence
        self._seen: Counter[str] = Counter()

    def take(self, text: str) -> str:
        """Add the next text; return the part of it within the limit, empty once that is exceeded.

        `reason` says which limit was exceeded. A reply ends after a sentence if possible, else
        after a word; sentences are counted, because a repeated one ends the reply.
        """
        if self.reason:
            return ""
        before = len(self._sentence)
        self._sentence += text
        self._sentence_letters += _spoken_letters(text)
        start = max(0, before - 8)  # an end may have begun up to 8 characters earlier
        used = 0
        while match := _ENDS.search(self._sentence, start):
            self._count_sentence_and_judge_end(self._sentence[: match.end()])
            self._sentence, used = self._sentence[match.end() :], used + match.end()
            start = 0
            self._sentence_letters = _spoken_letters(self._sentence)
            if self.reason:
                return text[: max(0, used - before)]
        over = self._written + self._sentence_letters > OVERRUN * self._max_letters
        space = text.find(" ")  # end after a whole word; anywhere if the text is far too long
        if over and (space >= 0 or self._sentence_letters > 2 * self._max_letters):
            self.reason = "too long, without the end of a sentence"
            return text[: space + 1]
        return text

    def take_back(self, characters: int) -> None:
        """Forget the last characters, as if they had never been written.

        A reply that was ended (`reason`) stays ended.
        """
        while characters >= len(self._sentence) and self._complete:
            sentence = self._complete.pop()
            self._add_to_counts(sentence, -1)
            self._sentence = sentence + self._sentence
        self._sentence = self._sentence[: max(0, len(self._sentence) - characters)]
        self._sentence_letters = _spoken_letters(self._sentence)

    def _count_sentence_and_judge_end(self, sentence: str) -> None:
        """Count a complete sentence; set `reason` if the reply must end after it."""
        self._complete.append(sentence)
        words = self._add_to_counts(sentence, 1)
        if self._written >= self._max_letters:
            self.reason = "too long"
        elif self._seen[words] >= SAME:
            self.reason = "the same sentence again"

    def _add_to_counts(self, sentence: str, times: int) -> str:
        """Add a sentence to the counts, or subtract it with `times=-1`.

        Return its normalised words.
        """
        self._written += times * _spoken_letters(sentence)
        words = [word for token in sentence.split() if (word := sayable(token))]
        wide = _spoken_letters(sentence) - len(sentence)
        is_long = len(words) >= SAME_WORDS or wide >= 2 * WIDE * SAME_WORDS
        self._seen[" ".join(words)] += times * is_long
        return " ".join(words)


def _spoken_letters(text: str) -> int:
    """Return the length of a text, in letters of an alphabet that take the same time to say."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + (WIDE - 1) * wide


RESTART: Final = 3  # repeated first words that show a restart, even if the text then differs
LOOKED_AT: Final = 400  # words already said to compare with; no telephone answer is longer
# A word is complete when a space follows; in a script without spaces, when another letter does.
_WHOLE: Final = re.compile(rf"\s*(?:\S*?{SIGN}[^\w\s]*(?=[\w\s])|\S+\s+)")
_CLOSED: Final = re.compile(rf"(?:[.,;:!?\u2026]|{SIGN})$")  # the end of a complete word
_ONE_SIGN: Final = re.compile(SIGN)
_JOINED: Final = re.compile(rf"\s|{SIGN}")  # next to these, no space is needed
_GOES_ON: Final = re.compile(r"\d[.,:]$")  # a number may continue: 12.50, 1,200, 9:30
_DIGITS: Final = frozenset(  # in words; the attempts of one answer speak one language
    word for facts in languages().values() for word in facts.digits
)
_SENTENCE: Final = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019\u00bb)]*$")


def incomplete_length(text: str) -> int:
    """Return the length of the last word of a text if it may be incomplete; else 0."""
    if not text or text[-1].isspace():
        return 0
    last = UNIT.findall(text)[-1]
    closed = _CLOSED.search(last) and not _GOES_ON.search(last)
    return 0 if closed else len(last)


class Answer:
    """The text of one answer as it is passed on to speech, whichever rungs write it.

    Text that is not speech is removed from each attempt first, so that it is neither spoken nor
    sent to a model that continues, nor kept in the conversation.
    """

    def __init__(self, rule: SpokenTextRule | None = None, *, max_s: float = MAX_REPLY_S) -> None:
        """Create an empty answer.

        Args:
            rule: What is removed; `None` for everything that is not speech.
            max_s: The longest time that it may take to speak the answer.
        """
        self.limit = ReplyLimit(max_s)
        self.rule = rule
        self.tools: frozenset[str] = frozenset()
        """The names of the tools that the model may call."""
        self._text = SpokenText(rule)  # cleans the current attempt's text
        self._said = ""
        self._held = ""  # text of the current attempt that is not passed on yet
        self._comparing = False  # it is not clear yet whether the held text was already said
        self._complete = False
        self._joins = False  # the next words follow another attempt's, with a space if needed
        self._attempt: int | None = None
        self._others = 0  # characters of `_said` that other attempts wrote
        self._ended = False  # the current attempt's text has ended
        self.cut_off = False
        """Whether that end was within a written tool call, which cannot be run."""
        self.withdrawn = 0
        """The number of characters passed on that turned out to be no speech, since the reader set
        it to 0."""
        self.taken_back = 0
        """The number of characters that the last `start_attempt` took back, which were passed on
        before."""

    @property
    def said(self) -> str:
        """The text passed on so far, without white space at its ends."""
        return self._said.strip()

    @property
    def written_calls(self) -> tuple[str, ...]:
        """Removed text of the current attempt that may be tool calls."""
        return tuple(self._text.calls)

    @property
    def whole(self) -> str:
        """The complete words passed on, after which another attempt would continue."""
        return self._said[: len(self._said) - self._incomplete_length()].strip()

    def may_be_whole(self, attempt: int) -> bool:
        """Return whether the answer may be complete if this attempt ends without a word.

        The previous attempt may have failed between its last word and its end.
        """
        return attempt != self._attempt and self.at_sentence_end

    @property
    def at_sentence_end(self) -> bool:
        """Whether the text passed on ends with a sentence."""
        return bool(_SENTENCE.search(self.whole))

    def start_attempt(self, attempt: int) -> str:
        """Start another attempt's text; forget text of the previous one that was not passed on.

        The last word is taken back if it may be incomplete; `taken_back` says by how many
        characters.

        Returns:
            The text that the attempt must continue; if empty, it gets the first one's request.
        """
        self.taken_back = self._incomplete_length()
        self._said = self._said[: len(self._said) - self.taken_back]
        self.limit.take_back(self.taken_back)
        self._attempt, self._held, self._complete = attempt, "", False
        self._text = SpokenText(self.rule, tools=self.tools)
        self._others, self._ended, self.cut_off = len(self._said), False, False
        self._joins = True
        self._comparing = bool(self.said)
        return self.said

    def write(self, attempt: int, text: str) -> str:
        """Add an attempt's text; return the text to pass on now, which may be empty.

        Text of an attempt that is not the current one is ignored. The first words of a continuation
        are held until it is clear how many of them repeat what was said.
        """
        if attempt != self._attempt:
            return ""
        self._hold_text(self._text.write(text))
        if self._comparing:
            words = UNIT.findall("".join(_WHOLE.findall(self._held)))
            dropped = count_repeated(UNIT.findall(self._said)[-LOOKED_AT:], words, ended=False)
            if dropped is None:
                return ""
            self._drop_repeated_words(dropped)
        return self._pass_on()

    def finish(self, attempt: int) -> str:
        """End the answer; return the last text to pass on.

        The end of an attempt that is not the current one changes nothing and returns "".
        """
        if attempt != self._attempt:
            return ""
        self.end_text(attempt)
        if self._comparing:
            words = UNIT.findall(self._held)
            dropped = count_repeated(UNIT.findall(self._said)[-LOOKED_AT:], words, ended=True)
            self._drop_repeated_words(dropped or 0)
        self._complete = True
        return self._pass_on()

    def end_text(self, attempt: int) -> None:
        """End an attempt's text, before `finish`, so that `has_words` is final.

        Also sets `cut_off`. Ignored for an attempt that is not the current one, or whose text has
        ended.
        """
        if attempt == self._attempt and not self._ended:
            self._hold_text(self._text.finish())
            self._ended, self.cut_off = True, self._text.cut_off

    def has_words(self, attempt: int) -> bool:
        """Return whether the current attempt has written words that were not taken back.

        True for an attempt that is not the current one.
        """
        return attempt != self._attempt or bool(sayable(self._said[self._others :] + self._held))

    def _hold_text(self, text: str) -> None:
        """Add cleaned text to the held text, after removing what the cleaner has taken back.

        What it takes back may be longer than the held text; the rest is removed from the text that
        was passed on, and counted in `withdrawn`.
        """
        taken_back, self._text.taken_back = self._text.taken_back, 0
        from_held = min(taken_back, len(self._held))
        self._held = self._held[: len(self._held) - from_held] + text
        from_said = min(taken_back - from_held, len(self._said) - self._others)
        if from_said > 0:
            self._said = self._said[: len(self._said) - from_said]
            self._joins = self._joins or len(self._said) == self._others
            self.limit.take_back(from_said)
            self.withdrawn += from_said

    def _incomplete_length(self) -> int:
        """Return the length of the last word if it may be incomplete; else 0."""
        return 0 if self._complete else incomplete_length(self._said)

    def _drop_repeated_words(self, words: int) -> None:
        """Remove the first `words` words of the held text, and stop comparing it.

        They repeat the last words that were passed on.
        """
        self._comparing = False
        units, last = list(UNIT.finditer(self._held))[:words], UNIT.findall(self._said)[-1]
        end = units[-1].end() if units else 0
        if units and _ONE_SIGN.match(last) and units[-1][0].startswith(last):
            end = units[-1].start() + len(last)  # the marks after the word may not have been said
        self._held = self._held[end:].lstrip()

    def _pass_on(self) -> str:
        """Return the held text, as far as the limit allows, and record it as said.

        If it follows another attempt's text, a space is put between them if one is needed.
        """
        text, self._held = self._held, ""
        if not self._said:
            text = text.lstrip()
        elif text and self._joins and not _JOINED.search(self._said[-1] + text[0]):
            text = " " + text
        text = self.limit.take(text)
        self._joins = self._joins and not text
        self._said += text
        return text


def count_repeated(said: Sequence[str], words: Sequence[str], *, ended: bool) -> int | None:
    """Return how many of the first words were already said; `None` if that is not clear yet.

    Args:
        said: The words passed on so far.
        words: The first complete words of the continuation.
        ended: Whether no more words will come.
    """
    old = [spoken_word for word in said if (spoken_word := sayable(word))]
    new = [sayable(word) for word in words]
    spoken = [word for word in new if word]
    if not ended and any(_may_go_on(old[at:], spoken) for at in range(len(old))):
        return None
    repeated = next((n for n in range(len(old), 0, -1) if _is_repeated(old, spoken, n)), 0)
    if repeated == 0:
        common = _common_start(old, spoken)
        repeated = common if common >= RESTART or common == len(spoken) else 0
    return _count_with_silent(new, repeated)


def _may_go_on(old: list[str], spoken: list[str]) -> bool:
    """Return whether the new words are the beginning of the old ones, so that more may follow."""
    return len(spoken) < len(old) and old[: len(spoken)] == spoken


def _is_repeated(old: list[str], spoken: list[str], size: int) -> bool:
    """Return whether the new words repeat the last `size` words.

    Digits may continue a number instead: "5 5" is as often continued with "5 0 1" as repeated, and
    a caller who writes a number down needs each digit. The same applies to one or two characters of
    a script without spaces, which may be part of a word.
    """
    again = old[-size:]
    if again != spoken[:size]:
        return False
    figures = all(_is_figure(word) for word in again)
    # A single digit in words, such as an hour, counts as a word; two in a row are a number.
    spelled = _DIGITS.issuperset(old[-size - 1 :])
    unspaced = all(_ONE_SIGN.match(word) for word in again)
    if size == len(old) or not (figures or spelled or unspaced):
        return True
    return size >= RESTART and len(set(again)) > 1


def _is_figure(word: str) -> bool:
    return any(item.isdigit() for item in word) and not any(item.isalpha() for item in word)


def _common_start(old: list[str], spoken: list[str]) -> int:
    """Return how many words both lists begin with in common."""
    pairs = list(zip(old, spoken, strict=False))
    return next((n for n, (left, right) in enumerate(pairs) if left != right), len(pairs))


def _count_with_silent(new: list[str], repeated: int) -> int:
    """Return how many words contain `repeated` spoken ones: a dash alone is not spoken."""
    if repeated == 0:
        return 0
    ends = [n + 1 for n, word in enumerate(new) if word]
    return ends[repeated - 1]
