"""What one telephone sends: speech when there is some, silence otherwise, 20 ms at a time."""

import asyncio
import base64
from typing import Final

from faultlab import mulaw
from faultlab.mulaw import Pcm

PIECE: Final = 160  # samples: 20 ms at 8000 Hz
SILENCE: Final = base64.b64encode(bytes([mulaw.SILENCE]) * PIECE).decode()


class CarrierMouth:
    """Speech waiting to be sent.

    Attributes:
        silent: Set while nothing is left to say.
    """

    def __init__(self) -> None:
        self.silent = asyncio.Event()
        self.silent.set()
        self._speech = bytearray()

    def begin(self, pcm: Pcm) -> None:
        """Queue 8000 Hz sound."""
        self._speech += mulaw.encode(pcm)
        self.silent.clear()

    def next_payload(self) -> str:
        """Return the next 20 ms as a media message carries them."""
        if not self._speech:
            self.silent.set()
            return SILENCE
        piece = bytes(self._speech[:PIECE]).ljust(PIECE, bytes([mulaw.SILENCE]))
        del self._speech[:PIECE]
        return base64.b64encode(piece).decode()
