"""Fallback texts by language, situation and topic, and the heard part of our own speech.

The texts come from a file that the operator may edit; `utterances_of` reads its parsed values. A
text with topics is for a caller who mentioned one of them; a text without topics is for all others.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, Final, cast

from calls.languages.facts import base_of
from calls.line import CallerLine
from fallbacks.data_files import read_data
from fallbacks.word_times import UNIT


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSentence:
    """Words of a fallback text, or of an answer's rest in the local voice.

    Attributes:
        text: The words.
        by: The voice: a rung's name, or `local`.
        turn: The turn in which they are said.
        kept: Whether the words that were heard are added to the assistant's context.
        protected: Whether the words cannot be interrupted.
        begin_s: Where they begin in the line's audio, in seconds.
        end_s: Where they end.
    """

    text: str
    by: str = ""
    turn: int = 0
    kept: bool = False
    protected: bool = False
    begin_s: float = 0.0
    end_s: float = 0.0


class OwnWords:
    """Tracks our own words on the line, and returns them when they were played."""

    def __init__(self, line: CallerLine) -> None:
        self._line = line
        self._waiting: deque[OwnSentence] = deque()

    @property
    def wake_at(self) -> float | None:
        """When the next sentence will have been heard, or `None`."""
        return self._line.heard_at(self._waiting[0].end_s) if self._waiting else None

    def add(self, sentence: OwnSentence, length_s: float) -> None:
        """Add words whose audio of `length_s` was just put on the line."""
        end_s = self._line.end_s
        self._waiting.append(replace(sentence, begin_s=end_s - length_s, end_s=end_s))

    def heard(self, now: float) -> list[OwnSentence]:
        """Return the sentences that were heard to the end and not returned before."""
        found: list[OwnSentence] = []
        while (at := self.wake_at) is not None and at <= now:
            found.append(self._waiting.popleft())
        return found

    def cut(self, now: float, *, line_ends: bool = False) -> list[OwnSentence]:
        """Return the heard part of interrupted sentences, in whole words, and forget the rest.

        Sentences that cannot be interrupted stay, because the line plays them; they end sooner if
        audio before them was dropped.

        Args:
            now: Monotonic, in seconds.
            line_ends: Whether no sentence stays, because the line ends.
        """
        heard_s, end_s = self._line.heard_s(now), self._line.end_s
        cut = [entry for entry in self._waiting if line_ends or not entry.protected]
        kept = [entry for entry in self._waiting if not line_ends and entry.protected]
        self._waiting = deque(replace(entry, end_s=min(entry.end_s, end_s)) for entry in kept)
        found = [replace(entry, text=_heard_beginning(entry, heard_s)) for entry in cut]
        return [entry for entry in found if entry.text]


def _heard_beginning(sentence: OwnSentence, heard_s: float) -> str:
    """Return the words heard up to `heard_s`, as if all words took the same time."""
    words = [unit.end() for unit in UNIT.finditer(sentence.text)]
    length_s = max(sentence.end_s - sentence.begin_s, 0.001)
    share = min(1.0, max(0.0, (heard_s - sentence.begin_s) / length_s))
    heard = int(share * len(words))
    return sentence.text[: words[heard - 1]].strip() if heard else ""


PLAYS: Final = 3  # of one text in one call
DEFAULT_LANGUAGE: Final = "en"
NUMBER: Final = "{number}"  # placeholder for the callback number; a text with it has no clip


class Situation(StrEnum):
    """The situation that a text is for."""

    # The agent's own sentences; its voice says them, so they need no clips.
    GREETING = "greeting"
    GOOD_MOMENT = "good_moment"  # the greeting of a campaign without one
    STILL_THERE = "still_there"  # to a silent caller
    SILENT_GOODBYE = "silent_goodbye"  # before we hang up on a silent caller
    RECORDED = "recorded"  # the call is recorded
    BRIDGE = "bridge"  # a tool's result, or the server, is late
    FAREWELL = "farewell"
    APOLOGY = "apology"  # the last sentence of a broken call
    SAY_AGAIN = "say_again"  # after `RESUMED`: the caller was speaking meanwhile

    # The sentences that are said when a provider cannot answer, from clips.
    FILLER = "filler"  # an answer is late
    STT = "stt"  # the caller was not understood: ask them to repeat
    LLM = "llm"  # no model can answer
    TTS = "tts"  # no provider's voice can speak
    DOWN = "down"  # several stages are down
    DEAF = "deaf"  # no recogniser works; said before the menu
    MENU = "menu"  # the choices by keypad
    MENU_WORDS = "menu_words"  # the choices by spoken words
    MENU_EITHER = "menu_either"  # the choices by keypad or words
    ASK_CALLBACK = "ask_callback"  # "Did you say callback?"
    ASK_NUMBER = "ask_number"  # the same, with the number to call
    CONFIRM_NUMBER = "confirm_number"  # after a key: the number, and to press the key again
    ASK_MESSAGE = "ask_message"  # as for a callback
    ASK_PERSON = "ask_person"
    CALLBACK = "callback"  # the callback is noted
    NO_CALLBACK = "no_callback"  # no callback: the number is unknown
    MESSAGE = "message"  # speak after the tone; a key ends the message
    MESSAGE_WORDS = "message_words"  # the same where no keypad can be used
    PERSON = "person"  # the transfer begins
    ON_HOLD = "on_hold"  # the transfer takes a moment longer
    NOT_REACHED = "not_reached"  # no person could be reached
    OFFER_CALLBACK = "offer_callback"  # a callback in place of the transfer
    TOGETHER = "together"  # the caller and the person hear each other from now on
    BACK = "back"  # the person has hung up, and the agent continues
    RESUMED = "resumed"  # the call was cut off for a moment, and continues
    FOR_PERSON = "for_person"  # to the called person, before the summary
    ACCEPT = "accept"  # to the called person, after the summary: how to accept by keypad
    ACCEPT_EITHER = "accept_either"  # the same, by keypad or with yes and no
    NOT_KEPT = "not_kept"  # the message could not be stored
    NOT_CALLED = "not_called"  # the number was put on the do-not-call list
    CONFIRM_CALLS = "confirm_calls"  # asks whether the number shall come off that list
    CALLED_AGAIN = "called_again"  # the number was taken off that list again, in the same call
    GOODBYE = "goodbye"


OF_AGENT: Final = frozenset(list(Situation)[: list(Situation).index(Situation.FILLER)])


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackText:
    """One text to be spoken."""

    language: str
    situation: Situation
    number: int  # from 0, within language and situation, in the order of the file
    text: str
    topics: tuple[str, ...] = ()  # beginnings of words, in lower case

    @property
    def name(self) -> str:
        """The name in events and of the clip."""
        return f"{self.language}.{self.situation}.{self.number}"


@cache
def built_in_texts() -> tuple[FallbackText, ...]:
    """Return Holdline's own texts; they are read once, because reading takes 0.1 s."""
    return utterances_of(read_data(__name__, "utterances.yaml"))


