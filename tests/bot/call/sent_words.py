"""The words that the lab's voices sent in a call, and whether each was heard once."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lab.control import LabControl
from lab.drill.evidence import sent_between
from lab.drill.hearing import Sent, bare, bare_words, heard_words
from lab.drill.judge import compare_words
from lab.drill.matching import TELEPHONE, EarPath
from lab.process import RunningLab

HELLO = "Hello. I have a caller on the line who would like to speak with you."
ASKED = "To take the call, press 1, or say yes. To decline, press 2, or say no."

Pcm = NDArray[np.int16]


async def words_sent(lab: RunningLab, first: str, last: str = "") -> list[Sent]:
    """Return the words that the voices sent from the text `first` to `last`, or to the end."""
    async with LabControl(lab) as control:
        sent = await sent_between(control, 0.0, math.inf)
    words = [bare(word.text) for word in sent]
    ends = _place_of(last, words) + len(bare_words(last)) if last else len(sent)
    return sent[_place_of(first, words) : ends]


def amiss(
    heard: Pcm, sent: Sequence[Sent], *, line: EarPath = TELEPHONE
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that were not heard, and those that were heard in their place."""
    text = " ".join(word.text for word in sent)
    return compare_words(heard_words(heard, sent, line=line), text)


def begins_with(whole: Sequence[Sent], heard: Pcm, *, line: EarPath = TELEPHONE) -> int:
    """Return how many leading words of an interrupted text were heard; 0 if any other was."""
    words = [bare(heard_word.text) for heard_word in heard_words(heard, whole, line=line)]
    return len(words) if words == [bare(sent.text) for sent in whole][: len(words)] else 0


def _place_of(text: str, words: Sequence[str]) -> int:
    part = bare_words(text)
    places = range(len(words) - len(part) + 1)
    return next(at for at in places if list(words[at : at + len(part)]) == part)
