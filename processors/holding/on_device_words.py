"""What a caller answers to the menu, cut out of the line for an ear on this machine.

Costs nothing until a stage is down. Then it keeps the last moment of the caller's sound, since a
voice is noticed late; and while the menu of words is read, each utterance that is short enough to
be one of them. They are heard one after the other, and never waited for by the call.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pipecat.processors.frame_processor import FrameProcessor

from processors.holding.descent_rules import PHRASES, Meaning

SAMPLE_BYTES: Final = 2
BEFORE_S: Final = 0.6  # of sound kept: a VAD is sure 0.2 s late, of a soft voice later
LONGEST_S: Final = 2.2  # with that; "call me back" takes 1 s, slowly spoken
WAITING: Final = 4  # utterances that are yet to be heard; more is somebody who is talking
OWED_S: Final = 0.8  # to wait for what was said, before it counts as nothing


class WordEar(Protocol):
    """Hears the menu's phrases."""

    @property
    def usable(self) -> bool:
        """Whether it hears, as far as is known."""
        ...

    async def warm(self) -> None:
        """Have it loaded before somebody speaks."""
        ...

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        """Return which phrase was said in 16-bit mono sound; nothing when it was none."""
        ...


class NoEar:
    """Hears nothing: the words are not wanted, or not in the caller's language."""

    @property
    def usable(self) -> bool:
        """Return False."""
        return False

    async def warm(self) -> None:
        """Do nothing."""

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        """Return nothing."""
        del pcm, rate_hz
        return ""


@dataclass(frozen=True, slots=True)
class _CapturedSound:
    pcm: bytes
    rate_hz: int


class OnDeviceWords:
    """Listens to the caller, and hands on what of the menu was said."""

    def __init__(self, ear: WordEar, *, clock: Callable[[], float]) -> None:
        self._ear = ear
        self._now = clock
        self._before: deque[bytes] = deque()
        self._before_bytes = 0
        self._spoken: bytearray | None = None  # the utterance in progress
        self._rate_hz = 0
        self._waiting: asyncio.Queue[_CapturedSound] = asyncio.Queue(WAITING)
        self._owed_until: float | None = None
        self._hearing: tuple[FrameProcessor, asyncio.Task[None]] | None = None

    @property
    def usable(self) -> bool:
        """Whether words can be heard here."""
        return self._ear.usable

    @property
    def owed_until(self) -> float:
        """Until when to wait for what was just said; in the past when nothing is owed."""
        return self._owed_until or 0.0

    def sound(self, pcm: bytes, rate_hz: int) -> None:
        """Keep a piece of the caller's sound, once it has started to hear."""
        if self._hearing is None:
            return
        self._rate_hz = rate_hz
        if self._spoken is not None:
            if len(self._spoken) <= self._bytes(LONGEST_S):  # one piece too many shows it
                self._spoken += pcm
            return
        self._before.append(pcm)
        self._before_bytes += len(pcm)
        while self._before_bytes - len(self._before[0]) >= self._bytes(BEFORE_S):
            self._before_bytes -= len(self._before.popleft())

    def began(self, *, listens: bool) -> None:
        """Note that the caller speaks; what is said counts only while the menu listens."""
        if listens and self._spoken is None:
            self._spoken = bytearray(b"".join(self._before))
        self._forget()

    def stopped(self) -> None:
        """Note that the caller is silent: what was said is complete."""
        spoken, self._spoken = self._spoken, None
        if not spoken or len(spoken) > self._bytes(LONGEST_S) or self._waiting.full():
            return
        self._waiting.put_nowait(_CapturedSound(bytes(spoken), self._rate_hz))
        self._owed_until = self._now() + OWED_S

    def start(self, owner: FrameProcessor, said: Callable[[Meaning | None], None]) -> None:
        """Hear what was said, one utterance after the other, until `stop`.

        Args:
            owner: Whose task it is.
            said: Takes what of the menu was said; None: an utterance was none of it.
        """
        if self._hearing is None:
            self._hearing = owner, owner.create_task(self._hear(said), "the menu's words")

    async def stop(self) -> None:
        """Hear nothing more."""
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            owner, task = hearing
            await owner.cancel_task(task)

    async def _hear(self, said: Callable[[Meaning | None], None]) -> None:
        await self._ear.warm()
        while True:
            spoken = await self._waiting.get()
            meaning = PHRASES.get(await self._ear.understand(spoken.pcm, spoken.rate_hz))
            if self._waiting.empty():
                self._owed_until = None
            said(meaning)

    def _bytes(self, seconds: float) -> int:
        return round(seconds * self._rate_hz) * SAMPLE_BYTES

    def _forget(self) -> None:
        self._before.clear()
        self._before_bytes = 0
