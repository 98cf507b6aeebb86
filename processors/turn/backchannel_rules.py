"""Decides whether the caller's words are a turn, a backchannel or an echo.

A caller who says "okay" or "uh-huh" while the agent speaks is only listening: the word is a
backchannel, and the agent goes on. After a question of the agent, the same word is an answer.

On a line with an echo, the recogniser also transcribes the agent. Words that repeat the agent's
latest words are an echo if their sound began while the agent was audible. A caller who repeats the
words later, to confirm them, takes a turn.

The backchannels of all languages are recognised together, because the caller may not speak the
agent's language.
"""

import re
from enum import StrEnum
from typing import Final

from calls.languages.facts import languages
from calls.languages.sentence_rules import sentences_of

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_ASKS: Final = ("?", "\uff1f", "\u061f")
_MOST_WORDS: Final = 4  # words: "yeah, okay, I see" and the like
_REPEATED_SHARE: Final = 0.7  # share of the words: a recogniser mishears some words of an echo
_CHANCE_WORDS: Final = 2  # words; a caller may repeat that many by chance
_RECENT_WORDS: Final = 40  # words, which take about twelve seconds


class Aside(StrEnum):
    """Words that are not a turn of the caller."""

    BACKCHANNEL = "backchannel"
    ECHO = "echo"


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case and without marks."""
    return _WORD.findall(text.casefold().replace("\u2019", "'").replace("-", " "))


_BACKCHANNELS: Final = frozenset(
    tuple(words_of(phrase)) for facts in languages().values() for phrase in facts.backchannels
)
_MOST_PHRASE_WORDS: Final = max(map(len, _BACKCHANNELS))


def is_backchannel(text: str) -> bool:
    """Return whether a text is a short backchannel and nothing else."""
    words = words_of(text)
    if not 0 < len(words) <= _MOST_WORDS:
        return False
    at = 0
    while at < len(words):
        lengths = range(min(_MOST_PHRASE_WORDS, len(words) - at), 0, -1)
        found = (size for size in lengths if tuple(words[at : at + size]) in _BACKCHANNELS)
        if not (size := next(found, 0)):
            return False
        at += size
    return True


def asks(heard: str, rest: str = "", language: str = "") -> bool:
    """Return whether one of the agent's latest two sentences is a question.

    Args:
        heard: The agent's words that the caller has heard.
        rest: The words that would have followed.
        language: The agent's language, as a tag.
    """
    sentences = [found.strip() for found in sentences_of(f"{heard} {rest}".strip(), language)]
    ended = list(sentences_of(heard.strip(), language))
    at = len(ended) - 1  # the sentence in progress, or the last one
    return any(sentence.endswith(_ASKS) for sentence in sentences[max(0, at - 1) : at + 1])


def first_sentence(text: str, language: str = "") -> tuple[str, str]:
    """Return the first sentence of a text, and the rest."""
    found = next(sentences_of(text, language), text)
    return found.strip(), text[len(found) :].strip()


def repeats(text: str, said: str, *, spoken: bool) -> bool:
    """Return whether a text repeats the agent's latest words.

    Args:
        text: The transcript.
        said: The agent's words up to now.
        spoken: The VAD heard speech, so one or two words may be the caller's own.
    """
    words, recent = words_of(text), words_of(said)[-_RECENT_WORDS:]
    if not words or (spoken and len(words) <= _CHANCE_WORDS):
        return False
    return _count_common(words, recent) >= _REPEATED_SHARE * len(words)


def _count_common(words: list[str], recent: list[str]) -> int:
    """Return the length of the longest common subsequence of two lists of words."""
    row = [0] * (len(recent) + 1)
    for word in words:
        previous_row, row = row, [0]
        for at, other in enumerate(recent):
            skipped = max(previous_row[at + 1], row[at])
            row.append(previous_row[at] + 1 if word == other else skipped)
    return row[-1]


def aside_of(
    text: str,
    *,
    heard: str,
    rest: str,
    over_agent: bool,
    spoken: bool,
    echoes: bool,
    language: str = "",
) -> Aside | None:
    """Return why words are not a turn; `None` if they are one.

    Args:
        text: The words.
        heard: The agent's words that the caller has heard.
        rest: The agent's words that were still to come when the sound began.
        over_agent: The sound began while the agent was audible.
        spoken: The VAD heard the caller speak.
        echoes: The caller's line returns our own audio.
        language: The agent's language, as a tag.
    """
    if over_agent and ((echoes and not spoken) or repeats(text, heard, spoken=spoken)):
        return Aside.ECHO
    if rest and is_backchannel(text) and not asks(heard, rest, language):
        return Aside.BACKCHANNEL
    return None
