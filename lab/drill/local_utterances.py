"""The local voice's possible utterances of a text: from any word to its sentence's end."""

import functools
from typing import Final

from lab.drill.local_words import LocalUtterance
from lab.drill.places import RATE_HZ
from providers.local_tts import VOICE, Manner, names, pieces, speak

LANGUAGE: Final = "en"  # of the drill's calls


@functools.cache
def utterances(text: str) -> tuple[LocalUtterance, ...]:
    """Return each sentence of a text from each of its words on; blocks a few ms a word."""
    return tuple(
        _spoken(" ".join(words[first:]))
        for sentence in pieces(text)
        for words in (sentence.split(),)
        for first in range(len(words))
    )


def _spoken(words: str) -> LocalUtterance:
    piece = speak(words, names(VOICE, LANGUAGE), manner=Manner(), rate_hz=RATE_HZ)
    ends = [*(start_s for _, start_s in piece.words[1:]), piece.duration_s]
    return LocalUtterance(
        samples=piece.samples,
        words=tuple((word, at, end) for (word, at), end in zip(piece.words, ends, strict=True)),
    )
