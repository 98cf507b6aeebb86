"""Cleans the audio of a voice: whole samples, each piece once; and measures its silence."""

from typing import Final

import numpy as np

from runtime.pcm import AUDIBLE, SAMPLE_BYTES

PAUSE_S: Final = 0.7  # the longest natural pause in speech (chosen)


def audible(pcm: bytes) -> bool:
    """Return whether 16-bit little-endian PCM of whole samples contains an audible one."""
    samples = np.frombuffer(pcm, dtype="<i2")
    return bool(samples.size) and int(np.abs(samples.astype(np.int32)).max()) > AUDIBLE


def quiet_end(pcm: bytes) -> int:
    """Return the number of inaudible samples at the end of 16-bit little-endian PCM."""
    levels = np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32))
    loud = np.flatnonzero(levels > AUDIBLE)
    return levels.size - int(loud[-1]) - 1 if loud.size else levels.size


class Pieces:
    """Reads the pieces of one voice's audio."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._torn = b""  # half a sample at the end of the last piece
        self._last = b""
        self._quiet_s = 0.0
        self._spoke = False

    def take(self, piece: bytes) -> bytes:
        """Return the whole samples available now, and keep half a one; drop a repeated piece.

        Two consecutive pieces of real speech are never identical.
        """
        if piece == self._last and audible(piece[: len(piece) // 2 * 2]):  # whole samples
            return b""
        self._last = piece
        pcm = self._torn + piece
        end = len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES
        self._torn = pcm[end:]
        return pcm[:end]

    def speaking(self, pcm: bytes) -> bool:
        """Return whether the voice speaks, or pauses briefly; called once for each piece."""
        if audible(pcm):
            self._quiet_s, self._spoke = 0.0, True
        else:
            self._quiet_s += len(pcm) / SAMPLE_BYTES / self._rate_hz
        return self._spoke and self._quiet_s < PAUSE_S
