"""Finds rendered clips in a turn, by the sound that the voices sent for them.

A clip counts if its whole sound is found. The same words in the local voice, or a filler, do not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lab.control import LabControl
from lab.drill.evidence import JudgedTurn, read_sounds
from lab.drill.judge import compare_words
from lab.drill.matching import EarPath, SearchedRecording
from lab.drill.sound import RATE_HZ, SPEECH_S, Pcm, join_spans

# A clip is trimmed before it is resampled to 8000 Hz, so its samples lie between the lab's.
BETWEEN: Final = EarPath(alike=0.95, short_alike=0.95, finer=4)
AROUND_S: Final = 0.3  # searched on both sides of a span of speech, for a clip's faint edges
PAUSE_S: Final = 1.0  # longer than a voice's pause between two sentences of a clip


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedClip:
    """A text as a voice said it before the call, at 8000 Hz."""

    text: str
    provider: str
    samples: Pcm


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardClips:
    """The sounds in a turn besides its reply; seconds from the caller's stop.

    Attributes:
        clips: The text, start and end of each clip found.
        other: Spans of speech that are no clip.
    """

    clips: tuple[tuple[str, float, float], ...]
    other: tuple[tuple[float, float], ...]


async def read_clips(control: LabControl) -> tuple[RenderedClip, ...]:
    """Return everything that the voices have spoken so far, from the lab's record."""
    words = await control.words()
    sounds = await read_sounds(control, words)
    clips: list[RenderedClip] = []
    for (provider, request), (sound, _) in sounds.items():
        spoken = [w for w in words if (w["instance"], w["request"]) == (provider, request)]
        first, last = round(spoken[0]["start_s"] * RATE_HZ), round(spoken[-1]["end_s"] * RATE_HZ)
        text = " ".join(word["text"] for word in spoken)
        clips.append(RenderedClip(text=text, provider=provider, samples=sound[first:last]))
    return tuple(clips)


def find_clips(judged: JudgedTurn, rendered: Sequence[RenderedClip]) -> HeardClips:
    """Return the clips in a turn's sound outside its reply; blocks about 0.1 s."""
    stop_s = judged.turn.stop_s - judged.turn.began_s
    clips: list[tuple[str, float, float]] = []
    for start_s, end_s in join_spans(judged.verdict.other, within_s=PAUSE_S):
        from_s = max(0.0, stop_s + start_s - AROUND_S)
        part = judged.recording[
            round(from_s * RATE_HZ) : round((stop_s + end_s + AROUND_S) * RATE_HZ)
        ]
        for text, at_s, until_s in _find_in(part, rendered):
            clips.append((text, from_s - stop_s + at_s, from_s - stop_s + until_s))
    other = [left for span in judged.verdict.other for left in _uncovered_parts(span, clips)]
    return HeardClips(clips=tuple(clips), other=tuple(other))


def outside_clips(judged: JudgedTurn, heard: HeardClips) -> JudgedTurn:
    """Return a turn judged again without the words inside clips.

    A word of a clip may be mistaken for the same word of the reply.
    """
    words = tuple(
        word
        for word in judged.verdict.words
        if not any(a <= word.at_s and word.end_s <= b for _, a, b in heard.clips)
    )
    missing, extra = compare_words(words, judged.turn.answer)
    verdict = replace(judged.verdict, words=words, missing=missing, extra=extra)
    return replace(judged, verdict=verdict)


def _find_in(part: Pcm, rendered: Sequence[RenderedClip]) -> list[tuple[str, float, float]]:
    """Return the clips in part of a recording, each place once; longer ones take precedence."""
    searched = SearchedRecording(part, line=BETWEEN)
    found: list[tuple[str, float, float]] = []
    for clip in sorted(rendered, key=lambda clip: -clip.samples.size):
        if clip.samples.size > part.size:
            continue
        for match in searched.matches(clip.samples):
            at_s, until_s = match.start / RATE_HZ, match.end / RATE_HZ
            if all(until_s <= a or at_s >= b for _, a, b in found):
                found.append((clip.text, at_s, until_s))
    return found


def _uncovered_parts(
    span: tuple[float, float], clips: Iterable[tuple[str, float, float]]
) -> list[tuple[float, float]]:
    """Return the parts of a span of speech outside all clips; none is under `2 * SPEECH_S`."""
    at_s, end_s = span
    left: list[tuple[float, float]] = []
    for _, start_s, until_s in sorted(clips, key=lambda clip: clip[1]):
        if start_s < end_s and until_s > at_s:
            left.append((at_s, start_s))
            at_s = max(at_s, until_s)
    left.append((at_s, end_s))
    return [(a, b) for a, b in left if b - a >= 2 * SPEECH_S]
