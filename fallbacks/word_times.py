"""Word times of an utterance: as the voice reports them, or estimated from the letters.

Times are in seconds of the utterance's audio, from its first sample, whichever rungs spoke its
parts. Each rung's own times are shifted by the length of the audio kept from earlier rungs.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

CHARACTER_S: Final = 0.065  # speech per character, including spaces: about 150 words a minute
MIN_LETTER_S: Final = 0.025  # least speech per letter (usual: 0.07 s); with less, it was cut off
UNSURE_S: Final = 0.1  # tolerance of word times: twice the error seen with both voices (chosen)
_LOOK_AHEAD_WORDS: Final = 3  # words to look ahead when a voice says something other than the text
_SIGNS: Final = frozenset("%‰&+=°№")  # spoken as a word, in addition to currency signs
_LEFT_OUT_LETTERS: Final = 4  # fewer letters may be spoken within their neighbours' times (chosen)
_DIGIT: Final = re.compile(r"\d")
_EXTRA_LETTERS: Final = 3  # of a character that is spoken as a word or syllable (chosen)
_LEFT_OUT_SHARE: Final = 0.25  # of the usual time of letters; in less they cannot have been spoken
_UNSEEN_SHARE: Final = 0.4  # of it, if the voice reported nothing there: no voice is that fast
_ABBREVIATION_LETTERS: Final = 4  # at most (chosen)
_MAX_UNMATCHED: Final = 16  # reported pieces to remember: more than a run needs (chosen)
# An SSML or HTML tag, or a model's special token: no voice speaks it.
_TAG: Final = r"<(?:[/|\uff5c])?[A-Za-z][^<>\n]*>"
_TAGS: Final = re.compile(_TAG)
# Chinese and Japanese, Thai, Lao, Burmese and Khmer put no spaces between words.
_UNSPACED: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3001-\u30ff\u3400-\u9fff\uff00-\uffef"
    r"\U00020000-\U0003ffff"
)
SIGN: Final = f"[{_UNSPACED}]"
"""A character of a script without spaces; with the marks after it, it counts as a word."""


def _unit_pattern(whole: str = "") -> re.Pattern[str]:
    """Return a pattern for words, and for characters of scripts without spaces.

    Matches of `whole` are not divided.
    """
    return re.compile(rf"{SIGN}(?:{whole}[^\w\s])*|(?:{whole}[^\s{_UNSPACED}])+")


_LONG: Final = re.compile(rf"\d|{SIGN}")
UNIT: Final = _unit_pattern()
_WORD: Final = _unit_pattern(f"{_TAG}|")
_RULE: Final = re.compile(r"([+=])\1+")  # a drawn line, not spoken


def sayable(word: str) -> str:
    """Return the spoken part of a word: letters, digits and spoken signs, in lower case.

    A sign may stand alone, as in "25 €". If it did not count, it would be lost when a voice fails
    after the number.
    """
    if word.isalnum():
        return word.casefold()
    written = _RULE.sub("", _TAGS.sub("", word)).casefold()
    return "".join(item for item in written if item.isalnum() or is_sign(item))


def letters_of(word: str) -> str:
    """Return a word's letters and digits, in lower case, for comparison between recognisers."""
    return "".join(item for item in word.casefold() if item.isalnum())


def is_sign(character: str) -> bool:
    """Return whether a character is spoken although it is not a letter."""
    return character in _SIGNS or unicodedata.category(character) == "Sc"


@dataclass(slots=True)
class TimedWord:
    """A word of our text, and when it is spoken, if its voice has reported that."""

    text: str
    letters: str  # the spoken part
    offset: int = 0  # the number of characters before it, with one more for each word
    joined: bool = False  # there is no space before it
    start_s: float | None = None
    end_s: float | None = None


def as_written(words: Sequence[TimedWord], index: int) -> tuple[str, bool]:
    """Return a word as it is in the text, and whether the returned text has its own spaces.

    It has its own spaces if the word has no space before or after it.
    """
    word, next_words = words[index], words[index + 1 : index + 2]
    if not word.joined and not any(other.joined for other in next_words):
        return word.text, False
    return f"{'' if word.joined else ' '}{word.text}", True


