"""Finds the words of a reply in a recording; pure.

The recording is searched for the sound that the simulated voices report to have sent, and for the
reply as the local voice says it.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.drill.local_words import LocalUtterance, heard_utterances
from lab.drill.matching import TELEPHONE, EarPath, SearchedRecording
from lab.drill.sound import RATE_HZ

Pcm: TypeAlias = NDArray[np.int16]

LOCAL: Final = "local"  # the voice without a provider
WORDS_PER_OMISSION: Final = 3  # a voice may leave out one word for this many that it spoke
FINEST: Final = (
    4  # positions for each sample; at 44.1 kHz there are more, and these are near enough
)
MAX_SHARED: Final = 0.4  # of the shorter word; two words that overlap more cannot both be there


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One word that a voice sent, with its sound at 8000 Hz.

    Attributes:
        text: The word in the voice's text.
        provider: The voice's provider.
        request: The number of the request.
        start_s: The word's start in that request's sound.
        end_s: The word's end there.
        samples: The word's sound.
        rate_hz: The rate at which it was sent.
    """

    text: str
    provider: str
    request: int
    start_s: float
    end_s: float
    samples: Pcm
    rate_hz: int = RATE_HZ

    @property
    def positions(self) -> int:
        """The positions between two samples of the line at which it can begin.

        An agent may resample several requests as one stream, so the next one's first sample can be
        between two of the line's.
        """
        return min(self.rate_hz // math.gcd(self.rate_hz, RATE_HZ), FINEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWord:
    """A word in the recording; times are seconds from its beginning."""

    text: str
    provider: str
    request: int
    at_s: float
    end_s: float
    after_s: float  # its start in the sound of its request
    until_s: float  # its end there


def bare(word: str) -> str:
    """Return a word in lower case, without punctuation."""
    return re.sub(r"[\W_]", "", word).lower()


def bare_words(text: str) -> list[str]:
    """Return the words of a text, bare; those without a letter or digit are left out."""
    return [item for item in map(bare, text.split()) if item]


# -- which requests spoke the reply


def reply_words(sent: Sequence[Sent], text: str) -> list[Sent]:
    """Return the words of the requests that spoke part of the reply, without fillers."""
    reply = bare_words(text)
    requests: dict[tuple[str, int], list[Sent]] = {}
    for word in sent:
        if bare(word.text):
            requests.setdefault((word.provider, word.request), []).append(word)
    return [
        word
        for words in requests.values()
        if _is_part_of([bare(word.text) for word in words], reply)
        for word in words
    ]


def _is_part_of(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Return whether the part occurs in the whole, perhaps with a few words left out."""
    most = len(part) // WORDS_PER_OMISSION
    return any(
        _count_left_out(part, whole[at:]) <= most
        for at, word in enumerate(whole)
        if word == part[0]
    )


def _count_left_out(part: Sequence[str], whole: Sequence[str]) -> float:
    """Return how many words of the whole the part skips; infinite if it does not fit."""
    # One iterator for all words: each is searched for after the place of the one before.
    rest = iter(enumerate(whole, 1))
    ends = [next((at for at, other in rest if other == word), math.inf) for word in part]
    return ends[-1] - len(part)


# -- which of them were heard


def heard_words(
    recording: Pcm, sent: Iterable[Sent], *, line: EarPath = TELEPHONE
) -> tuple[RecordedWord, ...]:
    """Return the words in a recording, in the order in which they are heard."""
    # Callers with the same question get the same sound: one search finds all places.
    sounds = {(word.text, word.samples.tobytes()): word for word in reversed(list(sent))}
    searched = {
        positions: SearchedRecording(recording, line=replace(line, finer=positions))
        for positions in {max(line.finer, word.positions) for word in sounds.values()}
    }
    matches = [
        (match, word)
        for word in sounds.values()
        for match in searched[max(line.finer, word.positions)].matches(word.samples)
    ]
    # The best match first; of two words at one place the longer one explains more of it.
    matches.sort(key=lambda match: (-round(match[0].alike, 2), match[0].start - match[0].end))
    occupied: list[tuple[int, int]] = []
    words: list[RecordedWord] = []
    for match, word in matches:
        if any(_overlap_much((match.start, match.end), place) for place in occupied):
            continue
        occupied.append((match.start, match.end))
        words.append(
            RecordedWord(
                text=word.text,
                provider=word.provider,
                request=word.request,
                at_s=match.start / RATE_HZ,
                end_s=match.end / RATE_HZ,
                after_s=word.start_s,
                until_s=word.end_s,
            )
        )
    return tuple(sorted(words, key=lambda word: word.at_s))


def with_local_words(
    recording: Pcm, words: Sequence[RecordedWord], looked_for: Sequence[LocalUtterance]
) -> tuple[RecordedWord, ...]:
    """Return the words heard, and the local voice's utterances that overlap none of them."""
    occupied = [(word.at_s, word.end_s) for word in words]
    more: list[RecordedWord] = []
    for heard in heard_utterances(recording, looked_for):
        spoken = looked_for[heard.index]
        places = [(heard.at_s + start_s, heard.at_s + end_s) for _, start_s, end_s in spoken.words]
        if any(_overlap_much(place, other) for place in places for other in occupied):
            continue
        occupied += places
        pairs = list(zip(spoken.words, places, strict=True))
        if heard.begun_twice:  # its first word also occurs directly before it
            (word, (at_s, until_s)) = pairs[0]
            pairs.insert(0, (word, (2 * at_s - until_s, at_s)))
        more += [
            RecordedWord(
                text=text,
                provider=LOCAL,
                request=heard.index,
                at_s=at_s,
                end_s=until_s,
                after_s=start_s,
                until_s=end_s,
            )
            for (text, start_s, end_s), (at_s, until_s) in pairs
        ]
    return tuple(sorted([*words, *more], key=lambda word: word.at_s))


def _overlap_much(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether two places share more than `MAX_SHARED` of the shorter one."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return shared > MAX_SHARED * min(one[1] - one[0], other[1] - other[0])
