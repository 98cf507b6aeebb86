"""Finds speech and silence in a recording, by energy; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]

RATE_HZ: Final = 8000  # of a telephone, and of everything that the drill compares


@dataclass(frozen=True, slots=True)
class Match:
    """A sound's place in a recording, in samples, and how well it matches (0 to 1)."""

    start: int
    end: int
    alike: float


AUDIBLE: Final = 200  # of 32768, about -44 dBFS: a quiet line is below it
FRAME: Final = RATE_HZ // 100  # samples
SPEECH_S: Final = 0.06  # a shorter sound is a click


def stretches(recording: Pcm, *, from_s: float = 0.0) -> list[tuple[float, float]]:
    """Return the spans of speech from `from_s` on, in seconds of the recording.

    Speech is louder than line noise. Pauses under 50 ms belong to it, and it lasts `SPEECH_S` at
    least.
    """
    first = round(from_s * RATE_HZ)
    frames = np.abs(recording[first:].astype(np.int32))
    frames = frames[: frames.size // FRAME * FRAME].reshape(-1, FRAME).max(axis=1, initial=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], frames > AUDIBLE, [0]])))
    spans = [
        (from_s + a * FRAME / RATE_HZ, from_s + b * FRAME / RATE_HZ)
        for a, b in edges.reshape(-1, 2).tolist()
    ]
    return [(a, b) for a, b in join_spans(spans) if b - a >= SPEECH_S]


def join_spans(
    spans: Iterable[tuple[float, float]], *, within_s: float = 0.05
) -> list[tuple[float, float]]:
    """Return the spans, joined where the pause between two of them is shorter than `within_s`."""
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < within_s:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def silence(recording: Pcm, from_s: float, until_s: float) -> float:
    """Return the length of the longest silence between two moments, in seconds."""
    part = recording[: max(0, round(until_s * RATE_HZ))]
    edges = [from_s, *(item for span in stretches(part, from_s=from_s) for item in span), until_s]
    return max(0.0, *(b - a for a, b in zip(edges[::2], edges[1::2], strict=True)))
