"""Fallback texts by language, situation and topic, and what of our own speech was heard.

The texts are data that an owner may edit; the file's reader passes in plain values. A text with
topics is for a caller who mentioned one of them; a text without topics is for all others.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, cast

from calls.line import CallerLine
from fallbacks.word_times import UNIT


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSentence:
    """Words that the call says itself.

    Attributes:
        by: The voice.
        turn: In which they were said.
        kept: They become part of the conversation.
        must: The caller cannot cut them short.
        begin_s: Their position on the line.
        end_s: The end of it.
    """

    text: str
    by: str = ""
    turn: int = 0
    kept: bool = False
    must: bool = False
    begin_s: float = 0.0
    end_s: float = 0.0


class OwnWords:
    """Returns our own words, once the line has played them."""

    def __init__(self, line: CallerLine) -> None:
        self._line = line
        self._waiting: deque[OwnSentence] = deque()

    @property
    def wake_at(self) -> float | None:
        """When the next of them will have been heard, or `None`."""
        return self._line.heard_at(self._waiting[0].end_s) if self._waiting else None

    def add(self, sentence: OwnSentence, length_s: float) -> None:
        """Add words that were just put on the line, and their length."""
        end_s = self._line.end_s
        self._waiting.append(replace(sentence, begin_s=end_s - length_s, end_s=end_s))

    def heard(self, now: float) -> list[OwnSentence]:
        """Return what has been heard to its end since the last call."""
        found: list[OwnSentence] = []
        while (at := self.wake_at) is not None and at <= now:
            found.append(self._waiting.popleft())
        return found

    def cut(self, now: float, *, whole: bool = False) -> list[OwnSentence]:
        """Return the heard part of what the caller cut short, in whole words.

        Mandatory speech keeps waiting: the line plays it, and sooner if the rest was dropped.

        Args:
            now: Monotonic, in seconds.
            whole: The line ends: nothing keeps waiting.
        """
        heard_s, end_s = self._line.heard_s(now), self._line.end_s
        cut = [entry for entry in self._waiting if whole or not entry.must]
        kept = [entry for entry in self._waiting if not whole and entry.must]
        self._waiting = deque(replace(entry, end_s=min(entry.end_s, end_s)) for entry in kept)
        found = [replace(entry, text=_beginning(entry, heard_s)) for entry in cut]
        return [entry for entry in found if entry.text]


def _beginning(sentence: OwnSentence, heard_s: float) -> str:
    words = [unit.end() for unit in UNIT.finditer(sentence.text)]
    length_s = max(sentence.end_s - sentence.begin_s, 0.001)
    share = min(1.0, max(0.0, (heard_s - sentence.begin_s) / length_s))
    heard = int(share * len(words))
    return sentence.text[: words[heard - 1]].strip() if heard else ""


PLAYS: Final = 3  # of one text in one call: once, and two repeats
DEFAULT_LANGUAGE: Final = "en"
NUMBER: Final = "{number}"  # in a text: the number to call back; such a text has no clip


class Situation(StrEnum):
    """The situation that a text is for."""

    FILLER = "filler"  # an answer is late
    STT = "stt"  # the caller could not be heard: ask to repeat
    LLM = "llm"  # no model can answer
    TTS = "tts"  # the agent's voice is gone
    DOWN = "down"  # several stages are down
    MENU = "menu"  # the keys
    MENU_WORDS = "menu_words"  # the words that can be spoken
    MENU_EITHER = "menu_either"  # words and keys
    ASK_CALLBACK = "ask_callback"  # did you say callback?
    ASK_NUMBER = "ask_number"  # the same, with the number to call
    CONFIRM_NUMBER = "confirm_number"  # the same after a key, which confirms it when pressed again
    ASK_MESSAGE = "ask_message"
    ASK_PERSON = "ask_person"
    CALLBACK = "callback"  # confirmed
    NO_CALLBACK = "no_callback"  # the number is unknown
    MESSAGE = "message"  # speak after the tone; a key ends it
    MESSAGE_WORDS = "message_words"  # the same where there are no keys
    PERSON = "person"  # connecting
    ON_HOLD = "on_hold"  # it takes a moment longer, while a person is called
    NOT_REACHED = "not_reached"  # no person could be reached
    OFFER_CALLBACK = "offer_callback"  # in place of the person
    TOGETHER = "together"  # the caller and the person hear each other from now on
    BACK = "back"  # the person has hung up, the agent is back
    RESUMED = "resumed"  # the call was cut off for a moment, and continues
    FOR_PERSON = "for_person"  # said to the called person, before the summary
    ACCEPT = "accept"  # said to the person, after it: the keys
    ACCEPT_EITHER = "accept_either"  # keys, and yes and no
    NOT_KEPT = "not_kept"  # the message could not be stored
    NOT_CALLED = "not_called"  # the number is on the do-not-call list
    CALLED_AGAIN = "called_again"  # and off it, in the same call
    GOODBYE = "goodbye"


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackText:
    """One text to be spoken."""

    language: str
    situation: Situation
    number: int  # within language and situation, as in the file
    text: str
    topics: tuple[str, ...] = ()  # beginnings of words, in lower case

    @property
    def name(self) -> str:
        """Its name in events and clips."""
        return f"{self.language}.{self.situation}.{self.number}"


def utterances_of(texts: Mapping[str, Any]) -> tuple[FallbackText, ...]:
    """Return the texts in a file's plain values: language, situation, list of texts.

    A text stands alone, or as `text` with a list of topics, `when`.

    Raises:
        ValueError: One line for each error, for all of them.
    """
    found: list[FallbackText] = []
    wrong: list[str] = []
    for language, situations in texts.items():
        if not isinstance(situations, Mapping):
            wrong.append(f"{language} is {situations!r}; expected situations")
            continue
        for name, entries in cast(Mapping[str, Any], situations).items():
            try:
                found += _read(str(language), str(name), entries)
            except ValueError as error:
                wrong.append(str(error))
    if wrong:
        raise ValueError("\n".join(wrong))
    return tuple(found)


def _read(language: str, name: str, entries: object) -> Iterator[FallbackText]:
    where = f"{language}.{name}"
    if name not in set(Situation):
        raise ValueError(f"{where} is not a situation ({', '.join(Situation)})")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where} is {entries!r}; expected a list of texts")
    for number, entry in enumerate(cast(list[Any], entries)):
        text, topics = _parts(entry)
        if not text or not isinstance(topics, list):
            raise ValueError(f"{where}[{number}] is {entry!r}; expected a text, or text and when")
        yield FallbackText(
            language=language,
            situation=Situation(name),
            number=number,
            text=text,
            topics=tuple(str(topic).casefold() for topic in cast(list[Any], topics)),
        )


def _parts(entry: object) -> tuple[str, object]:
    if not isinstance(entry, Mapping):
        return (entry.strip() if isinstance(entry, str) else "", [])
    fields = cast(Mapping[str, Any], entry)
    text = fields.get("text")
    known = fields.keys() <= {"text", "when"}
    return (text.strip() if isinstance(text, str) and known else "", fields.get("when", []))


class Chooser:
    """Chooses the texts that one call hears, without endless repetition."""

    def __init__(self, utterances: Sequence[FallbackText], *, plays: int = PLAYS) -> None:
        self._utterances = tuple(utterances)
        self._plays = plays
        self._played: Counter[str] = Counter()

    def choose(
        self, situation: Situation, language: str, *, heard: str = "", again: bool = False
    ) -> FallbackText | None:
        """Return the best text, counted as played; `None` if all were used up.

        Args:
            situation: What happened.
            language: A tag such as `en` or `es-MX`; English if it has no texts.
            heard: The caller's latest words: a text on that topic comes before a general one.
            again: Used-up texts may be repeated, because the caller would hear nothing else.
        """
        fresh = [
            utterance
            for utterance in in_language(self._utterances, language)
            if utterance.situation is situation
            and (again or self._played[utterance.name] < self._plays)
        ]
        said = _spoken(heard)
        on_topic = [
            utterance
            for utterance in fresh
            if any(f" {topic}" in said for topic in utterance.topics)
        ]
        general = [utterance for utterance in fresh if not utterance.topics]
        candidates = on_topic or general
        if not candidates:
            return None
        chosen = min(
            candidates, key=lambda utterance: (self._played[utterance.name], utterance.number)
        )
        self._played[chosen.name] += 1
        return chosen


def in_language(utterances: Sequence[FallbackText], language: str) -> tuple[FallbackText, ...]:
    """Return the texts for a tag such as `es-MX`: for that tag, for Spanish, or in English."""
    for tag in (language, language.split("-", maxsplit=1)[0], DEFAULT_LANGUAGE):
        found = tuple(utterance for utterance in utterances if utterance.language == tag)
        if found:
            return found
    return ()


def _spoken(heard: str) -> str:
    letters = "".join(item if item.isalnum() else " " for item in heard.casefold())
    return " " + " ".join(letters.split())