class WordFollower:
    """Finds the words that a voice reports in our text.

    A voice may split our words, join them or say them differently ("3" as "three"). So the reported
    words are matched letter by letter. After a difference, matching continues at the next word that
    is reported as written: one of the next few words, or two in a row anywhere. The words before it
    were left out if there was no time to speak them. A number that the voice may have reported in
    words does not count.
    """

    def __init__(self, words: Sequence[TimedWord], *, first: int, from_s: float = 0.0) -> None:
        """Start with the word `first` of `words`, which may grow, and the time `from_s`."""
        self.begun = False  # a reported word has matched
        self.left_out = False  # the voice has skipped words; the rest is not followed
        self._writes_digits = False  # it has reported a number as it is written
        self._spoken_s = from_s  # up to here it has spoken the text as written
        # The reported letters since the last match, and when each piece of them begins.
        self._unmatched: deque[tuple[str, float]] = deque(maxlen=_MAX_UNMATCHED)
        self._words = words
        self._current = first  # the word that the voice has reached
        self._matched = 0  # the number of letters of that word that have matched

    def follow(self, said: str, *, start_s: float, end_s: float | None) -> None:
        """Match a reported word, and record its times in `words`.

        Nothing is matched after the last word, or once the voice has left words out.
        """
        letters = sayable(said)
        while letters and self._current < len(self._words) and not self.left_out:
            letters = self._match_letters(letters, start_s=start_s, end_s=end_s)

    def lacks_end(self, audible_s: float) -> bool:
        """Return whether a voice that has ended had no time to speak the words without a match.

        If the last words that it reported are the last ones of the text, the words before those are
        judged.

        Args:
            audible_s: The end of its audible audio, in seconds.
        """
        rest = "".join(word.letters for word in self._words[self._current :])[self._matched :]
        begun = self.begun
        for reported, since_s in self._unmatched_tails():
            if rest.endswith(reported) and rest != reported:
                begun, rest, audible_s = True, rest.removesuffix(reported), since_s
                break
        return begun and self._had_no_time(rest, audible_s)

    def _match_letters(self, letters: str, *, start_s: float, end_s: float | None) -> str:
        """Match the letters against the current word, or look for a later word after a difference.

        Returns the letters that are still to be matched, perhaps against another word.
        """
        word = self._words[self._current]
        expected = word.letters[self._matched :]
        same = min(len(expected), len(letters))
        if expected[:same] != letters[:same]:
            return self._resume_at_match(letters, start_s)
        word.start_s = start_s if word.start_s is None else word.start_s
        self._matched += same
        self._unmatched.clear()
        self._spoken_s = start_s if end_s is None else end_s
        self._writes_digits = self._writes_digits or bool(_DIGIT.search(letters[:same]))
        if same == len(expected):
            # A word without letters, such as a dash, takes no time.
            word.end_s = end_s if expected else start_s
            self._current, self._matched = self._current + 1, 0
        self.begun = True
        return letters[same:]

    def _unmatched_tails(self) -> Iterator[tuple[str, float]]:
        """Yield the last unmatched letters and when they begin: first all, then fewer pieces."""
        pieces = list(self._unmatched)
        for at, (_, since_s) in enumerate(pieces):
            yield "".join(letters for letters, _ in pieces[at:]), since_s

    def _find_ahead(self, letters: str) -> int | None:
        """Return the index of the next word with these letters, a few words ahead; else `None`."""
        start = self._current + 1
        ahead = range(start, min(start + _LOOK_AHEAD_WORDS, len(self._words)))
        return next((n for n in ahead if self._words[n].letters == letters), None)

    def _find_run(self, letters: str) -> int | None:
        """Return the index of the next word from which the text goes on as the letters do.

        `None` if there is none, or if the letters are too few to tell.
        """
        if len(letters) < _LEFT_OUT_LETTERS:
            return None
        ahead = range(self._current + 1, len(self._words))
        return next((n for n in ahead if self._begins_at(n, letters)), None)

    def _begins_at(self, index: int, letters: str) -> bool:
        """Return whether the letters are those of the word at `index` and of the text after it."""
        first = self._words[index].letters
        if not first or not letters.startswith(first) or len(letters) == len(first):
            return False
        at = len(first)
        while at < len(letters) and (index := index + 1) < len(self._words):
            part = self._words[index].letters
            if part[: len(letters) - at] != letters[at : at + len(part)]:
                return False
            at += len(part)
        return at >= len(letters)

    def _resume_at_match(self, letters: str, start_s: float) -> str:
        """Resume at the next word that matches; without one, keep the letters for the next report.

        Returns the letters to match there; empty if none matches, or if the voice left words out.
        In the second case, nothing more is matched.
        """
        word = self._words[self._current]
        is_expansion = not self._matched and _may_expand_abbreviation(letters, word)
        self._unmatched.append((letters, start_s))
        whole, since_s = next(self._unmatched_tails())  # a word may be reported in several pieces
        found = None if is_expansion else self._find_ahead(whole)
        if found is None or not self._leaves_out(found, whole, since_s):
            if found is None and not is_expansion:
                found, whole, since_s = self._find_ahead(letters), letters, start_s
            if found is not None:
                return self._resume_at_word(found, whole, since_s)
            word.start_s = start_s if word.start_s is None else word.start_s
        runs = ((self._find_run(tail), tail, at_s) for tail, at_s in self._unmatched_tails())
        if found is not None or any(
            n and self._leaves_out(n, tail, at_s) for n, tail, at_s in runs
        ):
            # An earlier piece of the report gave this word a start, which was only a guess.
            self.left_out, word.start_s = True, None
        return ""

    def _resume_at_word(self, found: int, letters: str, since_s: float) -> str:
        """Go on at a later word, with all words before it ended at `since_s`.

        Returns the letters to match there.
        """
        for word in self._words[self._current : found]:
            word.start_s = since_s if word.start_s is None else word.start_s
            word.end_s = since_s
        self._current, self._matched, self.begun = found, 0, True
        self._unmatched.clear()
        self._words[found].start_s = since_s
        return letters

    def _leaves_out(self, found: int, reported: str, start_s: float) -> bool:
        """Return whether there was no time to speak the words before the one at `found`.

        A number does not count, and what follows it, unless the voice reports numbers as written.
        """
        is_far = found > self._current + _LOOK_AHEAD_WORDS
        if self._matched and not is_far:  # a partial word before it may be a guess
            return False
        skipped = self._words[self._current + bool(self._matched) : found]
        if not self._writes_digits and not _DIGIT.search(reported):
            skipped = list(takewhile(lambda word: not _DIGIT.search(word.letters), skipped))
        return self._had_no_time("".join(word.letters for word in skipped), start_s, len(skipped))

    def _had_no_time(self, letters: str, until_s: float, spaces: int = 0) -> bool:
        """Return whether letters that have no match cannot have been spoken by then."""
        reported = self._unmatched
        is_silent = not reported or (reported[0][1] >= until_s and len(reported) < _MAX_UNMATCHED)
        share = _UNSEEN_SHARE if is_silent else _LEFT_OUT_SHARE
        weight = len(letters) + _EXTRA_LETTERS * len(_LONG.findall(letters))
        least_s = share * CHARACTER_S * (weight + spaces)
        return weight >= _LEFT_OUT_LETTERS and until_s - self._spoken_s < least_s


