"""The stored words of a call: no card number, and nothing of a sensitive section.

Each event of a call passes here before it leaves the call, so that journal, database, live view,
log, traces, the work after the call, CRM and spreadsheet get the same. The model and the call's own
parts get the words themselves. Rules:

- A card number is masked up to its last four digits, also with pauses in it.
- Of one that a caller says in pieces, at most the first ten digits are stored.
- Of a sensitive section no words and no sound are stored. It ends `max_s` after it was begun last,
  after the agent's answer to its end, or with the call. A caller who is speaking then may finish.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from operations.masking import CARD_SHAPED, without_cards

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
"""The fields of events that may hold what was said."""
MAX_REMEMBERED: Final = 200  # utterances of sensitive sections (chosen)
FINISH_S: Final = 30.0  # for a caller who is speaking when a section's time is up (chosen)
PIECES_SHOWN: Final = 10  # digits of a number in pieces: no more than of a number in the US
STARTS: Final = frozenset("23456")  # of card numbers (ISO/IEC 7812-1, payment cards)
OTHER_WORDS: Final = 3  # besides digits, in a piece of a number: "and then 4242"
PAUSED: Final = re.compile(r"(?<!\d)\d(?:[\s,.;:/\u2010-\u2015-]{0,3}\d){12,18}(?!\d)")
KEYED: Final = re.compile(rf"({re.escape(KEYS_SAID)})\S+")


def without_spoken_cards(text: str) -> str:
    """Return words without card numbers, also those with commas and stops between their digits."""
    for shape in (CARD_SHAPED, PAUSED):
        text = shape.sub(_masked_digits, text)
    return text


def _masked_digits(found: re.Match[str]) -> str:
    digits = "".join(item for item in found[0] if item.isdecimal())
    is_phone = found.string[: found.start()].endswith("+")
    shown = without_cards(digits) if digits[0] in STARTS and not is_phone else digits
    return found[0] if shown == digits else shown


class StoredWords:
    """Decides what is stored of one call's words.

    Args:
        max_s: The longest that a sensitive section lasts.
        clock: Monotonic seconds.
        until: When a section ends that another process began; 0 if none is open.
        said: What was said in sections in another process.
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
        self._speaks = False  # the caller, since before the section's end
        self._turn = 0  # of `_digits`
        self._digits = ""  # of a number that the caller says in pieces

    @property
    def hides(self) -> bool:
        """Whether a sensitive section is open: nothing of the call may be stored."""
        return self._clock() < self.until + (FINISH_S if self._speaks else 0.0)

    def begin(self) -> None:
        """Begin a sensitive section, or restart its time."""
        self.until, self._ending = self._clock() + self.max_s, False

    def end(self) -> None:
        """End the section once the agent's answer was heard."""
        self._ending = self.hides

    def event(self, event: Event) -> Event:
        """Return an event as it may be stored."""
        hides = self.hides
        if isinstance(event, CallerStarted):
            self._speaks = hides
        elif isinstance(event, TurnDecided):
            self._speaks = False
        shown = self._shown(event, hidden=hides) if type(event) in WORDS else event
        if self._ending and isinstance(event, AgentSaid | TurnDecided):
            self.until, self._ending, self._speaks = 0.0, False, False
        return shown

    def text(self, text: str) -> str:
        """Return words of the call as they may be stored, such as a callback's reason."""
        return HIDDEN if self.hides and text else without_spoken_cards(text)

    def messages(self, messages: Iterable[Any]) -> list[dict[str, Any]]:
        """Return a conversation for others than its model: without keys, cards and sections."""
        plain = (dict(message) for message in messages if isinstance(message, Mapping))
        return [self._without_secrets(message) for message in plain]

    def _without_secrets(self, message: dict[str, Any]) -> dict[str, Any]:
        content = message.get("content")
        if not isinstance(content, str) or message.get("role") not in ("user", "assistant"):
            return message
        text = clean(content)
        hidden = any(words in text for words in self.said)
        return message | {
            "content": HIDDEN if hidden else without_spoken_cards(KEYED.sub(r"\1****", content))
        }

    def _shown(self, event: Any, *, hidden: bool) -> Event:
        changed: dict[str, Any] = {}
        for name in WORDS[type(event)]:
            said = getattr(event, name)
            if hidden and said and isinstance(event, TranscriptFinal | AgentSaid):
                self.said.append(clean(said))
            changed[name] = (HIDDEN if said else said) if hidden else without_spoken_cards(said)
        if isinstance(event, TranscriptFinal):
            changed |= self._of_caller(event, changed["text"], hidden=hidden)
        return replace(event, **changed)

    def _of_caller(self, heard: TranscriptFinal, text: str, *, hidden: bool) -> dict[str, Any]:
        others = tuple(
            replace(other, text=without_spoken_cards(other.text)) for other in heard.alternatives
        )
        if hidden:
            return {"alternatives": ()}
        if self._is_piece_of_card(heard):
            return {"text": re.sub(r"\d", "*", text), "alternatives": ()}
        return {"text": text, "alternatives": others}

    def _is_piece_of_card(self, heard: TranscriptFinal) -> bool:
        """Return whether these words go on a number that may be a card's and is long by now."""
        words = heard.text.split()
        digits = "".join(item for item in heard.text if item.isdecimal())
        others = sum(not any(item.isdecimal() for item in word) for word in words)
        goes_on = heard.turn == self._turn and digits and others <= OTHER_WORDS
        before = self._digits if goes_on else ""
        self._turn, self._digits = heard.turn, (before + digits)[: 2 * PIECES_SHOWN]
        return bool(before) and len(self._digits) > PIECES_SHOWN and self._digits[0] in STARTS
