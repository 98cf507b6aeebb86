"""What a voice tells while it speaks, and who listens: where a provider and the stage meet."""

from typing import Final, Protocol

from fallbacks.failure import Failure

ATTEMPT: Final = "attempt"
"""The key in a frame's metadata of the number of the attempt that a reply is spoken for."""


class VoiceEar(Protocol):
    """Is told what comes of a voice, the moment it comes, with the attempt that it belongs to."""

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Hear sound: 16-bit little-endian mono at the leg's rate, in pieces of any length."""
        ...

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Hear of a word, or a part of one, and when it is spoken in the attempt's own sound."""
        ...

    async def spoken(self, attempt: int) -> None:
        """Hear that, by the provider's word, everything it was given has been sent."""
        ...

    async def failed(self, attempt: int, failure: Failure) -> None:
        """Hear what the provider answered instead."""
        ...

    async def connecting(self) -> None:
        """Hear that a connection is being made."""
        ...

    async def connected(self) -> None:
        """Hear that the voice can be used."""
        ...

    async def unreachable(self, failure: Failure) -> None:
        """Hear that no connection could be made."""
        ...

    async def lost(self, failure: Failure | None) -> None:
        """Hear that the connection is gone; None: idle, as the provider may do."""
        ...


class Voice(Protocol):
    """A rung that speaks."""

    def listen(self, ear: VoiceEar) -> None:
        """Tell `ear` from now on."""
        ...

    async def revive(self) -> None:
        """Connect anew, from scratch, whatever state the last connection left behind."""
        ...