def _may_expand_abbreviation(reported: str, word: TimedWord) -> bool:
    """Return whether a voice may have reported an abbreviation, such as "St.", in full."""
    letters = iter(reported)
    is_short = word.text.endswith(".") and len(word.letters) <= _ABBREVIATION_LETTERS
    return is_short and word.letters[:1] == reported[:1] and all(x in letters for x in word.letters)


class WordTimes:
    """The words of one utterance and their times.

    Attributes:
        words: All words of the utterance.
        first: The first word of the current voice.
        base_s: Where the current voice's audio begins.
        timed: Whether the current voice reports word times; if not, they are estimated.
        follower: Matches the current voice's reported words.
        filled: The words before this one have times.
    """

    def __init__(self) -> None:
        self.words: list[TimedWord] = []
        self.follower = WordFollower(self.words, first=0)
        self.first = 0
        self.base_s = 0.0
        self.timed = True
        self.filled = 0
        self._open = False  # the next text may continue the last word

    def add_text(self, text: str, *, may_join: bool) -> None:
        """Add text, in pieces of any size.

        Args:
            text: The next piece.
            may_join: Whether the last word may still grow, because it was not spoken yet.
        """
        grows = self._open and may_join and not text[:1].isspace()
        joined = self.words[-1].text + text if grows else text
        pieces = list(_WORD.finditer(joined))
        if grows and pieces:
            self.words[-1].text = pieces.pop(0)[0]
            self.words[-1].letters = sayable(self.words[-1].text)
        for piece in pieces:
            word = TimedWord(piece[0], sayable(piece[0]), self._offset_of_word(len(self.words)))
            word.joined = piece.start() > 0 and not joined[piece.start() - 1].isspace()
            self.words.append(word)
        self._open = text[-1:] != "" and not text[-1].isspace()

    def begin_voice(self, first: int, base_s: float, *, timed: bool) -> WordFollower:
        """Start another voice at word `first`, and return the follower of its reports.

        The times of earlier words stay as they are now; those of all other words are cleared.
        """
        for index in range(self.first, first):
            self.words[index].start_s = self.start_s(index)
            self.words[index].end_s = self.end_s(index)
        for word in self.words[first:]:
            word.start_s = word.end_s = None
        self.first, self.base_s, self.timed, self.filled = first, base_s, timed, first
        self.follower = WordFollower(self.words, first=first, from_s=base_s)
        return self.follower

    def text_from(self, index: int, last: int | None = None) -> str:
        """Return the text from a word on, up to but without the word `last`."""
        words = self.words[index:last]
        return "".join(f"{'' if word.joined else ' '}{word.text}" for word in words).strip()

    def characters_from(self, index: int) -> int:
        """Return the length of the text from a word on."""
        return self._offset_of_word(len(self.words)) - self._offset_of_word(index)

    def middle_s(self, index: int) -> float | None:
        """Return the position of a word's middle; a word counts as heard once it has been played.

        If only the word's start is known, its length is estimated from its characters. `None` if
        there is no such word yet, or if its start is unknown.
        """
        start_s = self.start_s(index) if index < len(self.words) else None
        if start_s is None:
            return None
        end_s = self.end_s(index)
        if end_s is None:
            end_s = start_s + CHARACTER_S * len(self.words[index].text)
        return (start_s + end_s) / 2

    def start_s(self, index: int) -> float | None:
        """Return when a word begins, as reported or estimated; `None` if unknown."""
        word = self.words[index]
        if word.start_s is not None or self.timed or index < self.first:
            return word.start_s
        return self._guess_s(index)

    def end_s(self, index: int) -> float | None:
        """Return when a word ends; `None` if unknown.

        It is the reported end, the estimate for a voice without word times, or the next word's
        start.
        """
        word = self.words[index]
        if word.end_s is not None:
            return word.end_s
        if not self.timed and index >= self.first:
            return self._guess_s(index + 1)
        next_word = self.words[index + 1] if index + 1 < len(self.words) else None
        return None if next_word is None or word.start_s is None else next_word.start_s

    def measure_untimed(self, received_s: float) -> tuple[int, float]:
        """Return how many words follow the last timed one, and how many seconds of audio.

        Words without letters, such as a dash, are not counted, because no voice speaks them. A word
        whose start is beyond the received audio does not count as timed.
        """
        last, end_s = self.first - 1, self.base_s
        for index in range(self.first, len(self.words)):
            word = self.words[index]
            if word.start_s is not None and word.start_s <= received_s + UNSURE_S:
                last, end_s = index, word.start_s if word.end_s is None else word.end_s
        return sum(bool(word.letters) for word in self.words[last + 1 :]), received_s - end_s

    def fill(self, received_s: float, last: int | None = None) -> None:
        """Spread the words after the last timed one, by characters, over the audio to `received_s`.

        Only words before `last` are considered; `None` stands for all words.
        """
        first = len(self.words) if last is None else last
        while first > self.first and self.words[first - 1].end_s is None:
            first -= 1
        at_s = self.base_s if first == self.first else self.end_s(first - 1) or 0.0
        characters = sum(len(word.text) + 1 for word in self.words[first:last])
        pace_s = max(0.0, received_s - at_s) / max(1, characters)
        for word in self.words[first:last]:
            word.start_s = at_s if word.start_s is None else word.start_s
            at_s += pace_s * (len(word.text) + 1)
            word.end_s = max(at_s, word.start_s)

    def _guess_s(self, index: int) -> float:
        """Return when a word of a voice without word times begins, estimated from the letters."""
        while self.filled < index and self.words[self.filled].end_s is not None:
            self.filled += 1
        base = min(index, self.filled)  # the words before it have times
        base_s = self.base_s if base == self.first else self.words[base - 1].end_s
        return (base_s or 0.0) + CHARACTER_S * (
            self._offset_of_word(index) - self._offset_of_word(base)
        )

    def _offset_of_word(self, index: int) -> int:
        """Return the number of characters before a word, or before the next one to come."""
        if index < len(self.words) or index == 0:
            return self.words[index].offset if self.words else 0
        return self.words[-1].offset + len(self.words[-1].text) + 1


def set_times(times: WordTimes, first: int, from_s: float, ends_s: Sequence[float]) -> None:
    """Set the times of the words from `first` on that a voice without word times has spoken.

    The first begins at `from_s`; `ends_s` has the end of each. Words beyond it lose their times.
    """
    for word in times.words[first:]:
        word.start_s = word.end_s = None
    for word, end_s in zip(times.words[first:], ends_s, strict=False):
        word.start_s, word.end_s, from_s = from_s, end_s, end_s
    times.filled = min(times.filled, first)


def usual_s(words: Iterable[str]) -> float:
    """Return how long words usually take to speak; `sayable` gives their letters."""
    return CHARACTER_S * sum(1 + len(w) + _EXTRA_LETTERS * len(_LONG.findall(w)) for w in words)


def is_cut_short(text: str, *, audible_s: float) -> bool:
    """Return whether `audible_s` seconds of speech are far too short for a text."""
    return audible_s < MIN_LETTER_S * sum(item.isalnum() for item in text)
