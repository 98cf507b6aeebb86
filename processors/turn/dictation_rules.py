"""Decides whether a caller is dictating, and how long the turn then waits for more.

People pause for a second or longer between the digits of a number or the parts of an address, so
silence alone would end such a turn too soon. The text decides:

- After a digit, a letter, "at", "dot" or "my number is", the turn waits for `pause_s` of silence.
- A number after "at", "for" or "the" is a time or an amount: "a table for four" is complete. After
  words such as "mon numéro est le", it is dictated.
- After a question of the agent that the configuration lists, the turn waits for the silence that
  is configured for this question.

The words of ten languages (those of `calls/languages/` with `dictated_leads`) are recognised
together, because the caller may not speak the agent's language.
"""

import re
from collections.abc import Mapping
from typing import Final

from calls.languages.facts import languages

PAUSE_S: Final = 2.0  # of silence: pauses of 1.2 s between digits are usual (chosen)

_PIECE: Final = re.compile(r"\S+")
_MARKS: Final = ".,;:!?…\"'«»()¿¡"
_DIGITS: Final = re.compile(r"\+?\d+(-\d+)*")


_DICTATED: Final = tuple(facts for facts in languages().values() if facts.dictated_leads)
_ORDINARY: Final = frozenset[str]().union(*(facts.dictated_ordinary for facts in _DICTATED))
_DIGIT: Final = (
    frozenset[str]()
    .union(*(facts.digits.keys() | facts.repeats.keys() for facts in _DICTATED))
    .difference(_ORDINARY)
)
_LARGER: Final = {  # dictated only after another digit or letter: "восемь девятьсот"
    word for facts in _DICTATED for word, value in facts.numbers.items() if value < 1000
}.difference(_DIGIT)
_PAIRED: Final = {  # or after one of these; a hundred and a number are an amount, such as 250
    word for facts in _DICTATED for word, value in facts.numbers.items() if value <= 100
}.difference(_DIGIT)
_JOINS: Final = frozenset[str]().union(*(facts.dictated_joins for facts in _DICTATED))
_HESITATIONS: Final = frozenset[str]().union(*(facts.hesitations for facts in _DICTATED))
_CORRECTIONS: Final = frozenset[str]().union(*(facts.corrections for facts in _DICTATED))
_ASIDES: Final = (_HESITATIONS | _CORRECTIONS).union(
    *(facts.correction_fillers for facts in _DICTATED)
)
_NOT_SPELLED: Final = frozenset[str]().union(*(facts.dictated_letters for facts in _DICTATED))
_COUNTS: Final = frozenset[str]().union(*(facts.dictated_counts for facts in _DICTATED))
_LEADS: Final = re.compile(
    rf"(?<!['\u2019])\b(?:{'|'.join(facts.dictated_leads for facts in _DICTATED)})$", re.IGNORECASE
)


def is_dictating(text: str) -> bool:
    """Return whether the end of a text suggests that more of a number or spelling follows.

    It does after a digit or a letter, after words such as "at" and "dot", and after a lead such as
    "my number is"; but not if the word before a single digit shows that it counts something.
    """
    words = [
        found.strip(_MARKS) for found in _PIECE.findall(text.casefold().replace("\u2019", "'"))
    ]
    words = [word for word in words if word]
    return _is_unfinished(words) or _is_unfinished(_without_asides(words))


def _without_asides(words: list[str]) -> list[str]:
    """Return words without hesitations or a correction at their end: "five no that's wrong".

    "That's right" is neither.
    """
    until = len(words)
    while until and words[until - 1] in _ASIDES:
        until -= 1
    asides = set(words[until:])
    return words[:until] if asides & _CORRECTIONS or asides <= _HESITATIONS else words


def _is_unfinished(words: list[str]) -> bool:
    """Return whether the last of these words are dictated."""
    if not words:
        return False
    before, last = words[:-1], words[-1]
    if last.endswith("@") or last in _JOINS or _LEADS.search(" ".join(words)):
        return True
    previous = before[-1] if before else ""
    spelled = _is_letter(previous) and previous not in _COUNTS
    # "nove um dois": a number that is also an ordinary word, after a digit
    is_number = previous in _ORDINARY and _is_spoken_digit("".join(before[-2:-1]))
    led = _LEADS.search(" ".join(before)) is not None
    said = _without_asides(before)
    follows = spelled or is_number or led or (bool(said) and _is_spoken_digit(said[-1]))
    if _is_spoken_digit(last):
        return follows or previous not in _COUNTS
    if last in _LARGER:
        return follows or (last in _PAIRED and previous in _PAIRED - _ORDINARY)
    return _is_letter(last) and (follows or last not in _NOT_SPELLED)


def _is_spoken_digit(word: str) -> bool:
    return word in _DIGIT or _DIGITS.fullmatch(word) is not None


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isalpha()


class Dictation:
    """Returns how long the callers of one agent may pause.

        dictation = Dictation(pause_s=2.0, questions={"order number": 4.0})
        dictation.pause_s("my number is five", asked="How can I reach you?")   # 2.0
        dictation.pause_s("that is all", asked="How can I reach you?")         # 0.0
        dictation.pause_s("that is all", asked="What is your order number?")   # 4.0

    Attributes:
        longest_s: The longest pause that any text or question allows.
    """

    def __init__(
        self, *, pause_s: float = PAUSE_S, questions: Mapping[str, float] | None = None
    ) -> None:
        """Create the rules of one agent.

        Args:
            pause_s: The silence that ends a turn which may be dictation; 0 to disable the wait.
            questions: The silence that ends the answer to a question of the agent, by words that
                the question contains.
        """
        self._pause_s = pause_s
        self._questions = {words.casefold(): wait_s for words, wait_s in (questions or {}).items()}
        self.longest_s = max(pause_s, *self._questions.values(), 0.0)

    def pause_s(self, words: str, *, asked: str) -> float:
        """Return how much silence after these words ends the turn; 0 if they are not dictation.

        Args:
            words: The caller's words in this turn.
            asked: The agent's last words.
        """
        asked = asked.casefold()
        waits = [wait_s for part, wait_s in self._questions.items() if part in asked]
        if waits and words.strip():
            return max(waits)
        return self._pause_s if is_dictating(words) else 0.0
