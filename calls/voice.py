"""The interface between a TTS provider and the stage: a voice and its listener."""

from typing import Final, Protocol

from fallbacks.failure import Failure

ATTEMPT: Final = "attempt"
"""The key in a frame's metadata of the attempt that a reply is spoken for."""


class VoiceEar(Protocol):
    """Receives what a voice produces, as soon as it arrives, with the attempt it belongs to."""

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Receive audio: 16-bit little-endian mono at the leg's rate, in pieces of any length."""
        ...

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Receive a word, or a part of one, and its time in the attempt's own audio."""
        ...

    async def spoken(self, attempt: int) -> None:
        """The provider reports that it has sent all it was given."""
        ...

    async def failed(self, attempt: int, failure: Failure) -> None:
        """The provider answered with a failure."""
        ...

    async def connecting(self) -> None:
        """A connection is being made."""
        ...

    async def connected(self) -> None:
        """The voice is ready."""
        ...

    async def unreachable(self, failure: Failure) -> None:
        """No connection could be made."""
        ...

    async def lost(self, failure: Failure | None) -> None:
        """The connection is gone; `None` if the provider closed it for being idle."""
        ...


class Voice(Protocol):
    """A TTS rung."""

    def listen(self, ear: VoiceEar) -> None:
        """Report to `ear` from now on."""
        ...

    async def revive(self) -> None:
        """Reconnect from scratch, whatever the state of the last connection."""
        ...
