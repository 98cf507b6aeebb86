"""Removes card numbers and sensitive sections from the words of a call before they are stored.

Each event of a call passes through here before it leaves the call, so that the journal, database,
live view, log, traces, after-call work, CRM and spreadsheet all get the same text. The model and
the rest of the call's pipeline get the original words. Rules:

- All digits of a card or account number but the last four are masked, whether they are written as
  digits or as words, even if there are pauses between them (`operations/spoken_numbers.py`).
- Of a number that one side says in several utterances, also in several turns, at most the first ten
  digits are stored. Another number begins after an utterance with other words.
- No words and no audio of a sensitive section are stored. It ends `max_s` after it was last begun,
  with the agent's answer after `end`, or with the call. A caller who is speaking when the time is
  up may finish, within `FINISH_S`.
"""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from calls.caller import clean
from calls.events import (
    AgentSaid,
    CallbackWanted,
    CallerStarted,
    CallFailed,
    Event,
    PersonWanted,
    ProviderFailed,
    TranscriptFinal,
    TurnDecided,
)
from calls.keyed_entry import KEYS_SAID
from fallbacks.events import AttemptFailed
from operations.spoken_numbers import (
    CARD_STARTS,
    begins_account,
    masked_numbers,
    said_digits,
    without_digits,
)

HIDDEN: Final = "[not stored]"
WORDS: Final[Mapping[type, Sequence[str]]] = {
    TranscriptFinal: ("text",),
    AgentSaid: ("text",),
    PersonWanted: ("reason",),
    CallbackWanted: ("when", "reason"),
    AttemptFailed: ("reason",),  # these three may quote what a provider was sent
    ProviderFailed: ("error",),
    CallFailed: ("error",),
}
"""The event fields that may contain words of the call."""
SHORT_WORDS: Final = 3  # an utterance of at most so many words may be in any text (chosen)
MAX_REMEMBERED: Final = 200  # last utterances of sensitive sections (chosen)
FINISH_S: Final = 30.0  # for a caller who is speaking when a section's time is up (chosen)
PIECES_SHOWN: Final = 10  # digits of a number in pieces: as many as a US phone number has
OTHER_WORDS: Final = 3  # at most, around the digits of a piece: "and then 4242"
PIECE_DIGITS: Final = 3  # at least, in a piece with other words: "a table for 4" is none (chosen)
KEYED: Final = re.compile(rf"({re.escape(KEYS_SAID)})\S+")


def without_spoken_cards(text: str) -> str:
    """Mask card and account numbers, said in digits or in words."""
    return masked_numbers(text)


class _Pieces:
    """Follows the numbers that one side says in several utterances."""

    def __init__(self) -> None:
        self._digits = ""  # so far
        self._is_secret = False  # they begin like a card or an account number

    def mask(self, text: str) -> str:
        """Return an utterance with its digits masked, if it continues such a number too far.

        Call it once for each utterance of the side, in order: it remembers their digits.
        """
        digits, others = said_digits(text)
        if (not digits and others > OTHER_WORDS) or masked_numbers(text) != text:
            self._digits = ""  # the topic has changed, or the number is complete
            return text
        if not digits:
            return text
        has_room = others <= OTHER_WORDS and (len(digits) >= PIECE_DIGITS or not others)
        before = self._digits if has_room else ""
        if not before:
            self._is_secret = digits[0] in CARD_STARTS or begins_account(text)
        self._digits = (before + digits)[: 2 * PIECES_SHOWN]
        if before and self._is_secret and len(self._digits) > PIECES_SHOWN:
            return without_digits(text)
        return text


def hidden_texts(said: Iterable[str], texts: Collection[str]) -> Collection[str]:
    """Return the texts in which something is that was said in a sensitive section.

    A text that consists of such utterances is hidden, and one that contains a whole one. But a
    short utterance without digits, such as "no", is in many texts: it hides those that contain
    other words only if it is in no text that is hidden without it.
    """
    shapes = {
        words: re.compile(rf"(?<!\w){re.escape(words)}(?!\w)")
        for words in sorted(set(said) - {""}, key=len, reverse=True)
    }
    found = {
        words: {text for text in texts if words in text and shape.search(text)}
        for words, shape in shapes.items()
    }
    hidden: set[str] = set()
    for text in set[str]().union(*found.values()):
        others = text
        for words, shape in shapes.items():
            others = shape.sub(" ", others) if text in found[words] else others
        if not any(map(str.isalnum, others)):
            hidden.add(text)
    for words in shapes:
        is_telling = len(words.split()) > SHORT_WORDS or any(map(str.isdecimal, words))
        if is_telling or hidden.isdisjoint(found[words]):
            hidden |= found[words]
    return hidden


