"""Continues an answer that was cut off, in the ways of real models."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.simulators.receptionist.messages import Message, text_of

CONTINUATIONS: Final = ("clean", "no_space", "overlap", "repeat_all")
OVERLAP_WORDS: Final = 2

_ASKED: Final = re.compile(
    r"\bcut (?:off|short)\b|\bbroken off\b|\binterrupted\b|\bcontinue\b|\bcarry on\b|\bgo on\b"
    r"|\balready (?:said|spoken|heard|been)\b|\bcomes next\b"
)
_QUOTED: Final = re.compile(r"[\"\u201c](.+)[\"\u201d]", re.DOTALL)
_NOBODY: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """The start of the answer that was cut off (an index of messages), and its spoken part."""

    at: int
    said: str


def cut_off(messages: Sequence[Message]) -> CutOff | None:
    """Return the answer that the last messages ask to continue, if they do.

    The spoken part may be in an assistant message, with or without a note after it, or quoted in
    the note.
    """
    last = messages[-1]
    if last.get("role") == "assistant":
        return CutOff(at=len(messages) - 1, said=text_of(last))
    if last.get("role") == "tool" or not _ASKED.search(text_of(last).lower()):
        return None
    before = messages[-2] if len(messages) > 1 else _NOBODY
    if before.get("role") == "assistant" and text_of(before):
        return CutOff(at=len(messages) - 2, said=text_of(before))
    quoted = _QUOTED.search(text_of(last))
    return CutOff(at=len(messages) - 1, said=quoted[1]) if quoted else None


def words_said(whole: str, said: str) -> int:
    """Return how many words of an answer were spoken; half a word at the end does not count."""
    pairs = zip(whole.split(), said.split(), strict=False)
    differing = (at for at, (word, heard) in enumerate(pairs) if _bare(word) != _bare(heard))
    return next(differing, min(len(whole.split()), len(said.split())))


def rest_of(whole: str, *, count: int, continuation: str) -> str:
    """Return a model's continuation after `count` words of an answer.

    Args:
        whole: The complete answer.
        count: The spoken words.
        continuation: `clean` (the rest, with its leading space), `no_space` (without it),
            `overlap` (the last words again, then the rest), `repeat_all` (the whole answer).
    """
    words = whole.split()
    match continuation:
        case "repeat_all":
            return whole
        case "overlap":
            return " ".join(words[max(0, count - OVERLAP_WORDS) :])
        case "no_space":
            return " ".join(words[count:])
        case _:
            return "".join(f" {word}" for word in words[count:])


def _bare(word: str) -> str:
    return re.sub(r"\W", "", word).lower()
