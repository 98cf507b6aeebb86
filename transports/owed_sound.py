"""Sound that a lost line did not take, written again by whole words when the line is back."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from pipecat.frames.frames import BotStoppedSpeakingFrame, Frame, TTSTextFrame
from pipecat.processors.frame_processor import FrameDirection

from transports.leg_output import LegOutput
from transports.sent_sound import SentSound, Stretch

LOST_S: Final = 0.1  # what was sent so shortly before a loss is lost, too (chosen)


class OwedSound:
    """Everything that an output writes goes through here, a piece at a time.

    Attributes:
        sent: Written sound that is not known to have been heard, from the start of a word.
        lost: Whether the line was lost, and some of that must be written again.
        note_heard: Marks in `sent` what was heard by now.
    """

    def __init__(
        self,
        *,
        rate_hz: int,
        write: Callable[[bytes, str], Awaitable[None]],
        back: Callable[[], Awaitable[object]],
        note_heard: Callable[[], None],
    ) -> None:
        """Begin with nothing written.

        Args:
            rate_hz: Of the sound.
            write: Writes a piece; gets its name, too.
            back: Returns when the line can be written to.
            note_heard: Marks in `sent` what was heard by now.
        """
        self.sent = SentSound(rate_hz=rate_hz)
        self.lost = False
        self.note_heard = note_heard
        self._write, self._back = write, back
        self._writing = asyncio.Lock()  # a piece, or all that is still to be repeated
        self._owed: deque[Stretch] = deque()
        self._count = 0

    async def write(self, sound: bytes) -> None:
        """Write a piece, after all that is still to be repeated."""
        await self.repeat()
        async with self._writing:
            await self._put(sound)

    async def repeat(self) -> None:
        """Write the lost sound again, once, when the line is back."""
        while self.lost:
            await self._back()
            async with self._writing:
                if self.lost:
                    await self._put_owed()

    def note_lost(self) -> None:
        """Keep what is in `sent` to be repeated: the line takes nothing now."""
        self.lost = self.sent.length_s > 0

    def drop(self) -> None:
        """Drop all of it: the caller barged in."""
        self.sent.clear()
        self._owed.clear()

    async def _put_owed(self) -> None:
        self.lost = False
        self._owed.extend(self.sent)
        self.sent.clear()
        while self._owed:
            stretch = self._owed.popleft()
            await self._put(bytes(stretch.sound))
            if stretch.ends_word:
                self.sent.end_word()

    async def _put(self, sound: bytes) -> None:
        self._count += 1
        name = f"p{self._count}"
        self.sent.add(sound)  # first: the line may be lost while it is written
        self.sent.mark(name)
        if not self.lost:
            await self._write(sound, name)


class RepeatingOutput(LegOutput):
    """An output whose far end echoes no marks, and whose line may be lost and come back.

    Attributes:
        owed: What it writes goes through here.
    """

    owed: OwedSound

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame on; one that follows its sound ends a word, or all that is said."""
        if isinstance(frame, BotStoppedSpeakingFrame | TTSTextFrame):
            self.owed.sent.end_word()
        await super().push_frame(frame, direction)

    @property
    def unsure_words(self) -> int:
        """How many of the words that were passed on the far end has perhaps not got yet."""
        if not self.owed.lost:
            self.owed.note_heard()
        return sum(stretch.ends_word for stretch in self.owed.sent)

    def repeat_owed(self) -> None:
        """Write again what the lost line did not take; there may be nothing else to write."""
        if self.owed.lost:
            self.create_task(self.owed.repeat(), "sound that a lost line did not take")
