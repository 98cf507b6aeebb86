"""Judges what a caller heard of one reply: every word once, in order, without gaps; pure.

The words are found in the recording itself, independently of what the agent believes it has said.
"""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.drill.hearing import (
    RecordedWord,
    Sent,
    bare,
    bare_words,
    heard_words,
    reply_words,
    with_local_words,
)
from lab.drill.local_words import LocalUtterance
from lab.drill.matching import TELEPHONE, EarPath
from lab.drill.sound import SPEECH_S, silence, stretches

Pcm: TypeAlias = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyVerdict:
    """The verdict on one reply; times are seconds from the caller's stop.

    Attributes:
        words: The words of the reply that were heard, in order.
        missing: Words that should have been heard and were not.
        extra: Words that were heard too often or in the wrong place.
        first_word_s: The start of its first word; `None` if none was heard.
        first_speech_s: The start of any speech, fillers included; `None` if there was none.
        gap_s: The longest silence inside the reply beyond its natural pauses.
        other: Spans of other speech: fillers, clips, half words.
        voices: The providers that spoke it, in order; without repetition in a row.
    """

    words: tuple[RecordedWord, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    first_word_s: float | None
    first_speech_s: float | None
    gap_s: float
    other: tuple[tuple[float, float], ...] = ()
    voices: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether each word was heard once, in order."""
        return bool(self.words) and not self.missing and not self.extra


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedWords:
    """The words that should have been heard.

    Attributes:
        text: The whole reply.
        pauses: The silence that belongs after each of its words, in seconds; by index.
    """

    text: str
    pauses: Sequence[float] = field(default=())


def judge(
    recording: Pcm,
    sent: Sequence[Sent],
    *,
    said: ExpectedWords,
    stop_s: float,
    local: Sequence[LocalUtterance] = (),
    line: EarPath = TELEPHONE,
) -> ReplyVerdict:
    """Judge what a caller heard of a reply.

    Args:
        recording: What the caller heard in the judged period, at 8000 Hz.
        sent: What the voices sent in that period, fillers included.
        said: The words that should have been heard.
        stop_s: When the caller stopped speaking, in seconds of the recording.
        local: The parts of the reply that the local voice may have said.
        line: The line's effect on the voices' sound.
    """
    words = heard_words(recording, reply_words(sent, said.text), line=line)
    words = with_local_words(recording, words, local)
    missing, extra = compare_words(words, said.text)
    speech = stretches(recording, from_s=stop_s)
    return ReplyVerdict(
        words=words,
        missing=missing,
        extra=extra,
        first_word_s=words[0].at_s - stop_s if words else None,
        first_speech_s=speech[0][0] - stop_s if speech else None,
        gap_s=longest_gap(recording, words, said=said),
        other=tuple((a - stop_s, b - stop_s) for a, b in _unexplained_speech(speech, words)),
        voices=_voices_in_order(words),
    )


def compare_words(
    words: Sequence[RecordedWord], text: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words of a text that were not heard, and those heard in their place."""
    wanted, got = bare_words(text), [bare(word.text) for word in words]
    missing: list[str] = []
    extra: list[str] = []
    same = difflib.SequenceMatcher(a=wanted, b=got, autojunk=False)
    for kind, a1, a2, b1, b2 in same.get_opcodes():
        if kind != "equal":
            missing += wanted[a1:a2]
            extra += got[b1:b2]
    return tuple(missing), tuple(extra)


# -- speech and silence


def longest_gap(recording: Pcm, words: Sequence[RecordedWord], *, said: ExpectedWords) -> float:
    """Return the longest silence between two words of a reply, minus the natural pause there."""
    longest = 0.0
    for index, (word, after) in enumerate(itertools.pairwise(words)):
        if (word.provider, word.request) == (after.provider, after.request):
            natural_s = max(0.0, after.after_s - word.until_s)
        else:
            # Found by index, so it is right only if every word was heard once.
            natural_s = said.pauses[index] if index < len(said.pauses) else 0.0
        longest = max(longest, silence(recording, word.end_s, after.at_s) - natural_s)
    return longest


def _unexplained_speech(
    speech: Sequence[tuple[float, float]], words: Sequence[RecordedWord]
) -> list[tuple[float, float]]:
    """Return the spans of speech outside the reply's words, without those under `2 * SPEECH_S`."""
    rest: list[tuple[float, float]] = []
    for start, end in speech:
        at_s = start
        for word in words:
            if word.end_s <= start or word.at_s >= end:
                continue
            rest.append((at_s, word.at_s))
            at_s = max(at_s, word.end_s)
        rest.append((at_s, end))
    return [(a, b) for a, b in rest if b - a >= 2 * SPEECH_S]


def _voices_in_order(words: Sequence[RecordedWord]) -> tuple[str, ...]:
    """Return the providers whose words were heard, in order; one is repeated only after another."""
    voices: list[str] = []
    for word in words:
        if not voices or voices[-1] != word.provider:
            voices.append(word.provider)
    return tuple(voices)


def verdict_as_json(verdict: ReplyVerdict) -> Mapping[str, Any]:
    """Return a verdict as JSON values."""
    return {
        "whole": verdict.whole,
        "missing": list(verdict.missing),
        "extra": list(verdict.extra),
        "first_word_s": verdict.first_word_s,
        "first_speech_s": verdict.first_speech_s,
        "gap_s": verdict.gap_s,
        "other": [list(item) for item in verdict.other],
        "voices": list(verdict.voices),
        "words": [[word.text, word.provider, word.at_s, word.end_s] for word in verdict.words],
    }
