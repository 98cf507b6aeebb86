"""Cuts a caller's answers to the menu out of the audio, for a recogniser on this machine.

Until `start` is called, because a stage is down or a person was called, this does nothing. Then it
keeps the latest moment of the audio, because speech is detected late. While words are expected,
each utterance that is short enough to be a choice is recognised, one by one, in a separate task.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pipecat.processors.frame_processor import FrameProcessor

from processors.holding.menu_rules import PHRASES, Meaning
from runtime.pcm import SAMPLE_BYTES

BEFORE_S: Final = 0.6  # audio before a VAD's report, which is 0.2 s late, and later for soft voices
MAX_SPOKEN_CHOICE_S: Final = (
    2.2  # an utterance, including `BEFORE_S`; a slow "call me back" takes 1 s
)
MAX_WAITING: Final = 4  # utterances in the queue; a caller who says more is not choosing
PENDING_S: Final = 0.8  # without a result after this time, the utterance counts as no choice


class WordEar(Protocol):
    """Recognises the menu's phrases."""

    @property
    def usable(self) -> bool:
        """Whether words can be recognised; false after a failure."""
        ...

    async def warm(self) -> None:
        """Load the model, so that the first phrase is recognised without delay."""
        ...

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        """Return the phrase in 16-bit mono audio; empty if there is none."""
        ...


class NoEar:
    """Recognises nothing: words are disabled, or not in the caller's language."""

    @property
    def usable(self) -> bool:
        """Return False."""
        return False

    async def warm(self) -> None:
        """Do nothing."""

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        """Return an empty text."""
        del pcm, rate_hz
        return ""


@dataclass(frozen=True, slots=True)
class _CapturedSound:
    pcm: bytes
    rate_hz: int


class OnDeviceWords:
    """Listens to the caller, and reports the menu's words."""

    def __init__(self, ear: WordEar, *, clock: Callable[[], float]) -> None:
        self._ear = ear
        self._now = clock
        self._before: deque[bytes] = deque()
        self._before_bytes = 0
        self._spoken: bytearray | None = None  # the utterance in progress
        self._rate_hz = 0
        self._waiting: asyncio.Queue[_CapturedSound] = asyncio.Queue(MAX_WAITING)
        self._pending_until: float | None = None
        self._hearing: tuple[FrameProcessor, asyncio.Task[None]] | None = None

    @property
    def usable(self) -> bool:
        """Whether words can be recognised here."""
        return self._ear.usable

    @property
    def pending_until(self) -> float:
        """Until when to wait for the result of the last utterance; 0 if none is pending."""
        return self._pending_until or 0.0

    def sound(self, pcm: bytes, rate_hz: int) -> None:
        """Keep a piece of audio: of the utterance in progress, or else the latest `BEFORE_S`.

        Before `start` it does nothing. An utterance that is too long is cut.
        """
        if self._hearing is None:
            return
        self._rate_hz = rate_hz
        if self._spoken is not None:
            if len(self._spoken) <= self._bytes_in(
                MAX_SPOKEN_CHOICE_S
            ):  # one piece more shows that it is too long
                self._spoken += pcm
            return
        self._before.append(pcm)
        self._before_bytes += len(pcm)
        while self._before_bytes - len(self._before[0]) >= self._bytes_in(BEFORE_S):
            self._before_bytes -= len(self._before.popleft())

    def began(self, *, listens: bool) -> None:
        """Begin an utterance with the latest audio if `listens`; forget that audio otherwise."""
        if listens and self._spoken is None:
            self._spoken = bytearray(b"".join(self._before))
        self._forget_before()

    def stopped(self) -> None:
        """Queue the utterance, unless it is too long, none has begun, or the queue is full."""
        spoken, self._spoken = self._spoken, None
        if not spoken or len(spoken) > self._bytes_in(MAX_SPOKEN_CHOICE_S) or self._waiting.full():
            return
        self._waiting.put_nowait(_CapturedSound(bytes(spoken), self._rate_hz))
        self._pending_until = self._now() + PENDING_S

    def start(self, owner: FrameProcessor, said: Callable[[Meaning | None], None]) -> None:
        """Recognise queued utterances one by one, until `stop`.

        A second call does nothing.

        Args:
            owner: Owns the task.
            said: Called with the meaning of each utterance; `None` if it was not a menu word.
        """
        if self._hearing is None:
            self._hearing = (
                owner,
                owner.create_task(self._recognise_queued(said), "the menu's words"),
            )

    async def stop(self) -> None:
        """Stop recognising, and keep no more audio."""
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            owner, task = hearing
            await owner.cancel_task(task)

    async def _recognise_queued(self, said: Callable[[Meaning | None], None]) -> None:
        """Load the recogniser, then recognise queued utterances until the task is cancelled."""
        await self._ear.warm()
        while True:
            spoken = await self._waiting.get()
            meaning = PHRASES.get(await self._ear.understand(spoken.pcm, spoken.rate_hz))
            if self._waiting.empty():
                self._pending_until = None
            said(meaning)

    def _bytes_in(self, seconds: float) -> int:
        """Return the size of this many seconds of audio."""
        return round(seconds * self._rate_hz) * SAMPLE_BYTES

    def _forget_before(self) -> None:
        """Forget the audio from before the utterance."""
        self._before.clear()
        self._before_bytes = 0
