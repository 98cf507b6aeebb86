"""Plays received audio as a telephone does, and also without the underruns; pure.

A telephone plays in real time. If the next piece comes late, there is a hole, and a word with holes
is hard to find by its sound. So words are searched for in the audio without holes, and holes are
counted separately: a torn word is not a lost word.
"""

import base64
import bisect
from collections.abc import Iterable
from typing import Final

import numpy as np

from lab.callers import RATE_HZ, decode
from lab.drill.sound import Pcm

HOLE_S: Final = 2.0  # chosen: a longer silence between two pieces is a pause, and is kept


class Playback:
    """The audio of one call, as it was played and without holes; positions are in samples."""

    def __init__(self, arrivals: Iterable[tuple[float, str, str]], *, length_s: float) -> None:
        """Play the received audio.

        Args:
            arrivals: For each message its time in seconds of the call, its kind (`media` or
                `clear`) and its payload.
            length_s: The length of the call.
        """
        self.played = np.zeros(max(0, round(length_s * RATE_HZ)), np.int16)
        self.seamless = np.zeros(0, np.int16)
        self._seams: list[int] = []  # where each stretch begins in the seamless audio
        self._places: list[int] = []  # where each stretch begins in the played audio
        self._join_pieces(_played_pieces(arrivals))

    def _join_pieces(self, pieces: list[tuple[int, bytes]]) -> None:
        """Join the pieces: as they were played, and without the holes shorter than `HOLE_S`."""
        parts: list[Pcm] = []
        seam, end = 0, 0
        for start, payload in pieces:
            if start - end >= HOLE_S * RATE_HZ:
                self._begin_part(seam, end)
                parts.append(np.zeros(start - end, np.int16))
                seam += start - end
            self._begin_part(seam, start)
            sound = decode(payload)
            kept = sound[: max(0, self.played.size - start)]
            self.played[start : start + kept.size] = kept
            parts.append(sound)
            seam, end = seam + sound.size, start + sound.size
        self._begin_part(seam, end)  # the silence after the last sound
        rest = max(0, self.played.size - end)
        self.seamless = np.concatenate([np.zeros(0, np.int16), *parts, np.zeros(rest, np.int16)])

    def _begin_part(self, seam: int, place: int) -> None:
        self._seams.append(seam)
        self._places.append(place)

    def place(self, seam: int) -> int:
        """Return where a sample of the seamless audio was played."""
        at = max(0, bisect.bisect_right(self._seams, seam) - 1)
        return self._places[at] + seam - self._seams[at]

    def seam(self, place: int) -> int:
        """Return the sample of the seamless audio that was played there, or else the next one."""
        at = max(0, bisect.bisect_right(self._places, place) - 1)
        until = self._seams[at + 1] if at + 1 < len(self._seams) else self.seamless.size
        return min(self._seams[at] + max(0, place - self._places[at]), until)


def _played_pieces(arrivals: Iterable[tuple[float, str, str]]) -> list[tuple[int, bytes]]:
    """Return the pieces that were played, each as the position of its first sample and its mu-law.

    Positions are in samples; mu-law has one byte for each.
    """
    pieces: list[tuple[int, bytes]] = []
    ends_at = 0  # the position at which the received audio ends
    for at_s, kind, payload in arrivals:
        now = round(at_s * RATE_HZ)
        if kind == "media":
            mu_law = base64.b64decode(payload)
            start = max(ends_at, now)  # after the earlier audio; if that has ended, on arrival
            pieces.append((start, mu_law))
            ends_at = start + len(mu_law)
            continue
        ends_at = min(ends_at, now)  # "clear": the telephone drops what it has not played yet
        while pieces and pieces[-1][0] >= now:
            pieces.pop()
        if pieces:  # it was being played
            start, mu_law = pieces.pop()
            pieces.append((start, mu_law[: now - start]))
    return pieces
