"""Collects a caller's keypad digits into one entry, such as a code or a date of birth.

An entry ends with `#`, with a pause, at the length that a waiting tool expects, or at the maximum
length. A `#` that follows within a pause belongs to the entry; otherwise a `#` as the first key is
part of the next one.

A tool waits for its digits if the agent's latest sentence names their number, or else the
parameter: "your six-digit code" or "the order number" for `order_number`. If it does not, for
example because it is in another language than the parameter's name, or asks for another number as
well, the entry ends with a pause or `#`. So a card number is one entry, even if some tool expects
four digits.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from calls.languages.facts import language_of

KEYS_SAID: Final = "Keys pressed: "  # the beginning of an entry in the conversation
END_KEY: Final = "#"
MASKED: Final = "*"  # in the record in place of a key, which may belong to a PIN
PAUSE_S: Final = 2.0  # as in Pipecat's DTMF aggregator
MAX_KEYS: Final = 64  # twice the length of an IBAN (chosen)

MIN_NUMBER: Final = 3  # smaller numbers are ordinary words: "one moment"
_TOKEN: Final = re.compile(r"\d+|[^\W\d_]+")
_SENTENCE_END: Final = re.compile(r"[.!?\n\u2026\u3002\uff1f\uff01]+")
_CLAUSE_END: Final = re.compile(r"[,.;:!?\n\u2026\u3001\u3002\uff0c\uff1a\uff1b\uff1f\uff01]")
_SHORTEST: Final = 4  # words of a sentence that may ask for digits (chosen)
_WORDS_BETWEEN: Final = 2  # the parts of a name, as in "the number of your order" (chosen)
# Words for secrets. Another one may be recorded in clear if the sentence names a parameter, too.
_SECRET: Final = re.compile(
    r"\b(?:pin|pincode|cvv|cvc|otp|secret|clave|senha|parola)\b|passw|passcode|kennwort|geheim"
    r"|contrase|mot de passe|wachtwoord|has\u0142|\u015fifre"
    r"|\u043f\u0430\u0440\u043e\u043b|\b\u043f\u0438\u043d\b"  # Russian
)
_NAME_PART: Final = re.compile(r"[^\W\d_][^\W\d_A-Z]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsAsked:
    """A parameter of a tool that is keyed in."""

    name: str
    length: int
    sensitive: bool  # such an entry is not recorded


def waiting(question: str, asked: Iterable[DigitsAsked], language: str) -> list[DigitsAsked]:
    """Return the parameters that the agent's latest words ask for, in a language such as `de`.

    A number in the words decides: it must be the only one, and the parameter's length. Without one,
    the words must name the parameter. One that is not named is returned as a sensitive one: "your
    four-digit PIN" may be for another tool, or for none. So is each one if the words mention a
    secret that is not in its name: "the PIN for your order number".
    """
    latest = _latest_sentence(question)
    clauses = [_TOKEN.findall(clause.casefold()) for clause in _CLAUSE_END.split(latest)]
    words = [word for clause in clauses for word in clause]
    facts = language_of(language)
    known = facts.numbers if facts else dict[str, int]()
    numbers = {number for word in words if (number := _number_from_word(word, known)) >= MIN_NUMBER}
    named = [(item, _is_named(item.name, clauses)) for item in asked]
    secrets = _SECRET.findall(latest.casefold())
    return [
        item
        if is_named and all(secret in item.name.casefold() for secret in secrets)
        else replace(item, sensitive=True)
        for item, is_named in named
        if (numbers == {item.length} if numbers else is_named)
    ]


def _latest_sentence(text: str) -> str:
    """Return the latest sentence that is no short addition such as "Thank you.", and what follows.

    An earlier one may mention digits that were keyed in before.
    """
    sentences = _SENTENCE_END.split(text)
    long = [at for at, item in enumerate(sentences) if len(_TOKEN.findall(item)) >= _SHORTEST]
    return ".".join(sentences[long[-1] if long else 0 :])


def _number_from_word(word: str, known: Mapping[str, int]) -> int:
    """Return the number that a word is or begins with, as "sechsstellig" does; 0 if none.

    A greater one than an entry has keys is none, as in "mil gracias", unless it is in digits.
    """
    if word.isdecimal():
        return int(word)
    number = known.get(word.partition("stell")[0], 0)
    return number if number <= MAX_KEYS else 0


def _is_named(name: str, clauses: Sequence[Sequence[str]]) -> bool:
    """Return whether the latest mentions of a name's parts are together in one clause.

    "Key in your card number, in order to pay." does not ask for `order_number`.
    """
    parts = [part.casefold() for part in _NAME_PART.findall(name)]
    latest = [
        max(
            (
                (number, place)
                for number, clause in enumerate(clauses)
                for place, word in enumerate(clause)
                if word.startswith(part)
            ),
            default=None,
        )
        for part in parts
    ]
    found = [place for place in latest if place is not None]
    if not parts or len(found) < len(parts):
        return False
    (first, begins), (last, ends) = min(found), max(found)
    return first == last and ends - begins < len(parts) + _WORDS_BETWEEN


class KeyedEntry:
    """Collects the keys of one call, and returns each entry when it ends.

        entry = KeyedEntry(lengths=[6])
        entry.press("4", 100.0)  # None
        entry.tick(102.0)  # "4"

    Attributes:
        wake_at: When to call `tick`; `None` without keys.
        keys: The keys so far.
    """

    def __init__(
        self, lengths: Collection[int] = (), *, unmasked_lengths: Collection[int] | None = None
    ) -> None:
        """Create an empty entry.

        Args:
            lengths: The numbers of digits that the waiting tools expect; an entry ends at the
                greatest.
            unmasked_lengths: The lengths of entries that are not sensitive, and are recorded
                unmasked; `None` for all of `lengths`.
        """
        self.wake_at: float | None = None
        self._lengths = self._unmasked_lengths = frozenset[int]()
        self.keys = ""
        self._ended_at = -math.inf  # when a length ended the latest entry
        self._goes_on = False  # the keys follow such an entry without a pause
        self.expect(lengths, unmasked_lengths)

    def expect(
        self, lengths: Collection[int], unmasked_lengths: Collection[int] | None = None
    ) -> None:
        """Set what the waiting tools expect from the next key on; the keys so far stay.

        For the arguments, see `__init__`.
        """
        self._lengths = frozenset(lengths)
        self._unmasked_lengths = frozenset(
            lengths if unmasked_lengths is None else unmasked_lengths
        )

    def press(self, key: str, now: float) -> str | None:
        """Add a key; return the entry, without the final `#`, if this key ends it, else `None`.

        Keys that follow an entry of full length without a pause have no expected length. A `#` that
        does so belongs to that entry, and is dropped. `now` is monotonic, in seconds.
        """
        if key == END_KEY and self.keys:
            return self.end()
        if not self.keys:
            self._goes_on = now < self._ended_at + PAUSE_S
            if self._goes_on and key == END_KEY:
                return None  # it belongs to the entry that its length has ended
        self.keys += key
        self.wake_at = now + PAUSE_S
        expected = 0 if self._goes_on else max(self._lengths, default=0)
        if len(self.keys) < min(expected or MAX_KEYS, MAX_KEYS):
            return None
        self._ended_at = now if expected else self._ended_at
        return self.end()

    def tick(self, now: float) -> str | None:
        """Return the entry if a pause has ended it, else `None`."""
        return self.end() if self.wake_at is not None and now >= self.wake_at else None

    def end(self) -> str:
        """Return the keys so far, which may be none, and start over."""
        entry, self.keys, self.wake_at = self.keys, "", None
        return entry

    def recorded(self, entry: str) -> str:
        """Return an entry for the record: masked, unless its length is in `unmasked_lengths`.

        Call it for the entry that has just ended: one that continues an earlier one is masked.
        """
        shown = len(entry) in self._unmasked_lengths and not self._goes_on
        return entry if shown else MASKED * len(entry)
