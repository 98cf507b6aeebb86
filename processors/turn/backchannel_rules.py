"""Decides whether the caller's words are a turn, a backchannel or an echo.

A caller who says "okay" or "uh-huh" while the agent speaks is only listening: the word is a
backchannel, and the agent goes on. After a question of the agent, the same word is an answer.

On a line with an echo, the recogniser also transcribes the agent. Words that repeat the agent's
latest words are an echo if their sound began while the agent was audible. A caller who repeats the
words later, to confirm them, takes a turn.
"""

import re
from enum import StrEnum
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SENTENCE: Final = re.compile(r"[^.!?…]+[.!?…]*")

_PHRASES: Final = (
    # English
    "uh huh|uhhuh|uhuh|mhm|mmhm|mhmm|mm hm|mm hmm|mm|mmm|hm|hmm|uh|um|ah|aha|oh|okay|ok|o k"
    "|yes|yeah|yep|yup|right|all right|alright|sure|fine|good|great|i see|got it|gotcha"
    "|i understand|understood|of course|exactly|true|cool|nice|very good|very well"
    # Spanish
    "|ajá|aja|ajam|sí|si|vale|claro|ya|bueno|bien|muy bien|de acuerdo|entiendo|entendido"
    "|perfecto|exacto|okey|ya veo|por supuesto|eso es"
    # Russian
    "|мгм|мм|хм|да|ну да|так|ясно|понятно|понял|поняла|хорошо|ладно|окей|ок|конечно"
    "|верно|точно|вижу|ну|ага|угу"  # noqa: RUF001 - Russian
)
_BACKCHANNELS: Final = frozenset(tuple(found.split()) for found in _PHRASES.split("|"))
_MOST_PHRASE_WORDS: Final = max(map(len, _BACKCHANNELS))
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


def asks(heard: str, rest: str = "") -> bool:
    """Return whether one of the agent's latest two sentences is a question.

    Args:
        heard: The agent's words that the caller has heard.
        rest: The words that would have followed.
    """
    sentences = [found.strip() for found in _SENTENCE.findall(f"{heard} {rest}".strip())]
    ended = [found.strip() for found in _SENTENCE.findall(heard.strip())]
    at = len(ended) - 1  # the sentence in progress, or the last one
    return any(sentence.endswith("?") for sentence in sentences[max(0, at - 1) : at + 1])


def first_sentence(text: str) -> tuple[str, str]:
    """Return the first sentence of a text, and the rest."""
    found = _SENTENCE.match(text)
    if found is None:
        return text, ""
    return text[: found.end()].strip(), text[found.end() :].strip()


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
    """Return the length of the longest common subsequence."""
    row = [0] * (len(recent) + 1)
    for word in words:
        previous_row, row = row, [0]
        for at, other in enumerate(recent):
            skipped = max(previous_row[at + 1], row[at])
            row.append(previous_row[at] + 1 if word == other else skipped)
    return row[-1]


def aside_of(
    text: str, *, heard: str, rest: str, over_agent: bool, spoken: bool, echoes: bool
) -> Aside | None:
    """Return why words are not a turn; `None` if they are one.

    Args:
        text: The words.
        heard: The agent's words that the caller has heard.
        rest: The agent's words that were still to come when the sound began.
        over_agent: The sound began while the agent was audible.
        spoken: The VAD heard the caller speak.
        echoes: The caller's line returns our own audio.
    """
    if over_agent and ((echoes and not spoken) or repeats(text, heard, spoken=spoken)):
        return Aside.ECHO
    if rest and is_backchannel(text) and not asks(heard, rest):
        return Aside.BACKCHANNEL
    return None
