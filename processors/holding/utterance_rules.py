"""What is said when a provider cannot answer: the texts by language, situation and topic.

The texts are data that an owner may edit; the reader of the file hands plain values over. An
utterance with topics is for a caller who spoke of one of them; one without is for everybody else.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, cast

from calls.line import CallerLine


@dataclass(frozen=True, slots=True)
class _OwnSentence:
    text: str
    begin_s: float  # positions on the line
    end_s: float
    must: bool  # the caller may not cut it short


class OwnWords:
    """Hands on what is to be remembered once the caller has heard it, as the line says."""

    def __init__(self, line: CallerLine) -> None:
        self._line = line
        self._waiting: deque[_OwnSentence] = deque()

    @property
    def wake_at(self) -> float | None:
        """When the next of it will have been heard, or None."""
        return self._line.heard_at(self._waiting[0].end_s) if self._waiting else None

    def add(self, text: str, length_s: float, *, must: bool = False) -> None:
        """Note what was just added to the line, how long it sounds, and whether it stays there."""
        end_s = self._line.end_s
        self._waiting.append(_OwnSentence(text, end_s - length_s, end_s, must))

    def heard(self, now: float) -> list[str]:
        """Return what has been heard to its end since."""
        found: list[str] = []
        while (at := self.wake_at) is not None and at <= now:
            found.append(self._waiting.popleft().text)
        return found

    def cut(self, now: float) -> list[str]:
        """Return what was heard of what the caller cut short, to the whole word.

        What they may not cut short waits on: the line plays it, and sooner if it dropped the rest.
        """
        heard_s, end_s = self._line.heard_s(now), self._line.end_s
        found = [_beginning(text, heard_s) for text in self._waiting if not text.must]
        kept = [replace(text, end_s=min(text.end_s, end_s)) for text in self._waiting if text.must]
        self._waiting = deque(kept)
        return [item for item in found if item]


def _beginning(sentence: _OwnSentence, heard_s: float) -> str:
    words = sentence.text.split()
    length_s = max(sentence.end_s - sentence.begin_s, 0.001)
    share = min(1.0, max(0.0, (heard_s - sentence.begin_s) / length_s))
    return " ".join(words[: int(share * len(words))])


PLAYS: Final = 3  # of one utterance in one call: once, and two repeats
DEFAULT_LANGUAGE: Final = "en"


class Situation(StrEnum):
    """When an utterance is for."""

    FILLER = "filler"  # an answer is late
    STT = "stt"  # we could not hear: ask to repeat
    LLM = "llm"  # nobody to think of an answer
    TTS = "tts"  # the agent's voice is gone
    DOWN = "down"  # all of it
    MENU = "menu"  # the keys
    MENU_WORDS = "menu_words"  # the words that may be said
    MENU_EITHER = "menu_either"  # words and keys
    ASK_CALLBACK = "ask_callback"  # did you say callback?
    ASK_MESSAGE = "ask_message"
    ASK_PERSON = "ask_person"
    CALLBACK = "callback"  # noted
    NO_CALLBACK = "no_callback"  # nobody knows the number
    MESSAGE = "message"  # speak after the tone; a key ends it
    MESSAGE_WORDS = "message_words"  # the same where there are no keys
    PERSON = "person"  # connecting
    ON_HOLD = "on_hold"  # it still takes a moment, while a person is called
    NOT_REACHED = "not_reached"  # no person could be reached
    OFFER_CALLBACK = "offer_callback"  # in the person's place
    TOGETHER = "together"  # the caller and the person hear each other from now on
    BACK = "back"  # the person has hung up, the agent is there again
    RESUMED = "resumed"  # the call was cut off for a moment, and goes on
    FOR_PERSON = "for_person"  # said to the person who is called, before what it is about
    ACCEPT = "accept"  # said to the person, behind it: the keys
    ACCEPT_EITHER = "accept_either"  # keys, and yes and no
    NOT_KEPT = "not_kept"  # the message that was left is gone
    GOODBYE = "goodbye"


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackText:
    """One text, as it is spoken."""

    language: str
    situation: Situation
    number: int  # within language and situation, as in the file
    text: str
    topics: tuple[str, ...] = ()  # beginnings of words, in lower case

    @property
    def name(self) -> str:
        """What entries and clips call it."""
        return f"{self.language}.{self.situation}.{self.number}"


def utterances_of(texts: Mapping[str, Any]) -> tuple[FallbackText, ...]:
    """Return the utterances of a file's plain values: language, situation, list of texts.

    A text stands alone, or as `text` beside a list of topics, `when`.

    Raises:
        ValueError: One line for each thing that is wrong, all of them.
    """
    found: list[FallbackText] = []
    wrong: list[str] = []
    for language, situations in texts.items():
        if not isinstance(situations, Mapping):
            wrong.append(f"{language} is {situations!r}; it holds situations")
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
        raise ValueError(f"{where} is no situation ({', '.join(Situation)})")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where} is {entries!r}; it holds a list of texts")
    for number, entry in enumerate(cast(list[Any], entries)):
        text, topics = _parts(entry)
        if not text or not isinstance(topics, list):
            raise ValueError(f"{where}[{number}] is {entry!r}; it holds a text, or text and when")
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
    """Chooses what one call hears, and never the same without end."""

    def __init__(self, utterances: Sequence[FallbackText], *, plays: int = PLAYS) -> None:
        self._utterances = tuple(utterances)
        self._plays = plays
        self._played: Counter[str] = Counter()

    def choose(
        self, situation: Situation, language: str, *, heard: str = "", again: bool = False
    ) -> FallbackText | None:
        """Return the utterance that fits best, counted as played, or None: all were worn out.

        Args:
            situation: What happened.
            language: A tag such as `en` or `es-MX`; without texts of its own it is English.
            heard: What the caller lately said: a text on that topic goes before a general one.
            again: What is worn out may be said once more: the caller would hear nothing else.
        """
        fresh = [
            utterance
            for utterance in in_language(self._utterances, language)
            if utterance.situation is situation and (again or self._played[utterance.name] < self._plays)
        ]
        said = _spoken(heard)
        on_topic = [utterance for utterance in fresh if any(f" {topic}" in said for topic in utterance.topics)]
        general = [utterance for utterance in fresh if not utterance.topics]
        candidates = on_topic or general
        if not candidates:
            return None
        chosen = min(candidates, key=lambda utterance: (self._played[utterance.name], utterance.number))
        self._played[chosen.name] += 1
        return chosen


def in_language(utterances: Sequence[FallbackText], language: str) -> tuple[FallbackText, ...]:
    """Return the texts for a tag such as `es-MX`: of that, of Spanish, or else of English."""
    for tag in (language, language.split("-", maxsplit=1)[0], DEFAULT_LANGUAGE):
        found = tuple(utterance for utterance in utterances if utterance.language == tag)
        if found:
            return found
    return ()


def _spoken(heard: str) -> str:
    letters = "".join(item if item.isalnum() else " " for item in heard.casefold())
    return " " + " ".join(letters.split())
