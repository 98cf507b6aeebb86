"""Sends a telephone's sound: pending speech, else silence, a tick at a time."""

import asyncio

import numpy as np

from lab.simulators.carrier.sound_code import MULAW_CODE, SoundCode
from lab.simulators.mulaw import Pcm


class CarrierMouth:
    """Pending speech.

    Attributes:
        silent: Set while no speech is pending.
    """

    def __init__(self, code: SoundCode = MULAW_CODE, *, tick_s: float = 0.02) -> None:
        """Send in a carrier's code."""
        self.silent = asyncio.Event()
        self.silent.set()
        self._code = code
        self._piece = round(tick_s * code.rate_hz)  # samples
        self._speech = bytearray()

    def begin(self, pcm: Pcm) -> None:
        """Queue sound of the code's rate."""
        self._speech += self._code.encode(pcm)
        self.silent.clear()

    def next_payload(self, echo: Pcm | None = None) -> bytes:
        """Return the next tick's payload for a media message, with an echo in it."""
        payload = self._next_speech()
        if echo is None or not echo.any():
            return payload
        mixed = self._code.decode(payload).astype(np.int32) + echo
        return self._code.encode(mixed.clip(-32768, 32767).astype(np.int16))

    def _next_speech(self) -> bytes:
        size = self._piece * self._code.sample_bytes
        if not self._speech:
            self.silent.set()
            return self._code.silence * self._piece
        piece = bytes(self._speech[:size])
        del self._speech[:size]
        missing = (size - len(piece)) // self._code.sample_bytes
        return piece + self._code.silence * missing
