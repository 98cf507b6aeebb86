"""Decides whether a caller is dictating, and how long the turn then waits for more.

People pause for a second or longer between the digits of a number or the parts of an address, so
silence alone would end such a turn too soon. The text decides:

- After a digit, a letter, "at", "dot" or "my number is", the turn waits for `pause_s` of silence.
- A number after "at", "for" or "the" is a time or an amount: "a table for four" is complete.
- After a question of the agent that the configuration lists, the turn waits for the silence that
  is configured for this question.

The words of all languages that Holdline has texts for (English, Spanish, Russian) are recognised
together, because the caller may not speak the agent's language.
"""

import re
from collections.abc import Mapping
from typing import Final

PAUSE_S: Final = 2.0  # of silence: pauses of 1.2 s between digits are usual (chosen)

_PIECE: Final = re.compile(r"\S+")
_MARKS: Final = ".,;:!?…\"'«»()¿¡"
_DIGITS: Final = re.compile(r"\+?\d+(-\d+)*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DIGIT: Final = _words(
    "zero oh one two three four five six seven eight nine double triple"
    " cero uno dos tres cuatro cinco seis siete ocho nueve doble triple"
    " ноль нуль один два три четыре пять шесть семь восемь девять"
)
_LARGER: Final = _words(  # dictated only after another digit or letter
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty"
    " forty fifty sixty seventy eighty ninety hundred"
    " diez once doce trece catorce quince veinte treinta cuarenta cincuenta sesenta setenta ochenta"
    " noventa cien"
    " десять одиннадцать двенадцать двадцать тридцать сорок пятьдесят шестьдесят семьдесят"
    " восемьдесят девяносто сто"
)
_JOINS: Final = _words(  # words inside an address or a code
    "at dot dash hyphen underscore slash arroba punto guion guión barra"
    " собака точка дефис тире подчеркивание подчёркивание слэш"
)
_NOT_SPELLED: Final = _words("i я")  # "so do I", "это я": letters only after other letters
_COUNTS: Final = _words(  # a number after one of these is a time, an amount or a pronoun
    "at for about around by to till until from of than past after before over under on"
    " which that this the no any another every last next only just"
    " a las los la el para por de hasta desde sobre unos unas solo"
    " в на к до со около после для за через с"  # noqa: RUF001 - Russian
)
_LEADS: Final = re.compile(
    r"\b(?:"
    r"(?:number|code|postcode|zip|pin|id|extension|reference|address|e-?mail|surname|name|plate)"
    r" is|(?:it is|it's|that is|that's|is) (?:spelled|spelt)|spelled|spelt"
    r"|(?:n[uú]mero|c[oó]digo|tel[eé]fono|correo|email|apellido|nombre|direcci[oó]n|matr[ií]cula)"
    r" es|se (?:escribe|deletrea)"
    r"|(?:номер|код|телефон|адрес|индекс|почта|фамилия|имя|имейл|пароль)(?: (?:это|такой))?"
    r"|пишется|по буквам"
    r")$"
)


def is_dictating(text: str) -> bool:
    """Return whether the end of a text suggests that more of a number or spelling follows."""
    words = [found.strip(_MARKS) for found in _PIECE.findall(text.casefold())]
    words = [word for word in words if word]
    if not words:
        return False
    before, last = words[:-1], words[-1]
    if last.endswith("@") or last in _JOINS or _LEADS.search(" ".join(words)):
        return True
    previous = before[-1] if before else ""
    spelled = _is_letter(previous) and previous not in _COUNTS
    follows = spelled or _is_spoken_digit(previous)
    if _is_spoken_digit(last):
        return follows or previous not in _COUNTS
    if last in _LARGER:
        return follows
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
