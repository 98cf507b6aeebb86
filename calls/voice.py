"""The interface between a TTS provider and the TTS stage: a voice and its listener."""

from typing import Final, Protocol

from fallbacks.failure import Failure

ATTEMPT: Final = "attempt"
"""The metadata key of a frame for the attempt that it belongs to."""
HELD_SETTINGS: Final = 8  # that wait for a service; beyond that the oldest is dropped (chosen)


class VoiceEar(Protocol):
    """Receives a voice's audio and events as they arrive, with the attempt they belong to."""

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Receive audio: 16-bit little-endian mono at the leg's rate, in pieces of any length."""
        ...

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Receive a word, or a part of one, and its time in the attempt's own audio."""
        ...

    async def spoken(self, attempt: int, *, more: bool = False) -> None:
        """Receive the report that it has sent the audio of all text, or of the next (`more`)."""
        ...

    async def failed(self, attempt: int, failure: Failure) -> None:
        """Receive a failure of an attempt."""
        ...

    async def connecting(self) -> None:
        """Receive the report that a connection is being opened."""
        ...

    async def connected(self) -> None:
        """Receive the report that the connection is open."""
        ...

    async def unreachable(self, failure: Failure) -> None:
        """Receive the report that no connection could be opened."""
        ...

    async def lost(self, failure: Failure | None) -> None:
        """Receive the report that the connection is lost; `None` if it was closed as idle."""
        ...


class Voice(Protocol):
    """A TTS rung."""

    def listen(self, ear: VoiceEar) -> None:
        """Report to `ear` from now on."""
        ...

    async def revive(self) -> None:
        """Open a new connection, whatever the state of the last one."""
        ...