def _is_said(message: Mapping[str, Any]) -> bool:
    spoken = message.get("role") in ("user", "assistant")
    return spoken and isinstance(message.get("content"), str)


def _without_secrets(
    message: dict[str, Any], hidden: Collection[str], pieces: Mapping[str, _Pieces]
) -> dict[str, Any]:
    """Return a message as it may be stored; `pieces` by role, which must see every one in order."""
    content = message["content"]
    if clean(content) in hidden:
        return message | {"content": HIDDEN}
    without_keys = KEYED.sub(r"\1****", content)
    piece = pieces[message["role"]].mask(without_keys)
    return message | {"content": without_spoken_cards(piece)}


class StoredWords:
    """Decides what is stored of one call's words.

    Args:
        max_s: The longest that a sensitive section lasts.
        clock: Monotonic seconds.
        until: The end of a section that another process began; 0 if none is open.
        said: What was said in sensitive sections before another process handed the call over.
    """

    def __init__(
        self,
        *,
        max_s: float,
        clock: Callable[[], float],
        until: float = 0.0,
        said: Iterable[str] = (),
    ) -> None:
        self.max_s = max_s
        self.until = until
        self.said: deque[str] = deque(said, MAX_REMEMBERED)
        self._clock = clock
        self._ending = False
        self._caller_speaks = False  # and began within the section
        self._pieces = {TranscriptFinal: _Pieces(), AgentSaid: _Pieces()}  # of each side

    @property
    def hides(self) -> bool:
        """Whether a sensitive section is open, so that nothing of the call may be stored."""
        return self._clock() < self.until + (FINISH_S if self._caller_speaks else 0.0)

    def begin_sensitive_section(self) -> None:
        """Begin a sensitive section; if one is open, its time starts again."""
        self.until, self._ending = self._clock() + self.max_s, False

    def end(self) -> None:
        """End the section after the agent's next utterance, or with the next turn."""
        self._ending = self.hides

    def event(self, event: Event) -> Event:
        """Return an event as it may be stored; the given event does not change.

        Call it once for each event of the call, in order: events begin and end what is hidden.
        """
        hides = self.hides  # before `_caller_speaks`, on which it depends, changes
        if isinstance(event, CallerStarted):
            self._caller_speaks = hides
        elif isinstance(event, TurnDecided):
            self._caller_speaks = False
        shown = self._redact_event(event, hidden=hides) if type(event) in WORDS else event
        if self._ending and isinstance(event, AgentSaid | TurnDecided):
            self.until, self._ending, self._caller_speaks = 0.0, False, False
        return shown

    def text(self, text: str) -> str:
        """Return other words of the call as they may be stored, such as a callback's reason."""
        return HIDDEN if self.hides and text else without_spoken_cards(text)

    def messages(self, messages: Iterable[Any]) -> list[dict[str, Any]]:
        """Return a conversation without keypad digits, card numbers and sensitive sections.

        For every reader except the model whose conversation it is.
        """
        plain = [dict(message) for message in messages if isinstance(message, Mapping)]
        hidden = hidden_texts(self.said, {clean(m["content"]) for m in plain if _is_said(m)})
        pieces = {"user": _Pieces(), "assistant": _Pieces()}
        return [_without_secrets(m, hidden, pieces) if _is_said(m) else m for m in plain]

    def _redact_event(self, event: Any, *, hidden: bool) -> Event:
        """Return an event of `WORDS` with its words masked, or all hidden in a sensitive section.

        Remembers what was said there in `said`. If words are hidden, or are a piece of a number,
        the recogniser's alternatives are left out: they would show it.
        """
        changed, is_piece = dict[str, Any](), False
        for name in WORDS[type(event)]:
            words = getattr(event, name)
            if hidden and words and isinstance(event, TranscriptFinal | AgentSaid):
                self.said.append(clean(words))
            changed[name] = (HIDDEN if words else words) if hidden else without_spoken_cards(words)
        if isinstance(event, TranscriptFinal | AgentSaid) and not hidden:
            is_piece = (piece := self._pieces[type(event)].mask(event.text)) != event.text
            changed["text"] = piece if is_piece else changed["text"]
        if isinstance(event, TranscriptFinal):
            others = () if hidden or is_piece else event.alternatives
            changed["alternatives"] = tuple(
                replace(other, text=without_spoken_cards(other.text)) for other in others
            )
        return replace(event, **changed)
