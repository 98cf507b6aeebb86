"""Decides whether words of the caller are a turn, or only accompany what the agent says.

A caller who says "okay" or "uh-huh" while the agent speaks is listening: it is a backchannel, and
the agent goes on. After a question of the agent the same word is an answer.

On a line with an echo the recogniser also hears the agent. Words that repeat what was just said are
an echo if the sound began while the agent was heard. A caller who repeats words after that, to
confirm them, takes a turn.
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
_LONGEST: Final = max(map(len, _BACKCHANNELS))
_MOST: Final = 4  # words: "yeah, okay, I see" and the like
_REPEATED: Final = 0.7  # of the words: a recogniser mishears some of an echo
_FEW: Final = 2  # words that a caller may repeat by chance
_LATELY: Final = 40  # words: what is said in some twelve seconds


class Aside(StrEnum):
    """Words that are no turn of the caller's."""

    BACKCHANNEL = "backchannel"
    ECHO = "echo"


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case and without marks."""
    return _WORD.findall(text.casefold().replace("\u2019", "'").replace("-", " "))


def is_backchannel(text: str) -> bool:
    """Return whether a text says only that the caller is listening."""
    words = words_of(text)
    if not 0 < len(words) <= _MOST:
        return False
    at = 0
    while at < len(words):
        lengths = range(min(_LONGEST, len(words) - at), 0, -1)
        found = (size for size in lengths if tuple(words[at : at + size]) in _BACKCHANNELS)
        if not (size := next(found, 0)):
            return False
        at += size
    return True


def asks(heard: str, rest: str = "") -> bool:
    """Return whether the agent has just asked something, or was asking it.

    Args:
        heard: What the caller has heard.
        rest: What would have followed.
    """
    sentences = [found.strip() for found in _SENTENCE.findall(f"{heard} {rest}".strip())]
    ended = [found.strip() for found in _SENTENCE.findall(heard.strip())]
    at = len(ended) - 1  # the sentence that was being said, or the last one
    return any(sentence.endswith("?") for sentence in sentences[max(0, at - 1) : at + 1])


def first_sentence(text: str) -> tuple[str, str]:
    """Return the first sentence of a text, and the rest."""
    found = _SENTENCE.match(text)
    if found is None:
        return text, ""
    return text[: found.end()].strip(), text[found.end() :].strip()


def repeats(text: str, said: str, *, spoken: bool) -> bool:
    """Return whether a text repeats what the agent has said lately.

    Args:
        text: What the recogniser understood.
        said: What the agent has said, up to now.
        spoken: The VAD heard speech, so that one or two words may be the caller's own.
    """
    words, lately = words_of(text), words_of(said)[-_LATELY:]
    if not words or (spoken and len(words) <= _FEW):
        return False
    return _in_order(words, lately) >= _REPEATED * len(words)


def _in_order(words: list[str], lately: list[str]) -> int:
    """Return how many of the words are there in this order: the longest common subsequence."""
    row = [0] * (len(lately) + 1)
    for word in words:
        before = row
        row = [0]
        for at, other in enumerate(lately):
            row.append(before[at] + 1 if word == other else max(before[at + 1], row[at]))
    return row[-1]


def aside_of(
    text: str, *, heard: str, rest: str, over_agent: bool, spoken: bool, echoes: bool
) -> Aside | None:
    """Return what words are that are no turn; `None` for a turn.

    Args:
        text: The words.
        heard: What the caller has heard of the agent.
        rest: What the agent had still to say when the sound began.
        over_agent: The sound began while the agent was heard.
        spoken: The VAD heard the caller speak.
        echoes: The caller's line carries our own sound back.
    """
    if over_agent and ((echoes and not spoken) or repeats(text, heard, spoken=spoken)):
        return Aside.ECHO
    if rest and is_backchannel(text) and not asks(heard, rest):
        return Aside.BACKCHANNEL
    return None