def utterances_of(texts: Mapping[str, Any]) -> tuple[FallbackText, ...]:
    """Return the texts of a parsed file: lists of texts by language and situation.

    A list entry is a text, or a mapping with `text` and a list of topics, `when`.

    Raises:
        ValueError: Texts are invalid; one line for each error.
    """
    found: list[FallbackText] = []
    wrong: list[str] = []
    for language, situations in texts.items():
        if not isinstance(situations, Mapping):
            wrong.append(f"{language} is {situations!r}; expected situations")
            continue
        for name, entries in cast(Mapping[str, Any], situations).items():
            try:
                found += _texts_of_situation(str(language), str(name), entries)
            except ValueError as error:
                wrong.append(str(error))
    if wrong:
        raise ValueError("\n".join(wrong))
    return tuple(found)


def _texts_of_situation(language: str, name: str, entries: object) -> Iterator[FallbackText]:
    """Yield the texts of a situation in one language.

    Raises:
        ValueError: The situation or an entry is invalid.
    """
    where = f"{language}.{name}"
    if name not in set(Situation):
        raise ValueError(f"{where} is not a situation ({', '.join(Situation)})")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where} is {entries!r}; expected a list of texts")
    for number, entry in enumerate(cast(list[Any], entries)):
        text, topics = _text_and_topics(entry)
        if not text or not isinstance(topics, list):
            raise ValueError(f"{where}[{number}] is {entry!r}; expected a text, or text and when")
        yield FallbackText(
            language=language,
            situation=Situation(name),
            number=number,
            text=text,
            topics=tuple(str(topic).casefold() for topic in cast(list[Any], topics)),
        )


def _text_and_topics(entry: object) -> tuple[str, object]:
    """Return an entry's text and its topics; the text is empty if the entry is invalid.

    The topics are not checked yet.
    """
    if not isinstance(entry, Mapping):
        return (entry.strip() if isinstance(entry, str) else "", [])
    fields = cast(Mapping[str, Any], entry)
    text = fields.get("text")
    valid = fields.keys() <= {"text", "when"}
    return (text.strip() if isinstance(text, str) and valid else "", fields.get("when", []))


class Chooser:
    """Chooses the texts for one call; each text is played at most `plays` times."""

    def __init__(self, utterances: Sequence[FallbackText], *, plays: int = PLAYS) -> None:
        self._utterances = tuple(utterances)
        self._plays = plays
        self._played: Counter[str] = Counter()

    def choose(
        self, situation: Situation, language: str, *, heard: str = "", again: bool = False
    ) -> FallbackText | None:
        """Return the best text and count it as played; `None` if there is none left.

        Of several texts, the one that was played least is the best.

        Args:
            situation: What happened.
            language: A tag such as `en` or `es-MX`; English if it has no texts.
            heard: The caller's latest words; a text on their topic comes before a general one.
            again: Whether texts may be repeated beyond `plays`.
        """
        fresh = [
            utterance
            for utterance in in_language(self._utterances, language)
            if utterance.situation is situation
            and (again or self._played[utterance.name] < self._plays)
        ]
        spoken = _words_in(heard)
        on_topic = [
            utterance
            for utterance in fresh
            if any(f" {topic}" in spoken for topic in utterance.topics)
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
    """Return the texts of each situation for a tag such as `es-MX`, or else for `es`, or English.

    A language may have texts for some situations only.
    """
    best: dict[Situation, str] = {}
    tags = (language.replace("_", "-").casefold(), base_of(language), DEFAULT_LANGUAGE)
    for tag in tags:
        for utterance in utterances:
            if utterance.language.casefold() == tag:
                best.setdefault(utterance.situation, tag)
    return tuple(
        utterance
        for utterance in utterances
        if utterance.language.casefold() == best.get(utterance.situation)
    )


def merged(
    own: Sequence[FallbackText], built_in: Sequence[FallbackText]
) -> tuple[FallbackText, ...]:
    """Return the owner's texts, and the built-in ones of every situation that they lack."""
    given = {(utterance.language, utterance.situation) for utterance in own}
    others = (item for item in built_in if (item.language, item.situation) not in given)
    return (*own, *others)


def _words_in(heard: str) -> str:
    """Return the words with a space before each, to search for beginnings of words."""
    letters = "".join(item if item.isalnum() else " " for item in heard.casefold())
    return " " + " ".join(letters.split())
